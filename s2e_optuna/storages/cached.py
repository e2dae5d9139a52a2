"""What `open_storage` returns for databases: Optuna's cached storage, with less to read and write.

What is added to `optuna.storages._CachedStorage`, and why:

- Owners: trials that one of our workers starts name that worker from birth (in the transaction
  that creates them), so that nobody has to guess which trials a dead worker left behind.
- Reads: every look at the trials asks the database what is new. Inside ``with
  storage.one_read():`` it is asked once.
- Lists: Optuna sorts all trials at every look. Here the work grows with new and open ones only.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Container, Iterator, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, _CachedStorage
from optuna.storages._cached_storage import _StudyInfo
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.storages.rdb import SharedRDBStorage

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class SharedStorage(_CachedStorage):
    """A cached `SharedRDBStorage`: what `open_storage` returns for databases.

    Parameters
    ----------
    backend
        The database.

    Attributes
    ----------
    owner : str or None
        If set, trials that are started through this object carry it as the user attribute
        ``worker``.
    """

    _backend: SharedRDBStorage

    def __init__(self, backend: SharedRDBStorage) -> None:
        super().__init__(backend)
        self.owner: str | None = None
        self._by_number: dict[int, list[FrozenTrial]] = {}
        self._just_created: dict[int, FrozenTrial] = {}
        self._reads = _Reads()

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        del state["_reads"]
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._reads = _Reads()

    def batch(self) -> contextlib.AbstractContextManager[set[int]]:
        """Write what is set inside the ``with`` block in one transaction, at its end."""
        return self._backend.batch()

    @contextlib.contextmanager
    def one_read(self) -> Iterator[None]:
        """Let this thread read the trials from the database once inside the ``with`` block.

        Each trial that is created or started inside allows one more read, so that a sampler that
        reads after it was given a number sees what is there.
        """
        outer = self._reads.due
        self._reads.due = True
        try:
            yield
        finally:
            self._reads.due = outer

    @property
    def lost_at(self) -> float | None:
        """When a connection was last found lost, `time.monotonic` seconds."""
        return self._backend.lost_at

    def with_heartbeat(self, trial_ids: Sequence[int]) -> set[int]:
        """Which of the trials have ever sent a heartbeat."""
        return self._backend.with_heartbeat(trial_ids)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `optuna.storages.BaseStorage`."""
        self._reads.renew()
        if template_trial is not None or self.owner is None:
            return super().create_new_trial(study_id, template_trial)
        trial = self._backend.create_owned_trial(study_id, self.owner)
        trial_id: int = trial._trial_id
        with self._lock:
            self._trial_id_to_study_id_and_number[trial_id] = (study_id, trial.number)
            self._study_id_and_number_to_trial_id[study_id, trial.number] = trial_id
            self._studies.setdefault(study_id, _StudyInfo()).trials[trial.number] = trial
            self._just_created[trial_id] = copy.deepcopy(trial)
        return trial_id

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `optuna.storages.BaseStorage`."""
        self._reads.renew()
        if state == TrialState.RUNNING and self.owner is not None:
            return self._backend.start_waiting_trial(trial_id, self.owner)
        return super().set_trial_state_values(trial_id, state, values)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """See `optuna.storages.BaseStorage`."""
        with self._lock:
            study_id, _ = self._trial_id_to_study_id_and_number[trial_id]
            known = self._studies[study_id].param_distribution
            if param_name not in known:  # the last trial may have it: one statement less
                for trial in self._by_number.get(study_id, [])[-1:]:
                    known.update(trial.distributions)
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `optuna.storages.BaseStorage`."""
        with self._lock:
            fresh = self._just_created.pop(trial_id, None)
            place = self._trial_id_to_study_id_and_number.get(trial_id)
        if fresh is not None:  # nobody else knows of it yet
            return fresh
        if self._reads.due is None or place is None:
            return super().get_trial(trial_id)
        return copy.deepcopy(self.get_all_trials(place[0], deepcopy=False)[place[1]])

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """See `optuna.storages.BaseStorage`; the work grows with new and open trials only."""
        if self._reads.due is not False:
            self._read_trials_from_remote_storage(study_id)
            self._reads.done()
        with self._lock:
            trials = self._by_number.get(study_id, [])
            if states is None:
                trials = trials.copy()
            elif any(state in states for state in _FINISHED):
                trials = [trial for trial in trials if trial.state in states]
            else:
                open_ids = self._studies[study_id].unfinished_trial_ids
                numbers = sorted(self._trial_id_to_study_id_and_number[i][1] for i in open_ids)
                trials = [trials[n] for n in numbers if trials[n].state in states]
            return copy.deepcopy(trials) if deepcopy else trials

    def _add_trials_to_cache(self, study_id: int, trials: list[FrozenTrial]) -> None:
        super()._add_trials_to_cache(study_id, trials)
        known = self._by_number.setdefault(study_id, [])
        for trial in trials:
            if trial.number < len(known):
                known[trial.number] = trial
            elif trial.number == len(known):  # else it was created here and others come first
                known.append(trial)

    def delete_study(self, study_id: int) -> None:
        """See `optuna.storages.BaseStorage`."""
        super().delete_study(study_id)
        with self._lock:
            self._by_number.pop(study_id, None)

    def dispose(self) -> None:
        """Close this process's connections."""
        self._backend.scoped_session.remove()
        self._backend.engine.dispose()


class _Reads(threading.local):
    """Whether the trials have to be read again; see `SharedStorage.one_read`."""

    due: bool | None = None
    """None outside of ``one_read``: always."""

    def renew(self) -> None:
        if self.due is not None:
            self.due = True

    def done(self) -> None:
        if self.due is not None:
            self.due = False


def batch_of(storage: BaseStorage) -> contextlib.AbstractContextManager[set[int]]:
    """Batch of a `SharedStorage`; on other storages every write stands alone."""
    if isinstance(storage, SharedStorage):
        return storage.batch()
    return contextlib.nullcontext(set())


def one_read_of(storage: BaseStorage) -> contextlib.AbstractContextManager[None]:
    """Read the trials of a `SharedStorage` once; other storages read whenever they are asked."""
    return storage.one_read() if isinstance(storage, SharedStorage) else contextlib.nullcontext()
