"""A trial that is run again begins anew."""

from __future__ import annotations

import copy
import re

import optuna
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial

OF_THE_RUN = re.compile(r"constraints(:|$)|completed_rung_\d+$")
"""System attributes of Optuna that speak of one run: they are not those of the next one."""


class Retry(RetryHeartbeatStaleTrialCallback):
    """Optuna's callback, but the new trial has no constraints and no rungs of the lost run.

    Constraints could not be set again: `optuna.Trial.set_constraint` keeps the first value. With
    rungs that it has not reached a trial would not be judged before the next one, and the lost
    run's values would count twice (`optuna.pruners.SuccessiveHalvingPruner`, also in Hyperband).
    """

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Queue a copy of a lost trial, unless it was run again too often."""
        clone = copy.deepcopy(trial)
        clone.system_attrs = {
            key: value for key, value in clone.system_attrs.items() if not OF_THE_RUN.match(key)
        }
        super().__call__(study, clone)
