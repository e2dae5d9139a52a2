import csv
import io
import logging
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta

from s2e_optuna import CoTeachingObjective, Schedule, open_storage
from s2e_optuna.objective.artifacts import TrialArtifacts, best_so_far
from s2e_optuna.objective.table import curve_table
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.stored import objective_of
from s2e_optuna.storages.urls import artifact_folder

SCHEDULE = Schedule.coteaching(4, 0.5, t_k=2)


def download(study: optuna.Study, number: int, folder: Path) -> dict[str, str]:
    store = FileSystemArtifactStore(str(folder))
    found = {}
    for meta in get_all_artifact_meta(study.trials[number], storage=study._storage):
        target = folder.parent / meta.artifact_id
        download_artifact(
            artifact_store=store, artifact_id=meta.artifact_id, file_path=str(target)
        )
        found[f"{meta.filename} {meta.mimetype}"] = target.read_text(encoding="utf-8")
    return found


def test_every_trial_of_a_stack_has_picture_and_table(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path / 's.db'}"))
    objective = CoTeachingObjective(
        "digits", noise="pair", noise_rate=0.45, train_size=150, epochs=3, artifacts=folder
    )
    study.optimize(objective, n_trials=1)
    trials = [study.ask(), study.ask()]
    outcomes = objective.evaluate(trials)
    for trial, outcome in zip(trials, outcomes, strict=True):
        study.tell(trial, outcome.value)
    for trial in study.trials:
        files = download(study, trial.number, folder)
        assert set(files) == {"schedule.svg image/svg+xml", "curves.csv text/csv"}
        picture, table = files["schedule.svg image/svg+xml"], files["curves.csv text/csv"]
        for part in (f"Trial {trial.number}: validation error", "Co-teaching", "label precision"):
            assert part in picture
        assert ("best so far: 0" in picture) == (trial.number > 0)
        rows = list(csv.DictReader(io.StringIO(table)))
        errors = [1 - float(row["validation_accuracy"]) for row in rows]
        assert np.mean(errors) == pytest.approx(trial.value, abs=1e-5)
        assert [row["epoch"] for row in rows] == ["0", "1", "2"]
        tested = [i for i, row in enumerate(rows) if row["test_accuracy"]]
        assert tested == [int(np.argmin(errors))]


def test_without_a_folder_nothing_is_attached() -> None:
    study = optuna.create_study()
    study.optimize(CoTeachingObjective("digits", train_size=100, epochs=1), n_trials=1)
    assert get_all_artifact_meta(study.trials[0], storage=study._storage) == []


def test_a_store_that_fails_costs_no_trial_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts = TrialArtifacts(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    study = optuna.create_study()
    with caplog.at_level(logging.WARNING, "s2e_optuna"):
        for _ in range(2):
            artifacts.attach(study.ask(), SCHEDULE, {})
    assert caplog.text.count("cannot be stored") == 1
    assert len(get_all_artifact_meta(study.trials[1], storage=study._storage)) == 0


def test_a_finished_trial_is_refused(tmp_path: Path) -> None:
    study = optuna.create_study()
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        TrialArtifacts(tmp_path).attach(trial, SCHEDULE, {})


def test_the_best_so_far_is_finite_and_follows_the_direction() -> None:
    for direction, expected in (("minimize", 2), ("maximize", 1)):
        study = optuna.create_study(direction=direction)
        assert best_so_far(study) is None
        for value in (float("inf"), 3.0, 1.0):
            sign = 1 if direction == "minimize" else -1
            study.tell(study.ask(), value if np.isfinite(value) else sign * value)
        best = best_so_far(study)
        assert best is not None and best.number == expected


def test_curves_end_where_the_training_did_and_empty_ones_are_left_out() -> None:
    curves = {"a": [0.25, np.nan], "b": [np.nan, np.nan]}
    assert curve_table([1, 0.5, 0.5], curves) == "epoch,R,a\n0,1,0.25\n1,0.5,\n2,0.5,\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///storage/s2e.db", "storage/artifacts"),
        ("sqlite:////data/s2e.db?timeout=3", "/data/artifacts"),
        ("journal:///logs/s.log", "logs/artifacts"),
        ("postgresql+psycopg://host/db", "s2e-artifacts"),
    ],
)
def test_artifacts_lie_beside_the_storage(
    url: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert artifact_folder(url) == Path(expected)
    (tmp_path / "storage").mkdir()
    if "host" in url:
        assert artifact_folder(url) == Path("storage/artifacts")


def test_a_worker_without_the_folder_says_so_once_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = SearchConfig.of(train_size=100, epochs=1, artifacts=tmp_path / "elsewhere").stored()
    with caplog.at_level(logging.WARNING, "s2e_optuna"):
        objective = objective_of(stored, "cpu")
    assert objective.artifacts is None
    assert caplog.text.count("is not on this machine") == 1 and "--artifacts" in caplog.text
    optuna.create_study().optimize(objective, n_trials=1)

    here = tmp_path / "here"
    here.mkdir()
    assert objective_of(stored, "cpu", here).artifacts is not None
