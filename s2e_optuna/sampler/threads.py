"""The sampler's linear algebra runs on one thread."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    # Looking for them takes milliseconds, and those that NumPy and SciPy use are there by now.
    return ThreadpoolController()


class _OneThread:
    """The process's limit: the first who needs it sets it, the last one takes it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limiter = _libraries().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limiter.restore_original_limits()


_ONE_THREAD = _OneThread()


def one_thread() -> AbstractContextManager[None]:
    """Take sums in the same order everywhere, in any number of threads at a time.

    With matrices of the sampler's size several threads would only wait for each other, too.
    """
    return _ONE_THREAD
