"""Workers as tasks on a Ray cluster: Ray does the placing, the storage does the agreeing."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.storages import BaseStorage

from s2e_optuna.search.pool import MAX_DEATHS, TICK, SearchError
from s2e_optuna.search.progress import Progress, RunningTally
from s2e_optuna.search.worker import MakeJob, fatal_reason, new_owner, run_worker, search_job
from s2e_optuna.storages.leases import release_owned

STOP_PATIENCE = 20.0
"""Seconds that tasks have to hand their trials back before they are killed."""

_logger = logging.getLogger(__name__)


class RayPool:
    """Runs a study's trials in tasks of a Ray cluster until its budget is spent.

    Parameters
    ----------
    study
        The study, opened in this process.
    storage
        What the workers open: all nodes must reach it.
    workers
        Number of tasks that run at once, as far as the cluster has room.
    gpus
        GPUs of each worker; fractions share one. 0 trains on CPU; None takes one where the
        cluster has GPUs, which this machine need not have.
    stack
        Trials that a worker trains at once, at most.
    make_job
        What trials do.
    on_progress
        Told about twice a second how far it is.

    Raises
    ------
    SearchError
        If Ray is not installed or does not answer.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: str | BaseStorage,
        *,
        workers: int,
        gpus: float | None = 0.0,
        stack: int = 1,
        make_job: MakeJob = search_job,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise SearchError(
                "the launcher ray needs Ray: pip install 's2e-optuna[ray]'."
            ) from error
        self._ray: Any = ray
        self._study = study
        self._storage = storage
        self._workers = workers
        self._gpus = gpus
        self._stack = stack
        self._make_job = make_job
        self._on_progress = on_progress
        self._counted = RunningTally()
        self._tasks: dict[Any, str] = {}

    def run(self, target: int) -> None:
        """Run until ``target`` trials are finished.

        Raises
        ------
        SearchError
            If workers keep dying, or an error of theirs would meet every other one, too.
        KeyboardInterrupt
            After Ctrl-C; running trials have been handed back.
        """
        started_ray = not self._ray.is_initialized()
        if started_ray:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._ray.init(
                    address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, logging_level=40
                )
        try:
            if self._gpus is None:
                self._gpus = min(1.0, self._ray.cluster_resources().get("GPU", 0.0))
            self._watch(target)
        finally:
            self._stop()
            if started_ray:
                self._ray.shutdown()

    def _start(self) -> None:
        owner = new_owner()
        # One CPU a task: how many threads it uses is what OMP_NUM_THREADS and Ray say.
        remote = self._ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=0)(_work)
        task = remote.remote(
            self._storage,
            self._study.study_name,
            self._stack,
            "cuda" if self._gpus else "cpu",
            self._make_job,
            owner,
        )
        self._tasks[task] = owner

    def _watch(self, target: int) -> None:
        began = time.monotonic()
        before = self._tally().finished
        deaths, finished_at_death = 0, -1
        for _ in range(self._workers):
            self._start()
        while self._tasks:
            ready, _ = self._ray.wait(list(self._tasks), timeout=TICK)
            for task in ready:
                owner = self._tasks.pop(task)
                error = self._error_of(task)
                if error is None:
                    continue
                release_owned(self._study, owner, f"its worker ended with: {error}")
                finished = self._tally().finished
                if finished >= target:
                    continue
                deaths = deaths + 1 if finished == finished_at_death else 1
                finished_at_death = finished
                if deaths >= MAX_DEATHS:
                    raise SearchError(f"workers die again and again: {error}")
                _logger.warning("A worker ended with: %s; it is replaced.", error)
                self._start()
            seen = self._tally()
            elapsed = time.monotonic() - began
            new = seen.finished - before
            left = max(0, target - seen.finished)
            self._on_progress(
                Progress(
                    phase="search",
                    counts=seen.counts,
                    finished=seen.finished,
                    target=target,
                    best_value=seen.best_value,
                    elapsed=elapsed,
                    seconds_left=elapsed / new * left if new else None,
                    message=f"{len(self._tasks)} workers on Ray",
                )
            )

    def _error_of(self, task: Any) -> str | None:
        try:
            self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            if fatal := fatal_reason(error.cause):
                raise SearchError(fatal) from error
            return f"{type(error.cause).__name__}: {error.cause}"
        except self._ray.exceptions.RayError as error:  # killed, or its node is gone
            return type(error).__name__
        return None

    def _stop(self) -> None:
        """End all tasks, those that still train by asking them to hand back their trials."""
        for task in self._tasks:
            self._ray.cancel(task)
        if self._tasks:
            self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=STOP_PATIENCE)
        for task, owner in self._tasks.items():
            self._ray.cancel(task, force=True)
            release_owned(self._study, owner, "its worker was stopped", retry=False)
        self._tasks = {}

    def _tally(self) -> Any:
        return self._counted.update(self._study.get_trials(deepcopy=False))


def _work(
    storage: str | BaseStorage,
    study_name: str,
    stack: int,
    device: str,
    make_job: MakeJob,
    owner: str,
) -> int:
    """Be a worker: what each task runs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return run_worker(
        storage, study_name, stack=stack, device=device, make_job=make_job, owner=owner
    )
