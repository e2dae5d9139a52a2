"""A worker: what ``s2e worker`` runs, and each local process of ``s2e search``."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from threadpoolctl import threadpool_limits

from s2e_optuna.search.loop import (
    Evaluator,
    RepeatedError,
    StopSwitch,
    StopWork,
    names_owners,
    work,
)
from s2e_optuna.search.progress import WorkerStatus
from s2e_optuna.storages.failures import (
    StorageError,
    explain,
    failing_in_a_sentence,
    mask_password,
)
from s2e_optuna.storages.open import HEARTBEAT, MisfitWarning, UnreachableError, open_storage
from s2e_optuna.storages.retry import PATIENCE

if TYPE_CHECKING:
    from s2e_optuna.data.shared import SharedData


@dataclass(frozen=True)
class Job:
    """What the trials of a study do.

    Attributes
    ----------
    evaluate
        Trains a stack of trials.
    sampler
        Suggests their parameters.
    epochs
        Epochs of a trial.
    """

    evaluate: Evaluator
    sampler: BaseSampler
    epochs: int


MakeJob = Callable[[optuna.Study, str, int], Job]
"""``(study, device, worker number) -> Job``; must be importable by name for other processes."""


def search_job(
    study: optuna.Study,
    device: str,
    number: int,
    *,
    artifacts: Path | None = None,
    shared: SharedData | None = None,
) -> Job:
    """Make the job that a study's stored configuration describes.

    Parameters
    ----------
    study
        A study that a search has made.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    number
        A number that no other worker has.
    artifacts
        Folder for pictures where it is another one than the search's.
    shared
        The data, where a process of this machine has loaded them.
    """
    from s2e_optuna.search.samplers import make_sampler
    from s2e_optuna.search.stored import objective_of, read_stored

    stored = read_stored(study)
    objective = objective_of(stored, device, artifacts)
    if shared is not None and (data := shared.load()) is not None:
        objective.use(data)
    assert objective.data is not None  # loaded now, so that what is wrong shows before a trial
    return Job(objective.evaluate, make_sampler(stored, number), stored["epochs"])


def new_owner() -> str:
    """Name this worker: ``host:pid:token``, never the same twice."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def open_study(
    storage: str | BaseStorage,
    study_name: str,
    sampler: BaseSampler | None = None,
    heartbeat: int = HEARTBEAT,
    patience: float = 0.0,
) -> optuna.Study:
    """Open a study for a worker.

    Parameters
    ----------
    storage, heartbeat, patience
        See `open_storage`.
    study_name
        A study that is there.
    sampler
        Suggests parameters.

    Raises
    ------
    StorageError
        If the storage cannot be opened or holds no such study.
    """
    opened = open_storage(storage, heartbeat=heartbeat, patience=patience)
    try:
        # Early errors say little about a schedule, so nothing is pruned.
        return optuna.load_study(
            study_name=study_name, storage=opened, sampler=sampler, pruner=NopPruner()
        )
    except KeyError as error:
        known = sorted(summary.study_name for summary in opened.get_all_studies())
        place = mask_password(storage) if isinstance(storage, str) else "the storage"
        raise StorageError(
            f"there is no study {study_name!r} in {place}; it holds "
            f"{', '.join(known[:10]) if known else 'none'}."
        ) from error


def run_worker(
    storage: str | BaseStorage,
    study_name: str,
    *,
    stack: int = 1,
    device: str = "auto",
    threads: int | None = None,
    max_trials: int | None = None,
    notify: Callable[[WorkerStatus], None] = lambda status: None,
    make_job: MakeJob = search_job,
    owner: str | None = None,
    number: int | None = None,
    heartbeat: int = HEARTBEAT,
    patience: float = 0.0,
) -> int:
    """Work for a study until it has as many trials as its budget says.

    Any number of workers may do so, on any machine that reaches the storage and, unless the data
    set has a name, the data under the same path. SIGTERM and Ctrl-C hand running trials back.

    Parameters
    ----------
    storage
        URL for `open_storage`, or a storage.
    study_name
        A study that a search has made.
    stack
        Trials to train at once, at most.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    threads
        CPU threads of torch; by default torch's own choice.
    max_trials
        Stop after that many trials of this worker.
    notify
        Told what the worker does.
    make_job
        What trials do; by default what the search has stored.
    owner
        Name of this worker, by default a new one.
    number
        A number that no other worker has; by default a random one.
    heartbeat
        Seconds between signs of life; a worker that misses six is taken for dead.
    patience
        Seconds for which a storage that cannot be reached at the start is tried again.

    Returns
    -------
    int
        Trials that this worker has completed.

    Raises
    ------
    StorageError, ConfigError, s2e_optuna.training.DataError
        What is wrong with storage, study or data, before the first trial.
    RepeatedError
        If the same error happened three times in a row.
    StorageFailedError
        If the storage failed in the middle of the work, for longer than it was tried again.
    KeyboardInterrupt
        If it was asked to stop; running trials have been handed back as failed.
    """
    switch = StopSwitch()
    with _signals(switch), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        notify(WorkerStatus("starting"))
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        try:
            study = open_study(storage, study_name, heartbeat=heartbeat, patience=patience)
            job = make_job(study, device, secrets.randbits(31) if number is None else number)
            study.sampler = job.sampler
            if names_owners(study._storage):
                study._storage.owner = owner or new_owner()
            # The sampler's matrices are small: more threads of NumPy's and SciPy's only spin,
            # and take the cores from the training beside them. (torch has threads of its own.)
            with threadpool_limits(1, user_api="blas"), failing_in_a_sentence():
                done = work(
                    study,
                    job.evaluate,
                    stack=stack,
                    epochs=job.epochs,
                    max_trials=max_trials,
                    notify=notify,
                    switch=switch,
                )
        except StopWork as stop:
            notify(WorkerStatus("stopped"))
            raise KeyboardInterrupt from stop
    notify(WorkerStatus("done"))
    return done


