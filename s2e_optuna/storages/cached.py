"""What `open_storage` returns for databases: a storage that reads each finished trial once.

Like Optuna's own cache, and on its public names only, with these differences:

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
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from s2e_optuna.storages.passing import PassingStorage
from s2e_optuna.storages.private import take_for_heartbeats
from s2e_optuna.storages.rdb import SharedRDBStorage

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass
class _Study:
    """What is known of a study."""

    trials: list[FrozenTrial] = field(default_factory=list)  # by number
    numbers: dict[int, int] = field(default_factory=dict)  # of unfinished trials, by id
    newest_finished: int = -1  # id
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    name: str | None = None
    directions: list[StudyDirection] | None = None

    def take_in(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in trials that have just been read, by id."""
        for trial in trials:
            if trial.number < len(self.trials):
                self.trials[trial.number] = trial
            else:
                self.trials.append(trial)
            if trial.state.is_finished():
                self.newest_finished = max(self.newest_finished, trial._trial_id)
                self.numbers.pop(trial._trial_id, None)
            else:
                self.numbers[trial._trial_id] = trial.number


class SharedStorage(PassingStorage):
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

    Raises
    ------
    s2e_optuna.storages.private.MisfitError
        If this Optuna expects other methods of a storage with heartbeats.
    """

    _backend: SharedRDBStorage

    def __init__(self, backend: SharedRDBStorage) -> None:
        take_for_heartbeats(SharedStorage)
        super().__init__(backend)
        self.owner: str | None = None
        self._lock = threading.Lock()
        self._studies: dict[int, _Study] = {}
        self._places: dict[int, tuple[int, int]] = {}  # study and number of a trial, by id
        self._just_created: dict[int, FrozenTrial] = {}
        self._reads = _Reads()

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_again, (self._backend, self.owner)

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

    def connections_left(self) -> int | None:
        """How many more connections the server allows; None where nobody knows."""
        return self._backend.connections_left()

    def with_heartbeat(self, trial_ids: Sequence[int]) -> set[int]:
        """Which of the trials have ever sent a heartbeat."""
        return self._backend.with_heartbeat(trial_ids)

    # ---------------------------------------------------------------- studies

    def delete_study(self, study_id: int) -> None:
        """See `optuna.storages.BaseStorage`."""
        with self._lock:
            self._studies.pop(study_id, None)
            self._places = {i: place for i, place in self._places.items() if place[0] != study_id}
        self._backend.delete_study(study_id)

    def get_study_name_from_id(self, study_id: int) -> str:
        """See `optuna.storages.BaseStorage`."""
        study = self._study(study_id)
        if study.name is None:
            study.name = self._backend.get_study_name_from_id(study_id)
        return study.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """See `optuna.storages.BaseStorage`."""
        study = self._study(study_id)
        if study.directions is None:
            study.directions = self._backend.get_study_directions(study_id)
        return study.directions

    def _study(self, study_id: int) -> _Study:
        with self._lock:
            return self._studies.setdefault(study_id, _Study())

    # ---------------------------------------------------------------- writes

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `optuna.storages.BaseStorage`."""
        self._reads.renew()
        trial = self._backend.create_trial(study_id, template_trial, self.owner)
        with self._lock:
            self._places[trial._trial_id] = (study_id, trial.number)
            self._just_created[trial._trial_id] = trial
        return trial._trial_id

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `optuna.storages.BaseStorage`."""
        self._reads.renew()
        if state == TrialState.RUNNING:
            return self._backend.start_waiting_trial(trial_id, self.owner)
        return self._backend.set_trial_state_values(trial_id, state, values)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """See `optuna.storages.BaseStorage`."""
        place = self._places.get(trial_id)
        known = {} if place is None else self._study(place[0]).distributions
        if place is not None and param_name not in known:  # the last trial may have it
            for trial in self._study(place[0]).trials[-1:]:
                known.update(trial.distributions)
        args = (trial_id, param_name, param_value_internal, distribution, known.get(param_name))
        self._backend.set_trial_param(*args)
        known.setdefault(param_name, distribution)

    # ---------------------------------------------------------------- reads

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """See `optuna.storages.BaseStorage`."""
        trials = self._study(study_id).trials
        if trial_number >= len(trials):
            trials = self.get_all_trials(study_id, deepcopy=False)
        if trial_number >= len(trials):
            raise KeyError(f"The study with id {study_id} has no trial {trial_number}.")
        return trials[trial_number]._trial_id

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `optuna.storages.BaseStorage`."""
        with self._lock:
            fresh = self._just_created.pop(trial_id, None)
            place = self._places.get(trial_id)
        if fresh is not None:  # nobody else knows of it yet
            return fresh
        if place is None:
            return self._backend.get_trial(trial_id)
        study_id, number = place
        if self._reads.due is not None:
            return copy.deepcopy(self.get_all_trials(study_id, deepcopy=False)[number])
        known = self._study(study_id).trials
        if number < len(known) and known[number].state.is_finished():
            return known[number]
        return self._backend.get_trial(trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """See `optuna.storages.BaseStorage`; the work grows with new and open trials only."""
        if self._reads.due is not False:
            self._read(study_id)
            self._reads.done()
        with self._lock:
            study = self._studies.setdefault(study_id, _Study())
            if states is None:
                trials = study.trials.copy()
            elif any(state in states for state in _FINISHED):
                trials = [trial for trial in study.trials if trial.state in states]
            else:
                opened = (study.trials[number] for number in sorted(study.numbers.values()))
                trials = [trial for trial in opened if trial.state in states]
            return copy.deepcopy(trials) if deepcopy else trials

    def _read(self, study_id: int) -> None:
        with self._lock:
            study = self._studies.get(study_id) or _Study()
            found = self._backend.read_trials(study_id, study.newest_finished, list(study.numbers))
            study.take_in(found)
            self._studies[study_id] = study  # there is such a study
            self._places |= {trial._trial_id: (study_id, trial.number) for trial in found}
            for trial in found:
                self._just_created.pop(trial._trial_id, None)

    # ---------------------------------------------------------------- heartbeats

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that a trial is alive."""
        self._backend.record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        return self._backend.stale_trial_ids(study_id)

    def get_heartbeat_interval(self) -> int | None:
        """Seconds between heartbeats; None if there are none."""
        return self._backend.get_heartbeat_interval()

    def get_heartbeat_stale_trial_callback(
        self,
    ) -> Callable[[optuna.Study, FrozenTrial], None] | None:
        """Return what is called with a trial that was found dead."""
        return self._backend.get_heartbeat_stale_trial_callback()

    def dispose(self) -> None:
        """Close this process's connections."""
        self._backend.remove_session()
        self._backend.engine.dispose()


def _opened_again(backend: SharedRDBStorage, owner: str | None) -> SharedStorage:
    storage = SharedStorage.before(backend)
    storage.owner = owner
    return storage


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


def batch_of(where: BaseStorage | BaseTrial) -> contextlib.AbstractContextManager[set[int]]:
    """Write in one transaction where the storage offers that; else every write stands alone.

    Parameters
    ----------
    where
        A storage, or a trial in one; `optuna.trial.FixedTrial` is in none.

    Returns
    -------
    context manager
        Its value is the set of ids of trials that were left out, because another process has
        finished them; complete after the block.
    """
    storage = getattr(where, "storage", None) if isinstance(where, BaseTrial) else where
    if isinstance(storage, SharedStorage):
        return storage.batch()
    return contextlib.nullcontext(set())


def one_read_of(storage: BaseStorage) -> contextlib.AbstractContextManager[None]:
    """Read the trials of a `SharedStorage` once; other storages read whenever they are asked."""
    return storage.one_read() if isinstance(storage, SharedStorage) else contextlib.nullcontext()
