"""How many processors there are to work with, and how many to use."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import threadpoolctl
from threadpoolctl import ThreadpoolController


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    # Looking for them takes milliseconds. SciPy has one of its own, which is loaded when a module
    # of it is imported that needs it: so they are looked for anew when there are more modules.
    return ThreadpoolController()


def _let_any_thread_set_limits() -> None:
    """Take the limits from the thread that has set some before.

    threadpoolctl (from 3.8 on) leaves them to that thread, as long as it lives, and silently does
    nothing for others, so that threads do not set them against each other. Here the process has
    one limit, under a lock, which any thread may take back.
    """
    owner = getattr(threadpoolctl, "OpenBLASController", None)
    if (release := getattr(owner, "clear_controlling_thread", None)) is not None:
        release(force=True)


class _OneThread:
    """The process's limit: the first who needs it sets it, the last one takes it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = self._modules = 0
        self._limiters: list[Any] = []

    def __enter__(self) -> None:
        with self._lock:
            # SciPy may have been imported since, also by who is inside.
            modules = len(sys.modules)
            if self._inside == 0 or modules != self._modules:
                _let_any_thread_set_limits()
                self._limiters.append(_libraries(modules).limit(limits=1, user_api="blas"))
                self._modules = modules
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            while self._inside == 0 and self._limiters:
                _let_any_thread_set_limits()
                self._limiters.pop().restore_original_limits()


_ONE_THREAD = _OneThread()


def one_thread() -> AbstractContextManager[None]:
    """Keep NumPy's and SciPy's linear algebra on one thread, for any number of callers at a time.

    Sums are then taken in the same order everywhere. With small matrices several threads would
    only wait for each other, too: by spinning, which takes the cores from whatever runs beside
    them.
    """
    return _ONE_THREAD
