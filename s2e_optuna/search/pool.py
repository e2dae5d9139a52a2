"""Local worker processes: started, watched, restarted, stopped."""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from s2e_optuna.search.loop import SURPLUS, names_owners
from s2e_optuna.search.progress import (
    Progress,
    RunningTally,
    Tally,
    WorkerProgress,
    WorkerStatus,
    tally,
)
from s2e_optuna.search.worker import (
    DONE,
    FATAL,
    LocalWorker,
    LogLine,
    MakeJob,
    new_owner,
    run_local,
    search_job,
)
from s2e_optuna.storages.failures import explain
from s2e_optuna.storages.leases import Reaper, release, release_owned
from s2e_optuna.storages.open import HEARTBEAT
from s2e_optuna.storages.private import MAPPED_CLASSES
from s2e_optuna.storages.rows import OWNER_ATTR

TICK = 0.5
"""Seconds between two reports of progress."""

MAX_DEATHS = 10
"""Deaths of the workers in one place, without any trial finished in between, before giving up."""

PRELOAD = (
    "alembic.command",
    "alembic.migration",
    MAPPED_CLASSES,
    "s2e_optuna.search.config",
    "s2e_optuna.search.worker",
)
"""What worker processes import, once for all of them; nothing here may compute or touch a GPU."""

STOP_PATIENCE = 10.0
"""Seconds that a worker has to hand its trials back before it is killed."""

_logger = logging.getLogger(__name__)


class SearchError(RuntimeError):
    """A search that cannot go on: errors that repeat, or workers that keep dying."""


@dataclass
class _Slot:
    """One place for a worker, and the process in it."""

    number: int
    device: str
    process: BaseProcess | None = None
    connection: Connection | None = None
    owner: str = ""
    status: WorkerStatus = field(default_factory=lambda: WorkerStatus("starting"))
    restarts: int = 0
    deaths: int = 0
    finished_at_death: int = 0
    message: str = ""

    def progress(self) -> WorkerProgress:
        assert self.process is not None
        return WorkerProgress(
            pid=self.process.pid or 0,
            alive=self.process.is_alive(),
            device=self.device,
            status=self.status,
            restarts=self.restarts,
        )


