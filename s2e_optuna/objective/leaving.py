"""Which trials of a stack leave early, because they will not win.

What a trial reports is its value so far: the error of its best epochs, which never rises. Judged
by that, early epochs no longer mislead as they do where the last epochs are what counts (rank
correlations with the end of 0.8 and more, see `studies/stopping.py`), so most trials need not be
trained to the end to know that they are not the best.

At a few epochs, the *rungs*, a stack is judged as a whole, when all its values are known: trial by
trial, as Optuna's pruners are asked, the answer would depend on the order of asking. A trial stays
if both hold:

- Its value is in the best third of all that were reported at this epoch, by this stack and by all
  others of the study. So a stack loses most of its trials by its own luck only while it is the
  first, and a good one is kept longer (asynchronous successive halving: Li et al., MLSys 2020).
- It can still become the best: with what finished trials gained from this epoch to their end, all
  but the luckiest tenth of them, it would be as good as the best of these. Later stacks are better
  than what the first ones reported, so most of them are in the best third.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from optuna.study import Study
from optuna.trial import TrialState

from s2e_optuna.sampler.values import violation
from s2e_optuna.scores import BEST_EPOCHS

RUNGS = (0.2, 0.4, 0.7)
"""Shares of the epochs after which a stack is judged; chosen on recorded trainings, see
`studies/bench_epochs.py`."""

KEPT = 1 / 3
"""Share of the values at a rung that are good enough to go on."""

LUCK = 0.9
"""What a trial may still gain: this quantile of what finished ones gained from the same epoch."""

ENOUGH = 4
"""Finished trials from which on their gains are known well enough."""

_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
# A failed trial says nothing: it diverged, or its worker died and it is run again.


def rungs(epochs: int, evaluate_every: int = 1) -> tuple[int, ...]:
    """Epochs (from 0) after which trials may leave.

    Parameters
    ----------
    epochs
        Length T of a training.
    evaluate_every
        Epochs between two evaluations.

    Returns
    -------
    tuple of int
        Evaluated ones, from the third evaluation on, which is the first that has a whole value;
        none after the last epoch.
    """
    found = set()
    for share in RUNGS:
        evaluations = max(BEST_EPOCHS, math.ceil(share * epochs / evaluate_every))
        if (end := evaluations * evaluate_every) < epochs:
            found.add(end - 1)
    return tuple(sorted(found))


def leaving(
    now: Mapping[int, float],
    others: Sequence[float],
    finished: Sequence[tuple[float, float]] = (),
) -> set[int]:
    """Say which trials leave at a rung.

    Parameters
    ----------
    now
        Values of a stack by position, to be minimised.
    others
        Values that other trials have reported at the same epoch.
    finished
        Of those that have come to their end: value at this epoch, and in the end.

    Returns
    -------
    set of int
        Positions of those whose value is not in the best third of all, or could not become the
        best; never of a trial as good as one that stays, nor of all if there are no others.
    """
    if not now:
        return set()
    finite = [value for value in [*now.values(), *others] if math.isfinite(value)]
    if not finite:
        return set()
    count = len(now) + len(others)  # what diverged has a place, so that it makes none for others
    bar = sorted(finite)[min(len(finite), math.ceil(KEPT * count)) - 1]
    if len(finished) >= ENOUGH:
        here, end = np.array(finished).T
        bar = min(bar, end.min() + np.quantile(here - end, LUCK))
    return {position for position, value in now.items() if not value <= bar}


def values_at(
    study: Study, epoch: int, without: set[int]
) -> tuple[list[float], list[tuple[float, float]]]:
    """Values that feasible trials of a study have reported at an epoch.

    Parameters
    ----------
    study
        The study.
    epoch
        Only reports at this very epoch are compared.
    without
        Numbers of trials that are left out.

    Returns
    -------
    tuple
        The values; and, of complete trials, these and the values in the end.
    """
    there = [
        trial
        for trial in study.get_trials(deepcopy=False, states=_COUNTED)
        if epoch in trial.intermediate_values
        and trial.number not in without
        and violation(trial) == 0.0
    ]
    values = [trial.intermediate_values[epoch] for trial in there]
    return values, [
        (value, trial.value)
        for value, trial in zip(values, there, strict=True)
        if trial.state == TrialState.COMPLETE and trial.value is not None
    ]
