"""The sampler's linear algebra runs on one thread."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    # Looking for them takes milliseconds, and those that NumPy and SciPy use are there by now.
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Take sums in the same order everywhere.

    With matrices of the sampler's size several threads would only wait for each other, too.
    """
    limit: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limit
