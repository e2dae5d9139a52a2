"""Watches over workers: starts them, replaces those that die, ends those that nobody needs.

This is the same for processes on this machine (`pool`) and for tasks on a cluster (`ray_pool`).
"""

from __future__ import annotations

import abc
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from s2e_optuna.search.budget import Budget
from s2e_optuna.search.loop import names_owners, read_target
from s2e_optuna.search.progress import (
    SURPLUS,
    Progress,
    RunningTally,
    Tally,
    WorkerProgress,
    WorkerStatus,
    tally,
)
from s2e_optuna.search.worker import MakeJob, search_job
from s2e_optuna.storages.cached import SharedStorage
from s2e_optuna.storages.failures import failed
from s2e_optuna.storages.leases import Reaper, release, release_owned
from s2e_optuna.storages.rows import OWNER_ATTR
from s2e_optuna.stored_names import TARGET_ATTR

TICK = 0.5
"""Seconds between two reports of progress."""

GRACE = 10.0
"""Seconds that workers have to end by themselves once the study has its trials."""

MAX_DEATHS = 10
"""Deaths of the workers in one place, without any trial finished in between, before giving up."""

_logger = logging.getLogger(__name__)


class SearchError(RuntimeError):
    """A search that cannot go on: errors that repeat, or workers that keep dying."""


@dataclass
class Place:
    """A place for a worker, and the worker in it.

    Attributes
    ----------
    number
        Of the worker; no other one of the study has it.
    device
        What it trains on.
    worker
        The process or task; None once it has ended.
    owner
        Its name in the trials that it runs.
    status
        What it said last.
    restarts
        How many workers died here before.
    """

    number: int
    device: str
    worker: Any = None
    owner: str = ""
    status: WorkerStatus = field(default_factory=lambda: WorkerStatus("starting"))
    restarts: int = 0
    deaths: int = 0
    finished_at_death: int = 0


@dataclass(frozen=True)
class End:
    """How a worker ended.

    Attributes
    ----------
    how
        In words, as in "its worker was killed"; empty if it ended well.
    fatal
        The sentence to end the search with, if the same would happen to every other worker.
    """

    how: str = ""
    fatal: str = ""


