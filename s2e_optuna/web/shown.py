"""A study as optuna-dashboard (0.21) and a browser can take it.

Of a large study learning curves of a few hundred trials only: the dashboard sends all trials to
the browser, which draws a line for each one that has reported values. With 10,000 of them neither
the page of the study nor that of a trial opened within two minutes, with the curves of 200 both
did (`studies.bench_dashboard`). Every trial's curves are in its artifacts.

And constraints as the dashboard reads them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

FROM = 500
"""Trials from which on a study is thinned."""

KEPT = 100
"""So many of the best trials keep their reports, and so many of the newest."""


def as_shown(storage: BaseStorage) -> BaseStorage:
    """Return a storage whose trials are changed for the dashboard, and nothing else.

    Everything but reading all trials of a study, writing too, is passed on.
    """
    names = [name for name in dir(BaseStorage) if not name.startswith("__")]
    methods = {name: _passing_on(name) for name in names if callable(getattr(BaseStorage, name))}

    def get_all_trials(
        self: Any,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = storage.get_all_trials(study_id, deepcopy=deepcopy, states=states)
        trials = [_with_constraints(trial) for trial in trials]
        if len(trials) <= FROM:
            return trials
        return _without_most_reports(trials, storage.get_study_directions(study_id))

    methods["get_all_trials"] = get_all_trials
    kind = type("ShownStorage", (BaseStorage,), methods)
    made: BaseStorage = kind()
    made._behind = storage  # type: ignore[attr-defined]
    return made


def _passing_on(name: str) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **options: Any) -> Any:
        return getattr(self._behind, name)(*args, **options)

    return call


def _with_constraints(trial: FrozenTrial) -> FrozenTrial:
    """Show constraints in the one form that optuna-dashboard knows (0.21), a list of numbers.

    `optuna.Trial.set_constraint` stores them one by one, under their names.
    """
    if "constraints" in trial.system_attrs or not trial.constraints:
        return trial
    shown = copy.copy(trial)
    shown.system_attrs = {**trial.system_attrs, "constraints": list(trial.constraints.values())}
    return shown


def _without_most_reports(
    trials: list[FrozenTrial], directions: list[StudyDirection]
) -> list[FrozenTrial]:
    sign = -1.0 if directions[0] == StudyDirection.MAXIMIZE else 1.0

    def rank(trial: FrozenTrial) -> float:
        complete = trial.state == TrialState.COMPLETE and trial.values
        return sign * trial.values[0] if complete else math.inf

    kept = {trial.number for trial in sorted(trials, key=rank)[:KEPT]}
    kept |= {trial.number for trial in trials[-KEPT:]}
    # The storage's own trials stay as they are: it may hold them in a cache.
    return [trial if trial.number in kept else _without_reports(trial) for trial in trials]


def _without_reports(trial: FrozenTrial) -> FrozenTrial:
    bare = copy.copy(trial)
    bare.intermediate_values = {}
    return bare