class LocalPool:
    """Runs a study's trials in local processes until its budget is spent.

    Parameters
    ----------
    study
        The study, opened in this process.
    storage
        What the workers open.
    workers
        Number of processes.
    devices
        Devices, given out in turn.
    stack
        Trials that a worker trains at once, at most.
    make_job
        What trials do; must be importable by name.
    on_progress
        Told about twice a second how far it is.
    heartbeat
        Seconds between a worker's signs of life.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: str | BaseStorage,
        *,
        workers: int,
        devices: Sequence[str] = ("cpu",),
        stack: int = 1,
        make_job: MakeJob = search_job,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        heartbeat: int = HEARTBEAT,
    ) -> None:
        self._heartbeat = heartbeat
        self._study = study
        self._storage = storage
        self._stack = stack
        self._make_job = make_job
        self._on_progress = on_progress
        self._threads = max(1, available_cores() // workers)
        self._context = _process_context()
        first = len(study.get_trials(deepcopy=False))
        # Numbers differ from those of an earlier run of the same search.
        self._slots = [_Slot(first * 1000 + i, devices[i % len(devices)]) for i in range(workers)]
        self._counted = RunningTally()
        self._started = time.monotonic()
        self._finished_before = 0

    def run(self, target: int) -> None:
        """Run until ``target`` trials are finished.

        Raises
        ------
        SearchError
            If the same error repeats, or workers keep dying.
        KeyboardInterrupt
            After Ctrl-C; running trials have been handed back.
        """
        self._started = time.monotonic()
        self._finished_before = self._tally().finished
        # Again at exit: an interrupt in _stop itself would leave processes, for which Python
        # waits.
        atexit.register(self._stop)
        try:
            for slot in self._slots:
                self._start(slot)
            self._watch(target)
        except StorageInternalError as error:
            raise SearchError(f"the storage failed ({explain(error)})") from error
        finally:
            self._stop()
            atexit.unregister(self._stop)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [
            slot.process.pid or 0
            for slot in self._slots
            if slot.process is not None and slot.process.is_alive()
        ]

    def _start(self, slot: _Slot) -> None:
        parent, child = self._context.Pipe(duplex=False)
        slot.owner = new_owner()
        worker = LocalWorker(
            self._storage,
            self._study.study_name,
            self._stack,
            slot.device,
            self._threads,
            self._make_job,
            slot.owner,
            slot.number,
            self._heartbeat,
        )
        slot.status = WorkerStatus("starting")
        # No daemon: those may start no processes, and a trial may want to (as a DataLoader does).
        process: BaseProcess = self._context.Process(  # type: ignore[attr-defined]
            target=run_local, args=(worker, child), name=f"s2e-worker-{slot.number}", daemon=False
        )
        slot.process = process
        with _ignoring(signal.SIGINT), _patient_threads():
            process.start()
        child.close()  # so that reading ends when the process does
        slot.connection = parent

    def _watch(self, target: int) -> None:
        next_tick = 0.0
        while True:
            busy = [slot for slot in self._slots if slot.process is not None]
            waited = [slot.connection for slot in busy if slot.connection is not None]
            sentinels = [slot.process.sentinel for slot in busy if slot.process is not None]
            ready = wait([*waited, *sentinels], timeout=max(0.0, next_tick - time.monotonic()))
            for slot in busy:
                if slot.connection in ready:
                    self._receive(slot)
                if slot.process is not None and slot.process.sentinel in ready:
                    self._ended(slot, target)
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK
                self._on_progress(self._progress(target))
            if all(slot.process is None for slot in self._slots):
                self._on_progress(self._progress(target))
                return

    def _receive(self, slot: _Slot) -> None:
        assert slot.connection is not None
        try:
            while slot.connection.poll():
                said = slot.connection.recv()
                if isinstance(said, LogLine):
                    logging.getLogger(said.logger).log(said.level, "%s", said.text)
                else:
                    slot.status = said
                    slot.message = said.message if said.state == "failed" else ""
        except (EOFError, OSError):  # it died, perhaps in the middle of a message
            slot.connection.close()
            slot.connection = None

    def _ended(self, slot: _Slot, target: int) -> None:
        """Clean up after a process; start another one if it died before the work was done."""
        assert slot.process is not None
        if slot.connection is not None:
            self._receive(slot)
        slot.process.join()
        code = slot.process.exitcode
        slot.process = None
        if slot.connection is not None:
            slot.connection.close()
            slot.connection = None
        if code == DONE:
            return
        self._release(slot, _how_it_ended(code, slot.message), retry=True)
        if code == FATAL:
            raise SearchError(slot.message)
        finished = self._tally().finished
        if finished >= target:
            return
        slot.deaths = slot.deaths + 1 if finished == slot.finished_at_death else 1
        slot.finished_at_death = finished
        slot.restarts += 1
        if slot.deaths >= MAX_DEATHS:
            raise SearchError(
                f"worker processes die again and again, {MAX_DEATHS} times without a finished "
                f"trial: the last one {_how_it_ended(code, slot.message)}."
            )
        _logger.warning("A worker %s; it is replaced.", _how_it_ended(code, slot.message))
        self._start(slot)

    def _release(self, slot: _Slot, reason: str, *, retry: bool) -> None:
        reason = f"its worker {reason}"
        if names_owners(self._study._storage):
            release_owned(self._study, slot.owner, reason, retry=retry)
            return
        # Other storages do not say who runs a trial, but the worker has said which ones it has.
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number in slot.status.trials:
                release(self._study, trial, reason, retry=retry)

    def _stop(self) -> None:
        """End all processes, those that still train by asking them to hand back their trials."""
        running = [(slot, slot.process) for slot in self._slots if slot.process is not None]
        # A second Ctrl-C or SIGTERM must not leave processes or trials behind.
        with _ignoring(signal.SIGINT, signal.SIGTERM):
            started = [process for _, process in running if process.pid is not None]
            for process in started:
                process.terminate()
            deadline = time.monotonic() + STOP_PATIENCE
            for process in started:
                process.join(max(0.0, deadline - time.monotonic()))
                if process.is_alive():
                    process.kill()
                    process.join()
            for slot, _ in running:
                if slot.connection is not None:
                    slot.connection.close()
                slot.process = None
            for slot, _ in running:
                try:
                    self._release(slot, "was stopped", retry=False)  # it has had its time
                except StorageInternalError:  # most likely why the search ends
                    _logger.warning("Trials of a stopped worker could not be marked as failed.")

    def _tally(self) -> Tally:
        return self._counted.update(self._study.get_trials(deepcopy=False))

    def _progress(self, target: int) -> Progress:
        seen = self._tally()
        elapsed = time.monotonic() - self._started
        new = seen.finished - self._finished_before
        left = max(0, target - seen.finished)
        waiting = [s.status.message for s in self._slots if s.status.state == "waiting"]
        return Progress(
            phase="search",
            counts=seen.counts,
            finished=seen.finished,
            target=target,
            best_value=seen.best_value,
            workers=tuple(slot.progress() for slot in self._slots if slot.process is not None),
            elapsed=elapsed,
            seconds_left=elapsed / new * left if new else None,
            message=waiting[0] if waiting else "",
        )


def clear_study(study: optuna.Study, target: int | None = None, patience: float = 120.0) -> None:
    """Wait until no trial that has an owner runs any more; dead workers' trials are failed.

    For at most ``patience`` seconds: trials of other programs are theirs to finish. Where the
    study has its ``target`` of trials, repetitions that nobody needs any more are failed, too.
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


def _process_context() -> BaseContext:
    """How processes are started: never by forking this one, which may use CUDA and threads.

    On Linux a helper process imports torch once and is forked for every worker: the second
    worker, and one that replaces a dead one, starts in a tenth of a second instead of three.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    return context


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _ignoring(*numbers: signal.Signals) -> Iterator[None]:
    """Ignore signals; processes started inside ignore them for good."""
    if threading.current_thread() is not threading.main_thread():  # which alone sees them
        yield
        return
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _patient_threads() -> Iterator[None]:
    """Let threads of processes started inside sleep while they wait for each other.

    By default OpenMP's threads wait by spinning. On a machine that also does something else,
    two threads for a small network were 30 to 100 times slower than one, all of it spinning.
    """
    name = "OMP_WAIT_POLICY"  # read when torch is loaded: too late for this process itself
    if name in os.environ:
        yield
        return
    os.environ[name] = "PASSIVE"
    try:
        yield
    finally:
        del os.environ[name]


def _how_it_ended(code: int | None, message: str) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with: {message}" if message else f"ended with exit code {code}"
