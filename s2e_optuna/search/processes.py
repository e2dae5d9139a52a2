"""How processes of a search are made. Imports nothing that takes long.

Most of a process's start is to import torch and what else takes long, more than two seconds. The
command line does so once: as its first step it imports all of it, forks as many processes as it
may need, and goes on (`processes_early`). They wait until `start_process` gives them work. By
then the command may hold threads and use CUDA, which no process survives that is forked from it.

So whatever else starts a process, a program of a user's or a command that replaces a worker that
died, has another way: on Linux a helper that imports the same and is forked for every process
(Python's ``forkserver``), elsewhere a fresh interpreter for each.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from s2e_optuna.cores import available_cores

PRELOADED = "s2e_optuna.search.preloaded"

_waiting: list[tuple[BaseProcess, Connection]] = []
"""Processes without work. Like those of `multiprocessing` they belong to the whole program."""


def process_context() -> BaseContext:
    """How processes are started that were not made early; never by forking this one."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    return context


def final_processes(workers: int) -> int:
    """Say how many processes do the final trainings of a search with so many workers.

    They are on this machine, also where workers are elsewhere; with one the command trains itself.
    """
    return min(workers, available_cores())


@contextlib.contextmanager
def processes_early(count: int) -> Iterator[None]:
    """Fork processes for `start_process`; those that have no work in the end are ended.

    Parameters
    ----------
    count
        How many. None are made where this process may hold threads already, or has no ``fork``.
    """
    if sys.platform == "linux" and "torch" not in sys.modules and threading.active_count() == 1:
        with patient_threads():
            importlib.import_module(PRELOADED)
        context = multiprocessing.get_context("fork")
        with ignoring(signal.SIGINT), contextlib.suppress(OSError):  # no more: made when needed
            for _ in range(count):
                ours, theirs = context.Pipe()
                held = [ours, *(pipe for _, pipe in _waiting)]
                process = context.Process(target=_wait_for_work, args=(theirs, held), daemon=False)
                process.start()
                theirs.close()  # so that reading ends when the process does
                _waiting.append((process, ours))
    try:
        yield
    finally:
        while _waiting:
            needless, pipe = _waiting.pop()
            needless.kill()  # it has nothing to put in order
            needless.join()
            pipe.close()


def _wait_for_work(pipe: Connection, held: Sequence[Connection]) -> None:
    """Do what the pipe says, once; nothing where its other end is closed, however that came."""
    for inherited in held:
        inherited.close()  # else it would stay open here
    try:
        name, target, args = pipe.recv()
    except (EOFError, ConnectionResetError):
        return
    multiprocessing.current_process().name = name
    target(*args, pipe)


def start_process(
    target: Callable[..., None], *args: Any, name: str
) -> tuple[BaseProcess, Connection]:
    """Start a process that talks to this one and does not see Ctrl-C.

    Parameters
    ----------
    target
        What it does; must be importable by name.
    *args
        What it is given; must be picklable. Its end of the pipe comes last.
    name
        What it is called.

    Returns
    -------
    process, pipe
        The process, and this one's end of the pipe.
    """
    while _waiting:
        process, ours = _waiting.pop(0)
        try:
            ours.send((name, target, args))
        except OSError:  # it has been killed
            ours.close()
            process.join()
            continue
        process.name = name
        return process, ours
    context = process_context()
    ours, theirs = context.Pipe()
    # No daemon: those may start no processes, and a trial may want to (as a DataLoader does).
    process = context.Process(  # type: ignore[attr-defined]
        target=target, args=(*args, theirs), name=name, daemon=False
    )
    with ignoring(signal.SIGINT), patient_threads():
        process.start()
    theirs.close()  # so that reading ends when the process does
    return process, ours


@contextlib.contextmanager
def ignoring(*numbers: signal.Signals) -> Iterator[None]:
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
def patient_threads() -> Iterator[None]:
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
