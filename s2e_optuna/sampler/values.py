"""Values of trials as an estimate takes them: finite, comparable, to be minimised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.sampler.codec import as_number

Array = NDArray[np.float64]

_ENDLESS = 1e100  # as good as infinite: squares of larger numbers overflow

# A value so many times as far above the better quarter as that is wide is a penalty. Taken as a
# number, it would leave a model no difference between all others.
_PENALTY = 1000.0
_TOO_FEW = 4  # values, for there to be a better quarter

_RECENT = 200  # trials whose reports tell how pruned ones would have gone on


@dataclass(frozen=True)
class Reported:
    """What trials reported.

    Attributes
    ----------
    values
        Values, or last reports of pruned trials, to be minimised; NaN where there are none; [n].
    complete
        Which trials were not pruned; [n].
    violation
        Sum of what their constraints are violated by, 0 for feasible trials; [n].
    """

    values: Array = field(default_factory=lambda: np.empty(0))
    complete: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    violation: Array = field(default_factory=lambda: np.empty(0))
    reports: tuple[Mapping[int, float], ...] = ()
    """What each trial reported by step, as it is stored; none where nothing is known of it."""
    sign: int = 1
    """1 if what was reported is to be minimised, else -1."""

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial], sign: int) -> Reported:
        """Read complete or pruned trials; sign is 1 to minimise and -1 to maximise."""
        return cls(
            np.array([sign * _reported(trial) for trial in trials], dtype=np.float64),
            np.array([trial.state == TrialState.COMPLETE for trial in trials], dtype=bool),
            np.array([violation(trial) for trial in trials], dtype=np.float64),
            tuple(trial.intermediate_values for trial in trials),
            sign,
        )

    def followed_by(self, *others: Reported) -> Reported:
        """Return these and those of others, in order."""
        parts = (self, *others)
        return Reported(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.complete for part in parts]),
            np.concatenate([part.violation for part in parts]),
            self.reports + tuple(chain.from_iterable(other.reports for other in others)),
            next((part.sign for part in parts if len(part.values)), 1),
        )

    def comparable(self, *, finals: bool = True) -> Array:
        """Return finite values [n].

        Infinite and missing values, and penalties, count as the worst; minus infinity, where a
        complete trial has it, as the best. A pruned trial counts with the value that it would
        have ended with, as far as others tell (`_finals`), and never as the best; where they do
        not, with its last report, but never better than the worst complete one: early reports may
        be on another scale than final values, and it was stopped because it was not good.
        Likewise an infeasible trial and the worst feasible one; while all are infeasible, they
        are compared by how far they are, and likewise without those that are endlessly far.

        Parameters
        ----------
        finals
            False leaves out what pruned trials would have ended with, as earlier versions did.
        """
        feasible = self.violation == 0.0
        if len(feasible) and not feasible.any():
            near = self.violation < _ENDLESS
            near &= self.violation <= _limit(self.violation[near])
            return np.minimum(self.violation, np.max(self.violation[near], initial=0.0))
        f, complete = self.values, self.complete
        finite = np.abs(f) < _ENDLESS
        if not finite.any():
            return np.zeros(len(f))
        best = complete & (f <= -_ENDLESS)
        known = finite & (f <= _limit(f[finite & complete]))
        f = np.where(known, f, np.where(best, np.min(f[known]), np.max(f[known])))
        if complete.any() and not complete.all():
            worst = np.where(complete, f, np.maximum(f, np.max(f[complete])))
            ends = self._finals() if finals else np.full(len(f), np.nan)
            told = ~complete & known & np.isfinite(ends) & (ends <= _limit(f[known & complete]))
            f = np.where(told, np.maximum(ends, np.min(f[complete])), worst)
        if not feasible.all():
            f = np.where(feasible, f, np.maximum(f, np.max(f[feasible])))
        return f

    def _finals(self) -> Array:
        """Estimate what pruned trials would have ended with [n]; NaN where nothing tells it.

        From the step at which a trial was stopped to the next at which others were, and so on to
        the end, it is taken to go on as the trials did that went on: their median change is added
        (the chain ladder of the actuaries). Only reports at the same step are compared.
        """
        n = len(self.reports)
        ends = np.full(len(self.values), np.nan)
        if n != len(self.values) or n == 0:
            return ends
        stopped = [i for i in range(n) if not self.complete[i] and self.reports[i]]
        last = {i: max(self.reports[i]) for i in stopped}
        steps = sorted(set(last.values()))
        recent = range(max(0, n - _RECENT), n)
        columns = [
            [self.sign * self.reports[i].get(step, math.nan) for i in recent] for step in steps
        ]
        final = np.where(self.complete, self.values, np.nan)[max(0, n - _RECENT) :]
        to_come, follows = 0.0, final
        gains: dict[int, float] = {}
        for step, column in zip(reversed(steps), reversed(columns), strict=True):
            now = np.array(column, dtype=np.float64)
            with np.errstate(invalid="ignore"):  # of infinities
                change = follows - now
            change = change[np.isfinite(change)]
            if len(change):
                to_come += float(np.median(change))
                gains[step], follows = to_come, now
        for i in stopped:
            ends[i] = self.values[i] + gains.get(last[i], math.nan)
        return ends


def violation(trial: FrozenTrial) -> float:
    """Return by how much a trial violates its constraints (`optuna.Trial.set_constraint`).

    What is stored as a constraint but is none, by another program, does not count; NaN does, as
    it does in Optuna.
    """
    try:
        stored = list(trial.constraints.values())
    except TypeError:
        return 0.0
    values = [as_number(value) for value in stored if isinstance(value, int | float)]
    if any(map(math.isnan, values)):
        return _ENDLESS
    return float(min(sum(max(v, 0.0) for v in values), _ENDLESS))


def _reported(trial: FrozenTrial) -> float:
    """Return a complete trial's value or another's last report; NaN if there is none."""
    if trial.state == TrialState.COMPLETE:
        return math.nan if trial.value is None else trial.value
    return math.nan if trial.last_step is None else trial.intermediate_values[trial.last_step]


def batch_values(trials: Sequence[FrozenTrial], sign: int, *, finals: bool = True) -> Array:
    """Return comparable values of trials [n].

    Parameters
    ----------
    trials, sign
        Complete or pruned trials, and 1 to minimise or -1 to maximise.
    finals
        See `Reported.comparable`.
    """
    return Reported.of(trials, sign).comparable(finals=finals)


def _limit(values: Array) -> float:
    """Return the value from which on values are penalties."""
    if len(values) < _TOO_FEW:
        return math.inf
    best, quarter = float(np.min(values)), _quarter(values)
    return quarter + _PENALTY * (quarter - best) if quarter > best else math.inf


def _quarter(values: Array) -> float:
    """First quartile of values [n], as `np.quantile` has it, without its preparations."""
    place = 0.25 * (len(values) - 1)
    i = int(place)
    low, high = map(float, np.partition(values, (i, i + 1))[i : i + 2])
    share = place - i
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1.0 - share)
