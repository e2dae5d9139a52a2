import io
import json
import threading
from datetime import timedelta
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna_dashboard import wsgi

from s2e_optuna.web import remembered as module
from s2e_optuna.web.remembered import Remembered


class Counting:
    """The dashboard, and what it was asked."""

    def __init__(self, study: optuna.Study) -> None:
        self._app = wsgi(study._storage)
        self.asked: list[str] = []

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        self.asked.append(f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}")
        return self._app(environ, start)


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    """Three finished trials and a running one; every answer is out of date at once."""
    monkeypatch.setattr(module, "SHARE_OF_TIME", float("inf"))
    monkeypatch.setattr("optuna_dashboard._storage.timedelta", lambda seconds: timedelta(-1))
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    study.ask()
    return study


def ask(app: Any, query: str = "after=0", path: str = "/api/studies/0", **more: Any) -> Any:
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": query, **more}
    setup_testing_defaults(environ)
    said: list[str] = []
    body = b"".join(app(environ, lambda status, headers, *_: said.append(status)))
    return said[0], json.loads(body) if body else None


@pytest.mark.parametrize("after", [0, 2, 3, 4, 9])
def test_the_answer_is_the_dashboards(study: optuna.Study, after: int) -> None:
    app, plain = Remembered(Counting(study)), wsgi(study._storage)
    for _ in range(2):  # from the dashboard, then from memory
        assert ask(app, f"after={after}") == ask(plain, f"after={after}")


def test_only_what_has_not_finished_is_asked_for_again(study: optuna.Study) -> None:
    dashboard = Counting(study)
    app = Remembered(dashboard)
    ask(app)
    study.tell(3, 0.5)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    _, answer = ask(app)
    assert [trial["state"] for trial in answer["trials"]] == 5 * ["Complete"]
    assert dashboard.asked == ["/api/studies/0?after=0", "/api/studies/0?after=3"]


def test_an_answer_that_took_long_is_given_again(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARE_OF_TIME", 1e-6)
    dashboard = Counting(study)
    app = Remembered(dashboard)
    together = [threading.Thread(target=ask, args=(app,)) for _ in range(3)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert len(dashboard.asked) == 1


def test_a_change_through_the_dashboard_is_seen(study: optuna.Study) -> None:
    app = Remembered(Counting(study))
    ask(app)
    note = json.dumps({"body": "the best", "version": 1}).encode()
    status, _ = ask(
        app,
        path="/api/studies/0/1/note",
        REQUEST_METHOD="PUT",
        CONTENT_TYPE="application/json",
        CONTENT_LENGTH=str(len(note)),
        **{"wsgi.input": io.BytesIO(note)},
    )
    assert status.startswith("204")
    assert ask(app)[1]["trials"][1]["note"]["body"] == "the best"


def test_a_study_that_there_is_not(study: optuna.Study) -> None:
    status, answer = ask(Remembered(Counting(study)), path="/api/studies/77")
    assert status.startswith("404") and "77" in answer["reason"]


def test_everything_else_is_passed_on(study: optuna.Study) -> None:
    app, plain = Remembered(Counting(study)), wsgi(study._storage)
    for path, query in [("/api/studies", ""), ("/api/studies/0", "after=-1"), ("/api/meta", "")]:
        assert ask(app, query, path) == ask(plain, query, path)


def test_the_newest_large_study_is_prepared(study: optuna.Study) -> None:
    dashboard = Counting(study)
    Remembered(dashboard).prepare(0)
    assert dashboard.asked == ["/api/studies/0?after=0", "/api/studies/0/param_importances?"]
