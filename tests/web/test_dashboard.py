import json
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from s2e_optuna import suggest_schedule
from s2e_optuna.reporting.view import StudyView, read_study
from s2e_optuna.web.dashboard import (
    publish,
    publish_all,
    study_note,
    study_plots,
)

NAMES = {"schedules", "distribution", "entropy", "best-so-far"}


@pytest.fixture
def view(make_study: Callable[..., optuna.Study]) -> StudyView:
    storage = optuna.storages.InMemoryStorage()
    make_study(storage, "tiny")
    return read_study(storage, "tiny")


def published(view: StudyView) -> dict[str, str]:
    storage = view.study._storage
    return get_plotly_graph_objects(storage.get_study_system_attrs(view.study._study_id))


def test_a_study_gets_its_pictures_and_a_note(view: StudyView) -> None:
    publish(view)
    plots = published(view)
    assert set(plots) == NAMES
    for text in plots.values():
        assert len(text) < 60_000  # every page of the study loads them
        figure = json.loads(text)
        assert figure["layout"]["title"]["text"] and figure["layout"]["xaxis"]["title"]["text"]
    assert "What this study is" in get_note(view.study)
    assert f"trial {view.recommended.number}" in get_note(view.study)  # type: ignore[union-attr]


def test_publishing_again_replaces_and_keeps_an_edited_note(view: StudyView) -> None:
    publish(view)
    save_note(view.study, "My own words.")
    publish(view)
    assert set(published(view)) == NAMES
    assert get_note(view.study) == "My own words."


def test_a_study_without_schedules_has_fewer_pictures() -> None:
    study = optuna.create_study(study_name="plain", sampler=optuna.samplers.RandomSampler(seed=0))
    assert study_plots(read_study(study._storage, "plain")) == {}
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    view = read_study(study._storage, "plain")
    assert set(study_plots(view)) == {"best-so-far"}
    assert "smaller is better" in study_note(view)


def test_only_studies_with_old_pictures_and_nobody_at_work_are_published(view: StudyView) -> None:
    study = view.study
    trial = study.ask()
    suggest_schedule(trial, 20)
    publish_all(study._storage)
    assert published(view) == {}  # its search refreshes it
    study.tell(trial, 1.0)
    publish_all(study._storage)
    first = published(view)
    assert set(first) == NAMES
    study._storage.set_study_system_attr(
        study._study_id, "dashboard:plot_data:schedules:0", "untouched"
    )
    publish_all(study._storage)
    assert published(view)["schedules"].startswith("untouched")


def test_many_generations_become_few_bands(view: StudyView) -> None:
    many = StudyView(
        view.study, view.trials, view.ranked, view.generations * 400, view.recommended
    )
    text = study_plots(many)["distribution"].to_json()
    assert len(json.loads(text)["layout"]["sliders"][0]["steps"]) == 12
    entropies = json.loads(study_plots(many)["entropy"].to_json())["data"][0]["y"]
    assert len(entropies) <= 400 and np.isfinite(entropies).all()
