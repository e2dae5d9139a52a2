"""Which schedule to use after a search."""

from __future__ import annotations

from typing import Literal

import numpy as np
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from s2e_optuna.relaxation import GaussianProcess
from s2e_optuna.sampler.codec import Codec
from s2e_optuna.sampler.features import features_for
from s2e_optuna.sampler.update import batch_values, worth_fitting
from s2e_optuna.schedules import Schedule, trial_schedule

_TOO_FEW = 4  # with fewer trials a model of them says less than they do themselves


def recommended_trial(study: Study, by: Literal["model", "observed"] = "model") -> FrozenTrial:
    """Return the finished trial whose parameters to use; see `best_schedule`."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trials = [t for t in trials if t.value is not None and np.isfinite(t.value)]
    if not trials:
        raise ValueError("no trial has finished with a finite value: there is nothing to choose.")
    if by not in ("model", "observed"):
        raise ValueError(f"unknown choice by={by!r}: choose 'model' or 'observed'.")
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    f = batch_values(trials, sign)
    common = {
        name: distribution
        for name, distribution in trials[0].distributions.items()
        if not distribution.single()
        and all(trial.distributions.get(name) == distribution for trial in trials)
    }
    if by == "model" and common and len(trials) >= _TOO_FEW and np.ptp(f) > 0.0:
        chosen = worth_fitting(f)
        trials, f = [trials[i] for i in chosen], f[chosen]
        codec = Codec(common)
        with threadpool_limits(1, user_api="blas"):
            features = features_for(codec, trials)(codec.encode([t.params for t in trials]))
            f, _ = GaussianProcess.fit(features, f).predict(features)
    return trials[int(np.argmin(f))]


def best_schedule(study: Study, by: Literal["model", "observed"] = "model") -> Schedule:
    """Return the schedule that a search recommends.

    A training is noisy, and the best of many noisy values is a lucky one. So the trials are
    compared by the mean of a Gaussian process fitted to all of them, on the curve R(t).

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
    trial = recommended_trial(study, by)
    schedule = trial_schedule(trial)
    if schedule is None:
        raise ValueError(
            f"trial {trial.number} holds no schedule: "
            "let the objective call suggest_schedule(trial, epochs)."
        )
    return schedule