class Pool(abc.ABC):
    """Runs a study's trials in workers until its budget is spent.

    Parameters
    ----------
    study
        The study, opened in this process.
    storage
        What the workers open.
    devices
        Device of each worker.
    stack
        Trials that a worker trains at once, at most.
    make_job
        What trials do.
    on_progress
        Told about twice a second how far it is.
    budget
        What the search may cost; None for what its trials do.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: str | BaseStorage,
        *,
        devices: Sequence[str],
        stack: int = 1,
        make_job: MakeJob = search_job,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        budget: Budget | None = None,
    ) -> None:
        self._budget = budget
        self._study = study
        self._storage = storage
        self._stack = stack
        self._make_job = make_job
        self._on_progress = on_progress
        first = len(study.get_trials(deepcopy=False))
        # Numbers differ from those of an earlier run of the same search.
        self._places = [Place(first * 1000 + i, device) for i, device in enumerate(devices)]
        self._counted = RunningTally()
        self._started = time.monotonic()
        self._finished_before = 0

    def run(self, target: int) -> None:
        """Run until ``target`` trials are finished, or so many as the study is then to have.

        Raises
        ------
        SearchError
            If workers keep dying, or an error of theirs would meet every other one, too.
        KeyboardInterrupt
            After Ctrl-C; running trials have been handed back.
        """
        self._started = time.monotonic()
        try:
            self._finished_before = self._tally().finished
            self._check_connections()
            for place in self._places:
                self._start(place)
            self._watch(target)
        except StorageInternalError as error:
            raise SearchError(str(failed(error))) from error
        finally:
            self._stop()

    # ---------------------------------------------------------------- what a kind of pool does

    @abc.abstractmethod
    def _start(self, place: Place) -> None:
        """Start a worker."""

    @abc.abstractmethod
    def _ends(self, timeout: float) -> list[tuple[Place, End]]:
        """Wait until something happens, or for so many seconds; return workers that ended."""

    @abc.abstractmethod
    def _end(self, places: Sequence[Place]) -> None:
        """End workers, those that still train by asking them to hand back their trials."""

    def _shown(self) -> tuple[tuple[WorkerProgress, ...], str]:
        """Return what progress tells of the workers: each of them, and a sentence."""
        return (), ""

    # ---------------------------------------------------------------- what all have in common

    @property
    def _busy(self) -> list[Place]:
        return [place for place in self._places if place.worker is not None]

    def _watch(self, target: int) -> None:
        first, next_tick, enough_since = target, 0.0, None
        while self._busy:
            for place, end in self._ends(max(0.0, next_tick - time.monotonic())):
                self._ended(place, end, target)
            now = time.monotonic()
            if now < next_tick:
                continue
            next_tick = now + TICK
            target = read_target(self._study)  # somebody may have changed it
            seen = self._report(target)
            if seen.finished < target and self._has_spent(seen, now):
                continue
            if seen.finished < target:
                enough_since = None
                continue
            if enough_since is None:
                enough_since = now
            # A search that is to end early does not wait: what still trains is not needed.
            if now - enough_since >= (GRACE if target >= first else 0.0) and self._busy:
                _logger.warning(
                    "The study has its %d trials: workers that have not ended are ended (%d).",
                    target,
                    len(self._busy),
                )
                self._stop()
        self._report(read_target(self._study))

    def _has_spent(self, seen: Tally, now: float) -> bool:
        """End the search if its budget is spent and there is something to write."""
        if self._budget is None or seen.best_value is None:
            return False
        counts_epochs = self._budget.epochs_total is not None
        trials = self._study.get_trials(deepcopy=False) if counts_epochs else []
        spent = self._budget.spent(trials, now - self._started)
        if spent is None:
            return False
        _logger.warning("%s It ends with the trials that have finished.", spent)
        self._study.set_user_attr(TARGET_ATTR, seen.finished)
        return True

    def _ended(self, place: Place, end: End, target: int) -> None:
        """Clean up after a worker; start another one if it died before the work was done."""
        place.worker = None
        if not end.how:
            return
        self._release(place, end.how, retry=True)
        if end.fatal:
            raise SearchError(end.fatal)
        finished = self._tally().finished
        if finished >= target:
            return
        place.deaths = place.deaths + 1 if finished == place.finished_at_death else 1
        place.finished_at_death = finished
        place.restarts += 1
        if place.deaths >= MAX_DEATHS:
            raise SearchError(
                f"workers die again and again, {MAX_DEATHS} times without a finished trial: the "
                f"last one {end.how}."
            )
        _logger.warning("A worker %s; it is replaced.", end.how)
        self._start(place)

    def _stop(self) -> None:
        """End all workers, and hand back what they trained."""
        places = self._busy
        if not places:
            return
        self._end(places)
        for place in places:
            place.worker = None
        for place in places:
            try:
                self._release(place, "was stopped", retry=False)  # it has had its time
            except StorageInternalError:  # most likely why the search ends
                _logger.warning("Trials of a stopped worker could not be marked as failed.")

    def _release(self, place: Place, reason: str, *, retry: bool) -> None:
        reason = f"its worker {reason}"
        if names_owners(self._study._storage):
            release_owned(self._study, place.owner, reason, retry=retry)
            return
        # Other storages do not say who runs a trial, but the worker has said which ones it has.
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number in place.status.trials:
                release(self._study, trial, reason, retry=retry)

    def _check_connections(self) -> None:
        """Say so if the server has fewer connections than the workers may need."""
        storage, workers = self._study._storage, len(self._places)
        left = storage.connections_left() if isinstance(storage, SharedStorage) else None
        if left is not None and left < 2 * workers:  # a second one for signs of life
            _logger.warning(
                "%d workers need up to %d connections, and the server has %d left: some of them "
                "will have to wait. Let it allow more (max_connections), take fewer workers, or "
                "put a proxy in front of it (s2e proxy).",
                workers,
                2 * workers,
                left,
            )

    def _tally(self) -> Tally:
        return self._counted.update(self._study.get_trials(deepcopy=False))

    def _report(self, target: int) -> Tally:
        seen = self._tally()
        elapsed = time.monotonic() - self._started
        new = seen.finished - self._finished_before
        left = max(0, target - seen.finished)
        workers, message = self._shown()
        self._on_progress(
            Progress(
                phase="search",
                counts=seen.counts,
                finished=seen.finished,
                target=target,
                best_value=seen.best_value,
                workers=workers,
                elapsed=elapsed,
                seconds_left=elapsed / new * left if new else None,
                message=message,
            )
        )
        return seen


def clear_study(study: optuna.Study, target: int | None = None, patience: float = 120.0) -> None:
    """Wait until no trial that has an owner runs any more; dead workers' trials are failed.

    Parameters
    ----------
    study
        The study.
    target
        Its budget. Where it has so many trials, repetitions that nobody needs any more are
        failed, too.
    patience
        Seconds to wait at most: trials of other programs are theirs to finish.
    """
    reaper = Reaper(study)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        reaper.look()
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if not any(OWNER_ATTR in trial.user_attrs for trial in running):
            break
        time.sleep(0.5)
    else:
        _logger.warning("Some trials of other workers still run.")
    if target is None or tally(study.get_trials(deepcopy=False)).finished < target:
        return
    for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        if "retry_history" in trial.system_attrs:
            release(study, trial, SURPLUS, retry=False)