@contextlib.contextmanager
def _signals(switch: StopSwitch) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop the worker in order, where this thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[int, Any] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        # A local worker ignores Ctrl-C: the search that started it passes it on as SIGTERM.
        if signal.getsignal(number) is not signal.SIG_IGN:
            previous[number] = signal.signal(number, switch.throw)
    try:
        yield
    finally:
        for restored, handler in previous.items():
            signal.signal(restored, handler)


def fatal_reason(error: BaseException) -> str | None:
    """Say, without passwords, what would meet every worker; None for one worker's own errors.

    Wrong input is wrong for all of them, and an error three times in a row is the study's. A
    server that does not answer may answer the next one.
    """
    if isinstance(error, RepeatedError | ValueError) and not isinstance(error, UnreachableError):
        return mask_password(str(error)) or type(error).__name__
    return None


# -------------------------------------------------------------------- local processes


@dataclass(frozen=True)
class LocalWorker:
    """How a local worker process is started; must be picklable.

    Attributes
    ----------
    storage, study_name, stack, device, threads, make_job, owner, number, heartbeat
        See `run_worker`.
    """

    storage: str | BaseStorage
    study_name: str
    stack: int
    device: str
    threads: int
    make_job: MakeJob
    owner: str
    number: int
    heartbeat: int = HEARTBEAT


DONE, CRASHED, FATAL, STOPPED = 0, 1, 3, 130
"""Exit codes of a local worker: what its pool should do is in `pool`."""


@dataclass(frozen=True)
class LogLine:
    """What a local worker logs: the parent logs it in its place."""

    logger: str
    level: int
    text: str


class _Channel(logging.Handler):
    """The pipe to the parent: for what the worker does, and for what it logs."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(logging.WARNING)
        self._connection = connection
        self._sending = threading.Lock()  # heartbeats log from their own thread

    def notify(self, status: WorkerStatus) -> None:
        """Send a status; stop the worker if nobody listens any more."""
        try:
            self._send(status)
        except OSError as error:  # the parent is gone: nobody would restart or stop this worker
            raise StopWork from error

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line of the log."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text} ({explain(record.exc_info[1])})"
        with contextlib.suppress(OSError):
            self._send(LogLine(record.name, record.levelno, mask_password(text)))

    def _send(self, message: WorkerStatus | LogLine) -> None:
        with self._sending:
            self._connection.send(message)


def run_local(worker: LocalWorker, connection: Connection) -> None:
    """Run in a new process; talk to the parent through a pipe."""
    channel = _Channel(connection)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the parent shows progress
    warnings.simplefilter("ignore", MisfitWarning)  # the parent has it, too
    logger = logging.getLogger("s2e_optuna")
    logger.addHandler(channel)
    logger.propagate = False
    try:
        run_worker(
            worker.storage,
            worker.study_name,
            stack=worker.stack,
            device=worker.device,
            threads=worker.threads,
            notify=channel.notify,
            make_job=worker.make_job,
            owner=worker.owner,
            number=worker.number,
            heartbeat=worker.heartbeat,
            patience=PATIENCE,  # the search has reached it
        )
        code = DONE
    except (KeyboardInterrupt, StopWork):
        code = STOPPED
    except Exception as error:
        fatal = fatal_reason(error)
        with contextlib.suppress(StopWork):
            channel.notify(WorkerStatus("failed", message=fatal or explain(error)))
        code = FATAL if fatal else CRASHED
    connection.close()
    raise SystemExit(code)
