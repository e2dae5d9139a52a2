"""Which schedule to use after a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.cores import one_thread
from s2e_optuna.sampler.codec import Codec, common_space, fits
from s2e_optuna.sampler.surrogate import Surrogate, worth_fitting
from s2e_optuna.sampler.values import batch_values, violation
from s2e_optuna.schedules import Schedule, schedule_kind, trial_schedule

Array = NDArray[np.float64]

_TOO_FEW = 4  # with fewer trials a model of them says less than they do themselves

# Deviations above the mean that count against a trial. By the mean alone a bold trial is taken
# for what the model merely hopes of it; with one deviation the recommended schedule was better or
# level on all tuning tables (studies/record_table.py), by up to half a percentage point.
_CAUTION = 1.0


def recommended_trial(study: Study, by: Literal["model", "observed"] = "model") -> FrozenTrial:
    """Return the finished trial whose parameters to use; see `best_schedule`."""
    return _recommended(study, by)


def _recommended(
    study: Study, by: str, only: Callable[[FrozenTrial], bool] | None = None
) -> FrozenTrial:
    if by not in ("model", "observed"):
        raise ValueError(f"unknown choice by={by!r}: choose 'model' or 'observed'.")
    trials, f = _finished(study, only)
    if by == "model":
        trials, f, surrogate = _modelled(trials, f)
        if surrogate is not None:
            f = _cautious(surrogate, surrogate.codec.encode([t.params for t in trials]))
    complete = [i for i, trial in enumerate(trials) if trial.state == TrialState.COMPLETE]
    return trials[min(complete, key=lambda i: float(f[i]))]


def leading_params(study: Study, n: int) -> list[dict[str, Any]]:
    """Parameters of n trials to begin another search with: good ones, unlike each other.

    First the recommended trial; then, of the better quarter of the trials, always the one that is
    farthest from those taken already. Distances are those of the surrogate.

    Raises
    ------
    ValueError
        If no trial of the study has finished.
    """
    trials, f, surrogate = _modelled(*_finished(study))
    if surrogate is None:
        return [dict(trials[i].params) for i in np.argsort(f, kind="stable")[:n]]
    points = surrogate.codec.encode([t.params for t in trials])
    f = _cautious(surrogate, points)
    places = surrogate.features.of(points) / np.exp(surrogate.process.h[:-2])
    order = np.argsort(f, kind="stable")
    pool = list(order[: max(n, len(order) // 4)])
    taken = [pool.pop(0)]
    while pool and len(taken) < n:
        gaps = [min(np.linalg.norm(places[i] - places[j]) for j in taken) for i in pool]
        taken.append(pool.pop(int(np.argmax(gaps))))
    return [dict(trials[i].params) for i in taken]


def _cautious(surrogate: Surrogate, points: Array) -> Array:
    """Upper confidence bound at points [n, D]: what f is at worst, as far as the model knows."""
    mean, deviation = surrogate.predict(points)
    return mean + _CAUTION * deviation


def _finished(
    study: Study, only: Callable[[FrozenTrial], bool] | None = None
) -> tuple[list[FrozenTrial], Array]:
    """Trials that tell something, and their values, to be minimised, shape [n].

    Feasible ones, if there are any; one at least is complete. A pruned one tells of its
    neighbours, but is not for choosing: nobody has seen how it ends.

    Parameters
    ----------
    study
        Of one objective.
    only
        Which trials may be chosen, if there are such; all by default.

    Raises
    ------
    ValueError
        If no trial has finished with a finite value.
    """
    everything = study.get_trials(deepcopy=False)
    complete = [t for t in everything if t.state == TrialState.COMPLETE]
    trials = [t for t in complete if t.value is not None and np.isfinite(t.value)]
    if not trials:
        raise ValueError(_why_none(everything))
    if only is not None:
        trials = [trial for trial in trials if only(trial)] or trials
    trials = [t for t in trials if violation(t) == 0.0] or trials
    names = set().union(*(trial.params for trial in trials))
    pruned = [
        t
        for t in everything
        if t.state == TrialState.PRUNED
        and t.last_step is not None
        and np.isfinite(t.intermediate_values[t.last_step])
        and names <= t.params.keys()
        and violation(t) == 0.0
    ]
    trials = sorted([*trials, *pruned], key=lambda trial: trial.number)
    return trials, batch_values(trials, -1 if study.direction == StudyDirection.MAXIMIZE else 1)


def _modelled(
    trials: list[FrozenTrial], f: Array
) -> tuple[list[FrozenTrial], Array, Surrogate | None]:
    """Trials that a surrogate is fitted to, their values [n], and the surrogate.

    All trials and None where a surrogate says less than their values do.
    """
    space = common_space(trials)
    inside = [i for i, trial in enumerate(trials) if fits(space, trial)] if space else []
    if len(inside) < _TOO_FEW or np.ptp(f[inside]) == 0.0:
        return trials, f, None
    chosen = [inside[i] for i in worth_fitting(f[inside])]
    trials, f = [trials[i] for i in chosen], f[chosen]
    with one_thread():
        return trials, f, Surrogate.fit(Codec(space), trials, f)


def _why_none(trials: Sequence[FrozenTrial]) -> str:
    """Say why there is no trial to choose among those of a study."""
    states = [trial.state for trial in trials]
    if TrialState.COMPLETE in states:
        return "no trial has finished with a finite value: there is nothing to choose."
    pruned = states.count(TrialState.PRUNED)
    if pruned:
        return (
            f"no trial has finished: {pruned} were pruned, and those are not compared. "
            "Let some run to the end, with a milder pruner or with NopPruner."
        )
    return "no trial has finished: there is nothing to choose."


def best_schedule(study: Study, by: Literal["model", "observed"] = "model") -> Schedule:
    """Return the schedule that a search recommends.

    A training is noisy, and the best of many noisy values is a lucky one. So the trials are
    compared by a Gaussian process fitted to all of them, on the curve R(t): the recommended one
    has the lowest upper confidence bound, its mean plus a standard deviation.

    Parameters
    ----------
    study
        A single-objective study whose trials used `suggest_schedule`, with any sampler.
    by
        ``"model"``, or ``"observed"`` for the trial with the best value.

    Returns
    -------
    Schedule
        That of one of the finished trials.

    Raises
    ------
    ValueError
        If no trial has finished, or the trial suggested no schedule.
    """
    trial = _recommended(study, by, lambda trial: schedule_kind(trial) is not None)
    schedule = trial_schedule(trial)
    if schedule is None:
        raise ValueError(
            f"trial {trial.number} holds no schedule: "
            "let the objective call suggest_schedule(trial, epochs)."
        )
    return schedule
