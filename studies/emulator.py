"""A task that answers in a millisecond: a regression fitted to a table of real trainings.

The tables come from `studies.record_table`. The regression is a Gaussian process (scikit-learn's;
Matern 5/2, a length scale a feature, learned noise) on the first principal components of R(t) over
the table's own schedules. Its mean is taken for the noise-free validation error of a schedule, by
epoch and in the end. The noise of a training is that of a recorded one: what one of a schedule's
repetitions has beyond their mean.

That is `ProcessEmulator`. S2E's surrogate is a process of this kind, too, so tasks of this kind
may suit it. `TreeEmulator` answers by another regression: extremely randomised trees on the whole
curve.
"""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from s2e_optuna.schedules import get_space

DATA = Path(__file__).parent / "data"
N_COMPONENTS = 4

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """Recorded trainings: points [n, 19], which schedule each is [n], error by epoch [n, T]."""

    name: str
    use: str
    x: Array
    schedule: NDArray[np.int32]
    curves: Array

    @property
    def epochs(self) -> int:
        """Length T of a training."""
        return self.curves.shape[1]

    @cached_property
    def error(self) -> Array:
        """Final error of each training, shape [n]."""
        return final_error(self.curves)

    @cached_property
    def residuals(self) -> Array:
        """What repetitions of a schedule have beyond their mean, by epoch: shape [m, T]."""
        repeated = [
            self.curves[self.schedule == i]
            for i, count in enumerate(np.bincount(self.schedule))
            if count > 1
        ]
        # A mean of k follows each of them; the factor gives back the variance that this takes.
        return np.concatenate(
            [(c - c.mean(axis=0)) * np.sqrt(len(c) / (len(c) - 1)) for c in repeated]
        )

    @property
    def noise(self) -> float:
        """Standard deviation of the final error among trainings of the same schedule."""
        return float(np.sqrt(np.mean(final_error(self.residuals) ** 2)))


def final_error(curves: Array) -> Array:
    """Return the mean over the last tenth of the epochs, at least five: [..., T] to [...]."""
    last = max(5, curves.shape[-1] // 10)
    return np.asarray(curves[..., -last:].mean(axis=-1))


def load_table(name: str) -> Table:
    """Read a table."""
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as stored:
        curves = 1.0 - stored["validation"].astype(np.float64)
        use = json.loads(str(stored["task"]))["use"]
        return Table(name, use, stored["x"], stored["schedule"], curves)


class Emulator(ABC):
    """Validation error as a function of R(t), with noise and without."""

    kind: ClassVar[str]
    """What it is called on the command line."""
    suffix: ClassVar[str]
    """Of the names of its results."""
    told: ClassVar[str]
    """What it answers by, in words."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.table.name + self.suffix

    @abstractmethod
    def error(self, rates: Array) -> Array:
        """Noise-free final error of curves R(t) [n, T]: shape [n]."""

    @abstractmethod
    def curve(self, rates: Array) -> Array:
        """Noise-free error by epoch with R(t) [T]: shape [T]."""

    def train(self, rates: Array, rng: np.random.Generator) -> Array:
        """Error by epoch of one training with R(t) [T]: shape [T]."""
        noise = self.table.residuals[rng.integers(len(self.table.residuals))]
        return np.asarray(self.curve(rates) + noise)


class ProcessEmulator(Emulator):
    """By a Gaussian process."""

    kind = "process"
    suffix = ""
    told = "a Gaussian process on the first principal components of R(t)"

    def __init__(self, table: Table) -> None:
        super().__init__(table)
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
        # Errors of all epochs have the final error's kernel: one factor serves them all.
        self._mean_curve = table.curves.mean(axis=0)
        self._weights = cho_solve((self._process.L_, True), table.curves - self._mean_curve)

    def _features(self, rates: Array) -> Array:
        return np.asarray((rates - self._mean) @ self._projection)

    def error(self, rates: Array) -> Array:
        """Noise-free final error of curves R(t) [n, T]: shape [n]."""
        return np.asarray(self._process.predict(self._features(np.atleast_2d(rates))))

    def curve(self, rates: Array) -> Array:
        """Noise-free error by epoch with R(t) [T]: shape [T]."""
        process = self._process
        kernel = process.kernel_(self._features(rates[None]), process.X_train_)[0]
        return np.asarray(self._mean_curve + kernel @ self._weights)


class TreeEmulator(Emulator):
    """By extremely randomised trees."""

    kind = "trees"
    suffix = "-trees"
    told = "extremely randomised trees on R(t)"

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        rates = get_space("s2e").rates(table.x, table.epochs)
        trees = ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.3, random_state=0)
        self._trees = trees.fit(rates, table.curves)

    def error(self, rates: Array) -> Array:
        """Noise-free final error of curves R(t) [n, T]: shape [n]."""
        return final_error(self._trees.predict(np.atleast_2d(rates)))

    def curve(self, rates: Array) -> Array:
        """Noise-free error by epoch with R(t) [T]: shape [T]."""
        return np.asarray(self._trees.predict(rates[None])[0])


EMULATORS = {emulator.kind: emulator for emulator in (ProcessEmulator, TreeEmulator)}
"""Emulators by name."""


@cache
def emulator_of(task: str, kind: str = ProcessEmulator.kind) -> Emulator:
    """Return the emulator of a table; it is fitted once, which takes a second or two."""
    return EMULATORS[kind](load_table(task))
