"""The sampler's model of the objective: a Gaussian process on features of the parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from s2e_optuna.relaxation import GaussianProcess
from s2e_optuna.sampler.codec import Codec
from s2e_optuna.sampler.features import FeatureFunction, Features, features_for

Array = NDArray[np.float64]

_MAX_FITTED = 200  # trials that the process is fitted to, so that a commit takes under a second
_MAX_FANTASIES = 100  # running trials that are taken into account


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Posterior of the objective, to be minimised, over the points of a codec's family."""

    codec: Codec
    features: Features
    process: GaussianProcess

    @classmethod
    def fit(
        cls,
        codec: Codec,
        trials: Sequence[FrozenTrial],
        f: Array,
        own: FeatureFunction | None = None,
        hyperparameters: Sequence[float] | None = None,
    ) -> Surrogate:
        """Fit to finished trials and their values [n].

        Parameters
        ----------
        codec
            Holds the parameters that matter; all trials have them.
        trials, f
            Trials, at least one, and their values, to be minimised.
        own
            The user's own features.
        hyperparameters
            `GaussianProcess.hyperparameters` of an earlier fit, to be kept: conditioning alone
            costs next to nothing.
        """
        chosen = worth_fitting(f)
        fitted = [trials[i] for i in chosen]
        features = features_for(codec, fitted, own)
        z = features.of_trials(codec, fitted)
        process = None
        if hyperparameters is not None and len(hyperparameters) == z.shape[1] + 2:
            # They are read from the storage, where they may be anything.
            with contextlib.suppress(LinAlgError, ValueError), np.errstate(all="ignore"):
                process = GaussianProcess.given(np.array(hyperparameters), z, f[chosen])
        return cls(codec, features, process or GaussianProcess.fit(z, f[chosen], features.prior))

    def with_fantasies(self, running: Sequence[Mapping[str, Any]]) -> Surrogate:
        """Take the mean at the parameters of running trials as if they had finished with it."""
        if not running:
            return self
        points = self.codec.encode(list(running[-_MAX_FANTASIES:]))
        process = self.process.with_fantasies(self.features.of(points))
        return Surrogate(self.codec, self.features, process)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Posterior mean and standard deviation at points [n, D]."""
        return self.process.predict(self.features.of(points))

    def utility(self, points: Array, exploration: float | None = None) -> Array:
        """Lower confidence bound at drawn points [n, D]: mean minus so many deviations."""
        mean, deviation = self.process.predict(self.features.of_draws(points))
        return mean - (exploration or self.features.exploration.usual) * deviation

    def best(
        self,
        points: Array,
        rng: np.random.Generator,
        settings: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        """Choose one of several candidates for a trial, which explores as far as it is to.

        Parameters
        ----------
        points
            The candidates, shape [n, D].
        rng
            Random numbers.
        settings
            Where somebody else decides about some of the parameters, values that they may have,
            a setting each: the candidates are compared by the mean over the settings.

        Returns
        -------
        int
            Which one.
        """
        exploration = self.features.exploration.draw(len(self.process.y), rng)
        utility = [
            self.utility(self.codec.snapped(moved), exploration)
            for moved in ([self.codec.pinned(points, s) for s in settings] or [points])
        ]
        return int(np.argmin(np.mean(utility, axis=0)))


def worth_fitting(f: Array) -> NDArray[np.intp]:
    """Of many trials take the better half of the places by value and the rest by recency.

    Values, to be minimised, have shape [n]; returns the places of at most `_MAX_FITTED` of them
    in order, shape [m].
    """
    if len(f) <= _MAX_FITTED:
        return np.arange(len(f))
    # Without sorting all of them: at ten thousand that would take longer than the fit.
    half = _MAX_FITTED // 2
    good = np.flatnonzero(f <= np.partition(f, half - 1)[half - 1])
    best = good[np.argsort(f[good], kind="stable")[:half]]
    others = np.ones(len(f), dtype=bool)
    others[best] = False
    rest = np.flatnonzero(others)[-(_MAX_FITTED - half) :]
    return np.sort(np.concatenate([best, rest]))
