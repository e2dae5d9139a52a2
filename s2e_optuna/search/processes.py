"""How processes of a search are made. Imports nothing that takes long."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

PRELOADED = "s2e_optuna.search.preloaded"


def process_context() -> BaseContext:
    """How processes are started: never by forking this one, which may use CUDA and threads.

    On Linux a helper process imports torch once and is forked for every worker: the second
    worker, and one that replaces a dead one, starts in a tenth of a second instead of three.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    return context


def start_early() -> None:
    """Let the helper process import what it needs while this one does other things."""
    if sys.platform == "linux":
        process_context()
        with ignoring(signal.SIGINT), patient_threads():
            forkserver.ensure_running()


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
