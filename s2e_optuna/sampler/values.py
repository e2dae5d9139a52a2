"""Values of trials as an estimate takes them: finite, comparable, to be minimised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

Array = NDArray[np.float64]

_ENDLESS = 1e100  # as good as infinite: squares of larger numbers overflow

# A value so many times as far above the better quarter as that is wide is a penalty. Taken as a
# number, it would leave a model no difference between all others.
_PENALTY = 1000.0
_TOO_FEW = 4  # values, for there to be a better quarter


@dataclass(frozen=True)
class Reported:
    """What trials reported.

    Attributes
    ----------
    values
        Values, or last reports of pruned trials, to be minimised; NaN where there are none; [n].
    complete
        Which trials were not pruned; [n].
    """

    values: Array = field(default_factory=lambda: np.empty(0))
    complete: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial], sign: int) -> Reported:
        """Read complete or pruned trials; sign is 1 to minimise and -1 to maximise."""
        values = np.full(len(trials), np.nan)
        for i, trial in enumerate(trials):
            if trial.state == TrialState.COMPLETE:
                values[i] = sign * (math.nan if trial.value is None else trial.value)
            elif trial.last_step is not None:
                values[i] = sign * trial.intermediate_values[trial.last_step]
        return cls(values, np.array([t.state == TrialState.COMPLETE for t in trials], dtype=bool))

    def followed_by(self, *others: Reported) -> Reported:
        """Return these and those of others, in order."""
        parts = (self, *others)
        return Reported(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.complete for part in parts]),
        )

    def comparable(self) -> Array:
        """Return finite values [n].

        Infinite and missing values, and penalties, count as the worst. A pruned trial counts with
        its last report, but never better than the worst complete one: early reports may be on
        another scale than final values, and it was stopped because it was not good.
        """
        f, complete = self.values, self.complete
        finite = np.abs(f) < _ENDLESS
        if not finite.any():
            return np.zeros(len(f))
        best = f <= -_ENDLESS
        known = finite & (f <= _limit(f[finite & complete]))
        f = np.where(known, f, np.where(best, np.min(f[known]), np.max(f[known])))
        if complete.any():
            f = np.where(complete, f, np.maximum(f, np.max(f[complete])))
        return f


def batch_values(trials: Sequence[FrozenTrial], sign: int) -> Array:
    """Return comparable values of trials [n]; see `Reported`."""
    return Reported.of(trials, sign).comparable()


def _limit(values: Array) -> float:
    """Return the value from which on values are penalties."""
    if len(values) < _TOO_FEW:
        return math.inf
    best, quarter = np.quantile(values, (0.0, 0.25))
    return float(quarter + _PENALTY * (quarter - best)) if quarter > best else math.inf
