"""The dashboard's largest answer, all trials of a study, put together from what is known.

For every page optuna-dashboard writes all trials of the study as JSON anew: half a megabyte for a
hundred of them, 54 for ten thousand, which takes seconds, and its pages ask twice at once. But a
finished trial does not change any more. So its text is remembered here, and the dashboard is asked
only for the trials after those (its own parameter ``after``).
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from wsgiref.util import setup_testing_defaults

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SHARE_OF_TIME = 0.1
"""An answer is given again until making it has taken at most this share of the time."""

OLDEST = 300.0
"""Seconds after which finished trials are read again: other programs may write notes on them."""

_TRIALS = re.compile(r"/api/studies/(\d+)/?$")
_FINISHED = {"Complete", "Pruned", "Fail"}


@dataclass(frozen=True)
class _Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class _Study:
    lock: threading.Lock = field(default_factory=threading.Lock)
    texts: list[str] = field(default_factory=list)  # JSON of each trial, by number
    settled: int = 0  # so many of them, from the first on, have finished
    rest: dict[str, Any] = field(default_factory=dict)  # the answer without its trials
    since: float = -OLDEST  # when the first of the texts was made
    until: float = 0.0  # when the answer has to be made anew


class Remembered:
    """A WSGI application in front of optuna-dashboard's.

    Requests other than for a study's trials are passed on. One that may change something, such as
    a note or an artifact, makes it forget what it knows.

    Parameters
    ----------
    app
        The dashboard.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._studies: dict[str, _Study] = {}

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            try:
                return self._app(environ, start)
            finally:
                self._studies = {}
        match = _TRIALS.match(environ["PATH_INFO"])
        after = parse_qs(environ.get("QUERY_STRING", "")).get("after", ["0"])[0]
        if match is None or environ["REQUEST_METHOD"] == "HEAD" or not after.isdecimal():
            return self._app(environ, start)
        answer = self._trials(match[1], int(after), environ)
        start(answer.status, answer.headers)
        return [answer.body]

    def prepare(self, study_id: int) -> None:
        """Make what the page of a study is going to ask for."""
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        path = f"/api/studies/{study_id}"
        self._trials(str(study_id), 0, {**environ, "PATH_INFO": path})
        self._ask({**environ, "PATH_INFO": f"{path}/param_importances"})

    def _trials(self, study_id: str, after: int, environ: WSGIEnvironment) -> _Answer:
        study = self._studies.setdefault(study_id, _Study())
        with study.lock:  # who asks while an answer is made is given the same one
            if time.monotonic() >= study.until:
                refusal = self._refresh(study, environ)
                if refusal is not None:
                    return refusal
            trials = ", ".join(study.texts[after:])
            body = f'{{"trials": [{trials}], {json.dumps(study.rest)[1:]}'.encode()
        length = ("Content-Length", str(len(body)))
        return _Answer("200 OK", [("Content-Type", "application/json"), length], body)

    def _refresh(self, study: _Study, environ: WSGIEnvironment) -> _Answer | None:
        """Ask for what is new; return what the dashboard says where it has no such study."""
        started = time.monotonic()
        if started >= study.since + OLDEST:
            study.since, study.texts, study.settled = started, [], 0
        answer = self._ask({**environ, "QUERY_STRING": f"after={study.settled}"})
        if not answer.status.startswith("200"):
            study.since = -OLDEST
            return answer
        study.rest = json.loads(answer.body)
        trials = study.rest.pop("trials")
        study.texts[study.settled :] = [json.dumps(trial) for trial in trials]
        for trial in trials:
            if trial["state"] not in _FINISHED:
                break
            study.settled += 1
        now = time.monotonic()
        study.until = now + (now - started) / SHARE_OF_TIME
        return None

    def _ask(self, environ: dict[str, Any]) -> _Answer:
        said: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
            said.append((status, headers))
            return io.BytesIO().write

        body = b"".join(self._app(environ, start))
        return _Answer(*said[-1], body)
