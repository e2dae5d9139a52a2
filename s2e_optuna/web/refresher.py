"""Keeps the note and the pictures of studies up to date, from threads.

One process refreshes them, and rarely. Trouble with them is logged and costs nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from s2e_optuna.reporting.view import StudyView
from s2e_optuna.web.dashboard import publish, publish_all

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

INTERVAL = 20.0
"""Seconds between two refreshes, at least."""

SHARE_OF_TIME = 0.05
"""Refreshes take no more than about this share of the time."""

_logger = logging.getLogger(__name__)


def publish_in_background(storage: BaseStorage) -> None:
    """Do what `publish_all` does in a thread; trouble with it is logged."""

    def run() -> None:
        try:
            publish_all(storage)
        except Exception as error:  # the dashboard is useful without them
            _warn(error)

    threading.Thread(target=run, name="s2e-publish", daemon=True).start()


class Refresher:
    """Refreshes a study's note and pictures now and then, from a thread; a context manager.

    It opens nothing before it is told of a finished trial: a search that refuses its input leaves
    no trace. Trouble with pictures is logged and costs the search nothing.

    Parameters
    ----------
    open_view
        Reads the study; called in the thread.
    on_view
        Told what was read, in the same thread.
    interval
        Seconds between two refreshes, at least.
    """

    def __init__(
        self,
        open_view: Callable[[], StudyView],
        *,
        on_view: Callable[[StudyView], None] = lambda view: None,
        interval: float = INTERVAL,
    ) -> None:
        self._open_view = open_view
        self._on_view = on_view
        self._interval = interval
        self._stop = threading.Event()
        self._finished = 0  # told
        self._seen = -1  # told before it was read last
        self._shown = -1  # told before it was published last
        self._view: StudyView | None = None
        self._refreshing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="s2e-dashboard", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        # What an interrupted search has found can be seen, too.
        if self._shown < self._finished and (error is None or self._finished):
            self.refresh()

    @property
    def view(self) -> StudyView | None:
        """The study, if it was read after the last trial that finished."""
        return self._view if self._seen == self._finished else None

    def notice(self, finished: int) -> None:
        """Take note of the number of finished trials."""
        self._finished = finished

    def _run(self) -> None:
        pause, publish_from = self._interval, 0.0
        while not self._stop.wait(pause):
            if not self._finished or self._finished <= self._seen:
                continue
            started = time.monotonic()
            self.refresh(publishing=started >= publish_from)
            took = time.monotonic() - started
            # Reading is cheap, writing is not: the display may be newer than the dashboard.
            if started >= publish_from:
                publish_from = started + took / SHARE_OF_TIME
            else:
                pause = max(self._interval, took / SHARE_OF_TIME)

    def refresh(self, *, publishing: bool = True) -> None:
        """Read the study and, if trials have finished since the last time, publish it."""
        try:
            with self._refreshing:
                told = self._finished
                self._view = self._open_view()
                self._seen = told
                self._on_view(self._view)
                if publishing and told > self._shown:
                    publish(self._view)
                    self._shown = told
        except Exception as error:  # pictures are not worth a search
            _warn(error)


def _warn(error: Exception) -> None:
    _logger.warning("The dashboard's pictures could not be refreshed: %s", error)
    _logger.debug("The traceback:", exc_info=True)
