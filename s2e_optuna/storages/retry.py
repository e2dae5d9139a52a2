"""Calling again what a lost server, a busy file or another process has stopped."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 180.0
"""Seconds for which a lost server is tried again."""

BUSY_TIMEOUT = 60.0
"""Seconds that a SQLite statement waits for another process's transaction."""

_Result = TypeVar("_Result")


def retry(
    call: Callable[[], _Result],
    again: Callable[[Exception, float], bool],
    *,
    patience: float = PATIENCE,
    first: float = 0.2,
    longest: float = 5.0,
) -> _Result:
    """Call, and call again with back-off while ``again`` says so.

    Parameters
    ----------
    call
        What to do; it must stand being done twice.
    again
        Told an error and the seconds until the next call: whether there is to be one.
    patience
        Seconds after which an error is raised, whatever ``again`` would say.
    first, longest
        Seconds of the first pause and of the longest; each is twice the one before, and a fifth
        more or less, so that workers that were stopped together do not come back together.

    Returns
    -------
    object
        What ``call`` returns.

    Raises
    ------
    Exception
        What ``call`` has raised last.
    """
    deadline = time.monotonic() + patience
    pause = first
    while True:
        try:
            return call()
        except Exception as error:
            if time.monotonic() + pause > deadline or not again(error, pause):
                raise
        time.sleep(pause * random.uniform(0.8, 1.2))
        pause = min(2.0 * pause, longest)
