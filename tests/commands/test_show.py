import io
import json
import math
import re
from pathlib import Path

import numpy as np
import optuna
import pytest
from PIL import Image
from rich.console import Console

from s2e_optuna import suggest_schedule
from s2e_optuna.commands.show import (
    print_studies,
    print_study,
    progress_figure,
    save_study_pictures,
    study_dict,
)
from s2e_optuna.errors import InputError
from s2e_optuna.reporting import best_so_far_plot
from s2e_optuna.reporting.view import StudyView, ended_values, generation_rows, read_study
from s2e_optuna.search.loop import Failure, tell
from s2e_optuna.search.progress import SURPLUS
from s2e_optuna.storages.leases import release
from s2e_optuna.web.dashboard import study_note


@pytest.fixture(scope="module")
def view(study: optuna.Study) -> StudyView:
    return read_study(study._storage, "tiny")


def printed(view: StudyView, **options: int) -> str:
    stream = io.StringIO()
    print_study(Console(file=stream, width=80, highlight=False), view, **options)
    return stream.getvalue()


def test_a_study_is_shown_with_its_best_curve_and_generations(view: StudyView) -> None:
    text = printed(view)
    best = view.study.best_trial.number
    for part in ("Study tiny", "15 complete", f"trial {best}", "Co-teaching", "kept share R(t)"):
        assert part in text
    assert "start" in text and "mean alpha (f1 f2 f3 f4)" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_trials_are_ranked_best_first(view: StudyView) -> None:
    values = [trial.value for trial in view.ranked]
    assert values == sorted(values)  # type: ignore[type-var]
    assert view.ranked[0].number == view.study.best_trial.number


def test_one_trial_is_shown_with_its_parameters_over_the_recommended(view: StudyView) -> None:
    other = view.ranked[-1].number
    text = printed(view, trial_number=other)
    assert f"Trial {other} (complete" in text and "f1_a1" in text and "(recommended)" in text


@pytest.mark.parametrize("number", [-1, 15, 1000])
def test_a_trial_that_is_not_there(view: StudyView, number: int) -> None:
    with pytest.raises(InputError, match=f"no trial {number}: its trials are 0 to 14"):
        printed(view, trial_number=number)


def test_generations_begin_uniform_and_then_move(view: StudyView) -> None:
    rows = generation_rows(view.generations)
    assert rows[0].trial_number is None and rows[0].kl is None
    assert rows[0].mean_alpha == pytest.approx([0.25] * 4)
    assert len(rows) >= 3
    assert all(row.kl is not None and row.kl > 0 and row.batch >= 4 for row in rows[1:])
    assert all(sum(row.mean_alpha) == pytest.approx(1.0) for row in rows)


def test_of_many_generations_some_are_shown(
    view: StudyView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2e_optuna.commands.show.MOST_GENERATIONS", 2)
    count = len(view.generations)
    text = printed(view)
    assert f"Generations of theta, 2 of {count} (all of them: --json)" in text
    last = generation_rows(view.generations)[-1]
    assert "start" in text and f"trial {last.trial_number}" in text.rsplit("Generations", 1)[1]


def test_the_dictionary_is_json(view: StudyView) -> None:
    content = json.loads(json.dumps(study_dict(view, storage="x"), allow_nan=False))
    assert content["study"] == "tiny" and content["n_trials"] == 15
    assert content["best_value"] == view.study.best_value
    assert len(content["trial"]["schedule"]) == 20
    assert content["generations"][0]["batch"] == []


def test_pictures_of_a_study(view: StudyView, tmp_path: Path) -> None:
    written = save_study_pictures(view, tmp_path / "r.png")
    assert [path.name for path in written] == ["r.png", "r-progress.png", "r-generations.png"]
    for path in written:
        assert np.asarray(Image.open(path).convert("L")).std() > 10


def test_studies_of_other_kinds_are_shown_too() -> None:
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize"
    )
    empty = read_study(study._storage, study.study_name)
    assert "There are no trials yet." in printed(empty) and "write-ahead log" in printed(empty)
    with pytest.raises(InputError, match="no trials yet"):
        empty.chosen(0)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    view = read_study(study._storage, study.study_name)
    assert "hold no schedule" in printed(view)
    assert view.ranked[0].number == study.best_trial.number
    with pytest.raises(InputError, match="no schedule to draw"):
        save_study_pictures(view, Path("r.png"))


