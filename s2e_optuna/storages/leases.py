"""Which running trials are alive, and what becomes of the others.

A worker beats for its trials from a thread (`Heartbeat`). In a database a beat is Optuna's own: a
trial whose last one is too old is marked as failed and queued again; so is one that has an owner
but never had a beat, once somebody has watched it for the grace period (its worker died at its
very beginning). Journals and proxies have no beats. There a worker counts up a system attribute of
one of its trials, its lease, and all of its trials are given up once somebody has watched them for
the grace period without seeing anything change.

Nobody compares the clocks of two machines: beats are timed by the database, watching by the
watcher's own clock. Trials without an owner belong to other programs and are left alone.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.sampler.ledger import LOST_KEY
from s2e_optuna.storages.cached import SharedStorage
from s2e_optuna.storages.leased import LeasedStorage
from s2e_optuna.storages.open import MAX_RETRY, MISSED_BEATS
from s2e_optuna.storages.retries import Retry
from s2e_optuna.storages.rows import OWNER_ATTR

ERROR_ATTR = "error"
"""User attribute of a failed trial: why."""

LEASE_ATTR = "s2e:lease"
"""System attribute of a trial where there are no heartbeats: a count that its worker raises."""

_logger = logging.getLogger(__name__)


class Heartbeat:
    """Beats for running trials from a thread, as long as the ``with`` block lasts.

    The first beat comes after one interval: a trial of a second needs none.

    Parameters
    ----------
    storage
        Where to; nothing happens if it knows neither heartbeats nor leases.
    trial_ids
        Storage ids of the trials.
    also
        What else is to be done at each beat, in that thread.
    """

    def __init__(
        self,
        storage: BaseStorage,
        trial_ids: Sequence[int],
        also: Callable[[], None] = lambda: None,
    ) -> None:
        self._storage = storage
        self._trial_ids = trial_ids
        self._also = also
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Heartbeat:
        interval = heartbeat_interval(self._storage)
        if interval is not None:
            self._thread = threading.Thread(target=self._beat, args=(interval,), daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self, interval: float) -> None:
        count = 0
        try:
            while not self._stop.wait(interval):
                count += 1
                try:
                    if isinstance(self._storage, LeasedStorage):
                        self._renew_lease(count)
                    else:
                        for trial_id in self._trial_ids:
                            self._storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]
                    self._also()
                except Exception:  # the next beat may come through; the trial itself goes on
                    _logger.warning("A heartbeat was not stored.", exc_info=True)
        finally:
            self._storage.remove_session()

    def _renew_lease(self, count: int) -> None:
        for trial_id in self._trial_ids:
            try:
                self._storage.set_trial_system_attr(trial_id, LEASE_ATTR, count)
            except UpdateFinishedTrialError:  # somebody gave it up; the others may still run
                continue
            return


def heartbeat_interval(storage: BaseStorage) -> int | None:
    """Seconds between heartbeats, or between renewals of a lease; None if there are none."""
    if isinstance(storage, LeasedStorage):
        return storage.lease
    interval: Callable[[], int | None] | None = getattr(storage, "get_heartbeat_interval", None)
    return None if interval is None else interval()


class Reaper:
    """Finds trials whose worker is gone, fails them and queues them again.

    Parameters
    ----------
    study
        Which trials.
    grace
        Seconds for which a trial without any sign of life is watched; by default six beats.
    clock
        Seconds since some moment; replaced in tests.
    """

    def __init__(
        self,
        study: optuna.Study,
        grace: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study = study
        self._storage = study._storage
        interval = heartbeat_interval(self._storage)
        self._every = interval
        self._grace = grace if grace is not None else float(MISSED_BEATS * (interval or 0))
        self._clock = clock
        self._next = clock()
        self._silent_since: dict[int, float] = {}
        self._leases: dict[str, tuple[object, float]] = {}

    def look(self, mine: Iterable[int] = ()) -> None:
        """Look, if the last look is at least one interval ago.

        Parameters
        ----------
        mine
            Storage ids of trials that are known to be alive.
        """
        now = self._clock()
        if self._every is None or now < self._next:
            return
        self._next = now + self._every
        lost_at: float | None = getattr(self._storage, "lost_at", None)
        if lost_at is not None and time.monotonic() - lost_at < self._grace:
            return  # the server was away: living workers may not have come through yet
        known = set(mine)
        others = [
            trial
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if OWNER_ATTR in trial.user_attrs and trial._trial_id not in known
        ]
        if isinstance(self._storage, LeasedStorage):
            for trial in self._expired(others, now):
                release(self._study, trial, "its worker gave no sign of life")
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self._study)
        if not isinstance(self._storage, SharedStorage):
            return  # Optuna's own storage: its trials name nobody
        for trial in self._silent(self._storage, others, now):
            release(self._study, trial, "its worker was lost at the start of the trial")

    def _silent(
        self, storage: SharedStorage, others: Sequence[FrozenTrial], now: float
    ) -> list[FrozenTrial]:
        """Trials that were never seen to have a heartbeat."""
        running = {trial._trial_id: trial for trial in others}
        silent = running.keys() - storage.with_heartbeat(list(running))
        self._silent_since = {i: self._silent_since.get(i, now) for i in silent}
        return [running[i] for i in sorted(silent) if now - self._silent_since[i] > self._grace]

    def _expired(self, others: Sequence[FrozenTrial], now: float) -> list[FrozenTrial]:
        """Trials of workers of which nothing has changed for long."""
        by_owner: dict[str, list[FrozenTrial]] = {}
        for trial in others:
            by_owner.setdefault(trial.user_attrs[OWNER_ATTR], []).append(trial)
        seen = {}
        for owner, trials in by_owner.items():
            signs = [(t.number, t.system_attrs.get(LEASE_ATTR), t.last_step) for t in trials]
            before, since = self._leases.get(owner, (None, now))
            seen[owner] = (signs, since if signs == before else now)
        self._leases = dict(seen)
        return [
            trial
            for owner, trials in by_owner.items()
            if now - seen[owner][1] > self._grace
            for trial in trials
        ]


def release(study: optuna.Study, trial: FrozenTrial, reason: str, *, retry: bool = True) -> bool:
    """Mark a running trial as failed and, unless it has been lost too often, queue it again.

    Parameters
    ----------
    study
        The trial's study.
    trial
        As it was read.
    reason
        Why, for those who look at it.
    retry
        Whether it is run again.

    Returns
    -------
    bool
        False if the trial was finished already.
    """
    storage = study._storage
    try:
        storage.set_trial_user_attr(trial._trial_id, ERROR_ATTR, reason)
        storage.set_trial_system_attr(trial._trial_id, LOST_KEY, True)
        if not storage.set_trial_state_values(trial._trial_id, TrialState.FAIL):
            return False
    except UpdateFinishedTrialError:
        return False
    _logger.info("Trial %d is marked as failed: %s.", trial.number, reason)
    if retry:
        queue_again(study, trial)
    return True


def queue_again(study: optuna.Study, trial: FrozenTrial, at_most: int | None = MAX_RETRY) -> None:
    """Queue a copy of a trial.

    Parameters
    ----------
    study
        The trial's study.
    trial
        As it was read; its owner, its error and what belongs to one run stay behind.
    at_most
        Nothing happens if it was run again so often already; None knows no limit.
    """
    clone = copy.deepcopy(trial)
    clone.user_attrs = {
        key: value
        for key, value in clone.user_attrs.items()
        if key not in (OWNER_ATTR, ERROR_ATTR)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        Retry(max_retry=at_most)(study, clone)


def release_owned(study: optuna.Study, owner: str, reason: str, *, retry: bool = True) -> int:
    """Release all running trials of one worker, which must be dead; return how many.

    Parameters
    ----------
    study
        Which trials.
    owner
        The worker, as its trials name it.
    reason, retry
        See `release`.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    owned = [trial for trial in running if trial.user_attrs.get(OWNER_ATTR) == owner]
    return sum(release(study, trial, reason, retry=retry) for trial in owned)
