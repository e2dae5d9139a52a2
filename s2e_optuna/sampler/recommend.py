"""Which schedule to use after a search."""

from __future__ import annotations

from optuna.study import Study

from s2e_optuna.schedules import Schedule, trial_schedule


def best_schedule(study: Study) -> Schedule:
    """Return the schedule of the best finished trial.

    Parameters
    ----------
    study
        A single-objective study whose trials used `suggest_schedule`.

    Raises
    ------
    ValueError
        If no trial has finished, or the best one suggested no schedule.
    """
    schedule = trial_schedule(study.best_trial)
    if schedule is None:
        raise ValueError(
            f"trial {study.best_trial.number} holds no schedule: "
            "let the objective call suggest_schedule(trial, epochs)."
        )
    return schedule
