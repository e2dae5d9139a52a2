"""Workers as tasks on a Ray cluster: Ray does the placing, the storage does the agreeing."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.storages import BaseStorage

from s2e_optuna.search.budget import Budget
from s2e_optuna.search.progress import Progress, WorkerProgress
from s2e_optuna.search.watch import End, Place, Pool, SearchError
from s2e_optuna.search.worker import MakeJob, fatal_reason, new_owner, run_worker, search_job
from s2e_optuna.storages.retry import PATIENCE

STOP_PATIENCE = 20.0
"""Seconds that tasks have to hand their trials back before they are killed."""


def import_ray() -> Any:
    """Import Ray.

    Raises
    ------
    SearchError
        If it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise SearchError("the launcher ray needs Ray: pip install 's2e-optuna[ray]'.") from error


@contextmanager
def connected(ray: Any) -> Iterator[None]:
    """Be connected to the cluster; one that is not there yet is this machine."""
    started_ray = not ray.is_initialized()
    if started_ray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, logging_level=40)
    try:
        yield
    finally:
        if started_ray:
            ray.shutdown()


def gpus_of(ray: Any, asked: float | None) -> float:
    """Return the GPUs of a task: one where the cluster has some, if nobody says."""
    return min(1.0, ray.cluster_resources().get("GPU", 0.0)) if asked is None else asked


class RayPool(Pool):
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
    budget
        What the search may cost; None for what its trials do.

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
        budget: Budget | None = None,
    ) -> None:
        ray = import_ray()
        super().__init__(
            study,
            storage,
            devices=[""] * workers,  # known once the cluster is
            stack=stack,
            make_job=make_job,
            on_progress=on_progress,
            budget=budget,
        )
        self._ray: Any = ray
        self._gpus = gpus

    def run(self, target: int) -> None:
        """See `Pool`."""
        with connected(self._ray):
            self._gpus = gpus_of(self._ray, self._gpus)
            super().run(target)

    def _start(self, place: Place) -> None:
        place.owner = new_owner()
        # One CPU a task: how many threads it uses is what OMP_NUM_THREADS and Ray say.
        remote = self._ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=0)(_work)
        place.worker = remote.remote(
            self._storage,
            self._study.study_name,
            self._stack,
            "cuda" if self._gpus else "cpu",
            self._make_job,
            place.owner,
        )

    def _ends(self, timeout: float) -> list[tuple[Place, End]]:
        places = {place.worker: place for place in self._busy}
        ready, _ = self._ray.wait(list(places), timeout=timeout)
        return [(places[task], self._end_of(task)) for task in ready]

    def _end_of(self, task: Any) -> End:
        try:
            self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            how = f"ended with: {type(error.cause).__name__}: {error.cause}"
            return End(how, fatal=fatal_reason(error.cause) or "")
        except self._ray.exceptions.RayError as error:  # killed, or its node is gone
            return End(f"ended with: {type(error).__name__}")
        return End()

    def _end(self, places: Sequence[Place]) -> None:
        tasks = [place.worker for place in places]
        for task in tasks:
            self._ray.cancel(task)
        self._ray.wait(tasks, num_returns=len(tasks), timeout=STOP_PATIENCE)
        for task in tasks:
            self._ray.cancel(task, force=True)

    def _shown(self) -> tuple[tuple[WorkerProgress, ...], str]:
        return (), f"{len(self._busy)} workers on Ray"


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
        storage,
        study_name,
        stack=stack,
        device=device,
        make_job=make_job,
        owner=owner,
        patience=PATIENCE,  # the search has reached it
    )
