import logging
from collections.abc import Callable

import optuna
import pytest

from s2e_optuna.reporting.view import StudyView, read_study
from s2e_optuna.web.dashboard import PUBLISHED_ATTR
from s2e_optuna.web.refresher import Refresher


@pytest.fixture
def view(make_study: Callable[..., optuna.Study]) -> StudyView:
    storage = optuna.storages.InMemoryStorage()
    make_study(storage, "tiny")
    return read_study(storage, "tiny")


def test_a_refresher_reads_nothing_before_a_trial_has_finished(view: StudyView) -> None:
    def fail() -> StudyView:
        raise AssertionError("the storage was opened")

    with pytest.raises(ZeroDivisionError), Refresher(fail, interval=0.01):
        raise ZeroDivisionError  # a search that refuses its input

    with Refresher(lambda: view, interval=60.0) as refresher:
        refresher.notice(15)
    attrs = view.study._storage.get_study_system_attrs(view.study._study_id)
    assert attrs[PUBLISHED_ATTR] == 15


def test_trouble_with_pictures_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> StudyView:
        raise OSError("disk full")

    with caplog.at_level(logging.WARNING, "s2e_optuna"), Refresher(fail) as refresher:
        refresher.notice(1)
    assert "could not be refreshed: disk full" in caplog.text


def test_what_was_read_after_the_last_trial_is_not_read_again(view: StudyView) -> None:
    reads: list[int] = []

    def read() -> StudyView:
        reads.append(len(reads))
        return view

    with Refresher(read, interval=60.0) as refresher:
        refresher.notice(14)
        refresher.refresh()
        assert refresher.view is view
        refresher.notice(15)
        assert refresher.view is None
        refresher.refresh()
    assert refresher.view is view and len(reads) == 2
