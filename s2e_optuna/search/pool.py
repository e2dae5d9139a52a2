"""Local worker processes: started, watched, restarted, stopped."""

from __future__ import annotations

import atexit
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait

import optuna
from optuna.storages import BaseStorage

from s2e_optuna.cores import available_cores
from s2e_optuna.search.budget import Budget
from s2e_optuna.search.processes import ignoring, start_process
from s2e_optuna.search.progress import Progress, WorkerProgress, WorkerStatus
from s2e_optuna.search.watch import TICK, End, Place, Pool, SearchError, clear_study
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
from s2e_optuna.storages.open import HEARTBEAT

__all__ = ["TICK", "LocalPool", "SearchError", "available_cores", "clear_study"]

STOP_PATIENCE = 10.0
"""Seconds that a worker has to hand its trials back before it is killed."""


class LocalPool(Pool):
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
    budget
        What the search may cost; None for what its trials do.
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
        budget: Budget | None = None,
        heartbeat: int = HEARTBEAT,
    ) -> None:
        super().__init__(
            study,
            storage,
            devices=[devices[i % len(devices)] for i in range(workers)],
            stack=stack,
            make_job=make_job,
            on_progress=on_progress,
            budget=budget,
        )
        self._heartbeat = heartbeat
        self._threads = max(1, available_cores() // workers)
        self._pipes: dict[int, Connection] = {}  # by the number of the place

    def run(self, target: int) -> None:
        """See `Pool`."""
        # Again at exit: an interrupt in _stop itself would leave processes, for which Python
        # waits.
        atexit.register(self._stop)
        try:
            super().run(target)
        finally:
            atexit.unregister(self._stop)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [p.worker.pid or 0 for p in self._busy if p.worker.is_alive()]

    def _start(self, place: Place) -> None:
        place.owner = new_owner()
        worker = LocalWorker(
            self._storage,
            self._study.study_name,
            self._stack,
            place.device,
            self._threads,
            self._make_job,
            place.owner,
            place.number,
            self._heartbeat,
        )
        place.status = WorkerStatus("starting")
        name = f"s2e-worker-{place.number}"
        place.worker, self._pipes[place.number] = start_process(run_local, worker, name=name)

    def _ends(self, timeout: float) -> list[tuple[Place, End]]:
        busy = self._busy
        pipes = [self._pipes[p.number] for p in busy if p.number in self._pipes]
        ready = wait([*pipes, *(place.worker.sentinel for place in busy)], timeout)
        ends = []
        for place in busy:
            if self._pipes.get(place.number) in ready:
                self._receive(place)
            if place.worker.sentinel in ready:
                self._receive(place)  # what it said last
                place.worker.join()
                ends.append((place, end_of(place.worker.exitcode, place.status)))
                self._close(place)
        return ends

    def _receive(self, place: Place) -> None:
        pipe = self._pipes.get(place.number)
        try:
            while pipe is not None and pipe.poll():
                said = pipe.recv()
                if isinstance(said, LogLine):
                    logging.getLogger(said.logger).log(said.level, "%s", said.text)
                else:
                    place.status = said
        except (EOFError, OSError):  # it died, perhaps in the middle of a message
            self._close(place)

    def _close(self, place: Place) -> None:
        if (pipe := self._pipes.pop(place.number, None)) is not None:
            pipe.close()

    def _end(self, places: Sequence[Place]) -> None:
        started = [place.worker for place in places if place.worker.pid is not None]
        for process in started:
            process.terminate()
        deadline = time.monotonic() + STOP_PATIENCE
        for process in started:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():  # it may have been suspended
                process.kill()
                process.join()
        for place in places:
            self._close(place)

    def _stop(self) -> None:
        # A second Ctrl-C or SIGTERM must not leave processes or trials behind.
        with ignoring(signal.SIGINT, signal.SIGTERM):
            super()._stop()

    def _shown(self) -> tuple[tuple[WorkerProgress, ...], str]:
        busy = self._busy
        waiting = [p.status.message for p in busy if p.status.state == "waiting"]
        shown = tuple(
            WorkerProgress(
                pid=place.worker.pid or 0,
                alive=place.worker.is_alive(),
                device=place.device,
                status=place.status,
                restarts=place.restarts,
            )
            for place in busy
        )
        return shown, waiting[0] if waiting else ""


def end_of(code: int | None, said: WorkerStatus | None = None) -> End:
    """Say how a process ended, by its exit code and the last that it said."""
    if code == DONE:
        return End()
    message = said.message if said is not None and said.state == "failed" else ""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return End(f"was killed by {signal.Signals(-code).name}")
    how = f"ended with: {message}" if message else f"ended with exit code {code}"
    return End(how, fatal=message if code == FATAL else "")