def test_a_study_of_infinite_values_is_told_from_an_empty_one() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + np.inf, n_trials=3)
    view = read_study(study._storage, study.study_name)
    assert "3 complete" in printed(view) and "No complete trial has a finite value" in printed(
        view
    )
    assert "inf" in printed(view, trial_number=1)
    assert study_dict(view, storage="x")["best_value"] is None


def test_trials_that_left_early_are_crosses_at_their_last_value() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        rates = suggest_schedule(trial, 10).rates
        trial.report(9.0 - trial.number, 3)
        if trial.number in (0, 2):
            raise optuna.TrialPruned
        return float(4 - trial.number + 0 * rates.mean())

    study.optimize(objective, n_trials=4)
    view = read_study(study._storage, study.study_name)
    values, left = ended_values(view)
    np.testing.assert_array_equal(values, [np.nan, 3.0, np.nan, 1.0])
    np.testing.assert_array_equal(left, [9.0, np.nan, 7.0, np.nan])
    (ax,) = progress_figure(view).axes
    assert ax.get_xlabel() == "finished trials"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [np.nan, 3.0, 3.0, 1.0])
    crosses = best_so_far_plot(values, left=left).data[1]
    assert (crosses.name, list(crosses.x), list(crosses.y)) == ("left early", [1, 3], [9.0, 7.0])


def test_trials_that_violate_a_constraint_are_never_the_best() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        rates = suggest_schedule(trial, 10).rates
        trial.set_constraint("memory", 1.0 if trial.number == 2 else -1.0)
        return float(4 - trial.number + 0 * rates.mean())

    study.optimize(objective, n_trials=3)
    study.enqueue_trial({})
    view = read_study(study._storage, study.study_name)
    assert [trial.number for trial in view.ranked] == [1, 0, 2]
    assert list(ended_values(view)[0]) == [4.0, 3.0]
    assert "infeasible" in printed(view) and "Recommended: trial 1" in printed(view)
    assert re.search(r"constraint memory +1.0000 \(violated\)", printed(view, trial_number=2))
    content = study_dict(view, storage="x", trial_number=2)
    assert (content["best_value"], content["top"][2]["violation"]) == (3.0, 1.0)
    assert content["trial"]["constraints"] == {"memory": 1.0}
    assert "1 of 3 finished trials violate a constraint" in study_note(view)


def test_interrupted_trials_are_not_called_failed() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: [math.nan, 1.0][trial.number], n_trials=2)
    for _ in range(2):
        study.ask()
        release(study, study.trials[-1], "handed back", retry=False)
    tell(study, {study.ask(): Failure(SURPLUS, attrs={"error": SURPLUS})})
    assert study.ask().number == 5
    release(study, study.trials[-1], "lost")  # and is queued again
    del study._storage._studies[0].trials[5].system_attrs["s2e:lost"]  # type: ignore[attr-defined]
    view = read_study(study._storage, study.study_name)
    assert "1 failed, 1 complete, 4 interrupted, 1 waiting" in printed(view)
    content = study_dict(view, storage="x")
    assert (content["states"]["fail"], content["interrupted"]) == (5, 4)


def test_several_objectives_are_refused() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    with pytest.raises(InputError, match="several objectives"):
        read_study(study._storage, study.study_name)


def test_a_study_that_is_not_there(view: StudyView) -> None:
    with pytest.raises(InputError, match="no study 'nope' in this storage: there are tiny"):
        read_study(view.study._storage, "nope")
    with pytest.raises(InputError, match="the storage is empty"):
        read_study(optuna.storages.InMemoryStorage(), "nope")


def test_the_list_of_studies(view: StudyView) -> None:
    stream = io.StringIO()
    print_studies(Console(file=stream, width=80), view.study._storage)
    assert "tiny" in stream.getvalue() and "15" in stream.getvalue()
