"""Owners and leases for storages without heartbeats, by public names of Optuna only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.storages.rows import OWNER_ATTR


class LeasedStorage(BaseStorage):
    """A storage whose trials name the worker that runs them, and stay alive by its leases.

    Attributes
    ----------
    owner : str or None
        If set, trials that are started through this object carry it as the user attribute
        ``worker``.
    lease : int or None
        Seconds between two signs of life of a worker; None if nobody looks after dead workers.
    lost_at : float or None
        When a connection was last found lost, `time.monotonic` seconds.
    """

    owner: str | None = None
    lease: int | None = None
    lost_at: float | None = None

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `optuna.storages.BaseStorage`."""
        if template_trial is None and self.owner is not None:
            template_trial = optuna.create_trial(
                state=TrialState.RUNNING, user_attrs={OWNER_ATTR: self.owner}
            )
            template_trial.datetime_start = datetime.now()
        return super().create_new_trial(study_id, template_trial)  # type: ignore[safe-super]

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `optuna.storages.BaseStorage`."""
        changed = super().set_trial_state_values(  # type: ignore[safe-super]
            trial_id, state, values
        )
        if changed and state == TrialState.RUNNING and self.owner is not None:
            self.set_trial_user_attr(trial_id, OWNER_ATTR, self.owner)
        return changed
