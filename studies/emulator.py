"""A task that answers in a millisecond: a regression fitted to a table of real trainings.

The tables come from `studies.record_table`. The regression is a Gaussian process (scikit-learn's;
Matern 5/2, a length scale a feature, learned noise) on the first principal components of R(t) over
the table's own schedules. Its mean is taken for the noise-free validation error of a schedule, and
normal noise of the standard deviation found among repeated schedules is added to each trial.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from s2e_optuna.schedules import get_space

DATA = Path(__file__).parent / "data"
N_COMPONENTS = 4

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Recorded trainings: points [n, 19], which schedule each is [n], final error [n]."""

    name: str
    use: str
    epochs: int
    x: Array
    schedule: NDArray[np.int32]
    error: Array

    @property
    def noise(self) -> float:
        """Standard deviation of the error among trainings of the same schedule."""
        variances = [
            self.error[self.schedule == i].var(ddof=1)
            for i, count in enumerate(np.bincount(self.schedule))
            if count > 1
        ]
        return float(np.sqrt(np.mean(variances)))


def load_table(name: str) -> Table:
    """Read a table; the error of a training is the mean over the last tenth of its epochs."""
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as stored:
        validation = stored["validation"].astype(np.float64)
        last = max(5, validation.shape[1] // 10)
        return Table(
            name,
            json.loads(str(stored["task"]))["use"],
            validation.shape[1],
            stored["x"],
            stored["schedule"],
            1.0 - validation[:, -last:].mean(axis=1),
        )


class Emulator:
    """Validation error as a function of R(t)."""

    def __init__(self, table: Table) -> None:
        self.table = table
        rates = get_space("s2e").rates(table.x, table.epochs)
        self._mean = rates.mean(axis=0)
        _, singular, vectors = np.linalg.svd(rates - self._mean, full_matrices=False)
        scale = singular[:N_COMPONENTS] / np.sqrt(len(rates))
        self._projection = vectors[:N_COMPONENTS].T / scale
        kernel = ConstantKernel(1.0) * Matern(np.ones(N_COMPONENTS), (0.1, 100.0), nu=2.5)
        process = GaussianProcessRegressor(
            kernel + WhiteKernel(0.1, (1e-3, 1.0)), normalize_y=True
        )
        with warnings.catch_warnings():
            # A length scale at its upper bound is a component that does not matter.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process = process.fit(self._features(rates), table.error)

    def _features(self, rates: Array) -> Array:
        return np.asarray((rates - self._mean) @ self._projection)

    def error(self, rates: Array) -> Array:
        """Noise-free validation error of curves [n, T]: shape [n]."""
        return np.asarray(self._process.predict(self._features(np.atleast_2d(rates))))
