"""Final trainings in several processes of this machine.

Small networks use two cores badly: a step is many short operations, and between them all threads
but one wait. Two processes with a thread each are almost twice as fast as one with two.

Every process is given the data once and a job at a time. It is told nothing else, so it ends when
the pipe to its parent does, whatever the parent died of. What it returns comes as bytes through
the pipe: torch would hand tensors over in shared memory, of which containers have little.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from s2e_optuna.cores import available_cores
from s2e_optuna.data import NoisyData
from s2e_optuna.search.pool import end_of
from s2e_optuna.search.processes import ignoring, start_process
from s2e_optuna.search.watch import SearchError
from s2e_optuna.training.jobs import Job, Runner, in_turn

TRIES = 2
"""How often a job is given out, if the processes that do it are killed."""

_GRACE = 5.0  # seconds that a process has to end before it is killed

_logger = logging.getLogger(__name__)

Tell = Callable[[int, int, bool], None]


@contextlib.contextmanager
def final_trainings(workers: int, device: str) -> Iterator[Runner]:
    """Return what runs jobs: so many processes where they train on the CPU, else this one.

    Parameters
    ----------
    workers
        Processes, at most.
    device
        Where they train. On a GPU one process after the other would only wait for it.
    """
    if workers < 2 or device != "cpu":
        yield in_turn
        return
    processes = Processes(workers)
    try:
        yield processes
    finally:
        processes.close()


@dataclass(eq=False)
class _Place:
    """One process, and what it does."""

    process: BaseProcess
    pipe: Connection
    data: str = ""
    """Identity of the data that it holds."""
    job: int | None = None


@dataclass(eq=False)
class Processes:
    """A `Runner` with several processes, which wait for further jobs until `close`."""

    processes: int
    _places: list[_Place] = field(default_factory=list)

    def __call__(self, jobs: Sequence[Job], data: NoisyData, tell: Tell) -> list[Any]:
        """See `Runner`.

        Raises
        ------
        SearchError
            If processes keep being killed.
        """
        packed: bytes | None = None
        open_jobs, tries = list(range(len(jobs)))[::-1], [0] * len(jobs)
        results: dict[int, Any] = {}
        while len(results) < len(jobs):
            while open_jobs and (place := self._free()) is not None:
                place.job = open_jobs.pop()
                tries[place.job] += 1
                try:
                    if place.data != data.identity:
                        packed = packed or _packed(data)
                        place.pipe.send_bytes(packed)
                        place.data = data.identity
                    place.pipe.send_bytes(_packed(jobs[place.job]))
                except OSError:
                    self._lost(place, tries, open_jobs)
            busy = [place for place in self._places if place.job is not None]
            for pipe in wait([place.pipe for place in busy]):
                (place,) = (place for place in busy if place.pipe is pipe)
                assert place.job is not None
                try:
                    kind, *said = pickle.loads(place.pipe.recv_bytes())
                except (EOFError, OSError):
                    self._lost(place, tries, open_jobs)
                    continue
                if kind == "told":
                    tell(place.job, *said)
                elif kind == "logged":
                    name, level, text = said
                    logging.getLogger(name).log(level, "%s", text)
                elif kind == "failed":
                    raise said[0]
                else:
                    results[place.job] = said[0]
                    place.job = None
        return [results[place] for place in range(len(jobs))]

    def _free(self) -> _Place | None:
        for place in self._places:
            if place.job is None:
                return place
        if len(self._places) == self.processes:
            return None
        threads = max(1, available_cores() // self.processes)
        self._places.append(_Place(*start_process(_work, threads, name="s2e-final")))
        return self._places[-1]

    def _lost(self, place: _Place, tries: Sequence[int], open_jobs: list[int]) -> None:
        """Give the job of a process that is gone to another one."""
        assert place.job is not None
        self._places.remove(place)
        place.pipe.close()
        place.process.join(_GRACE)
        how = end_of(place.process.exitcode).how or "has ended"
        if tries[place.job] >= TRIES:
            raise SearchError(
                f"a process of the final trainings {how}, again. The trials are stored: run the "
                "same command again, with fewer `workers` if memory was short."
            )
        _logger.warning("A process of the final trainings %s; its training starts over.", how)
        open_jobs.append(place.job)

    def close(self) -> None:
        """End the processes, also in the middle of a job."""
        with ignoring(signal.SIGINT, signal.SIGTERM):
            for place in self._places:
                place.process.terminate()
            for place in self._places:
                place.process.join(_GRACE)
                if place.process.is_alive():  # it may have been suspended
                    place.process.kill()
                    place.process.join()
                place.pipe.close()
        self._places.clear()


def _packed(value: Any) -> bytes:
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


class _Logged(logging.Handler):
    """Lets the parent log what is logged here."""

    def __init__(self, say: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line of the log."""
        self._say("logged", record.name, record.levelno, record.getMessage())


def _work(threads: int, pipe: Connection) -> None:
    """Do jobs until nobody has any more: what runs in a process."""
    import torch

    torch.set_num_threads(threads)

    def say(*words: Any) -> None:
        pipe.send_bytes(_packed(words))

    logger = logging.getLogger("s2e_optuna")
    logger.addHandler(_Logged(say))
    logger.propagate = False
    data: NoisyData | None = None
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # no parent
        while True:
            given = pickle.loads(pipe.recv_bytes())
            if isinstance(given, NoisyData):
                data = given
                continue
            assert data is not None
            try:
                result = given(data, lambda epoch, preparing: say("told", epoch, preparing))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                say("failed", _sendable(error))
            else:
                say("done", result)


def _sendable(error: Exception) -> Exception:
    """Return the error, or another one with its words if it cannot be pickled."""
    try:
        pickle.loads(_packed(error))
    except Exception:  # whatever its class raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
