"""The sampler's linear algebra runs on one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    # Looking for them takes milliseconds, and those that NumPy and SciPy use are there by now.
    return ThreadpoolController()


class _Limit:
    """The process's limit: the first who needs it sets it, the last one takes it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limiter: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limiter = _libraries().limit(limits=1, user_api="blas")
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limiter.restore_original_limits()


_LIMIT = _Limit()


@contextmanager
def one_thread() -> Iterator[None]:
    """Take sums in the same order everywhere, in any number of threads at a time.

    With matrices of the sampler's size several threads would only wait for each other, too.
    """
    _LIMIT.enter()
    try:
        yield
    finally:
        _LIMIT.leave()
