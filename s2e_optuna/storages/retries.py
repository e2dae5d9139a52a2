"""A trial that is run again begins anew."""

from __future__ import annotations

import copy

import optuna
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial


class Retry(RetryHeartbeatStaleTrialCallback):
    """Optuna's callback, but the new trial has no constraints of the lost run.

    Those could not be set again: `optuna.Trial.set_constraint` keeps the first value.
    """

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Queue a copy of a lost trial, unless it was run again too often."""
        clone = copy.deepcopy(trial)
        clone.system_attrs = {
            key: value
            for key, value in clone.system_attrs.items()
            if key.partition(":")[0] != "constraints"
        }
        super().__call__(study, clone)
