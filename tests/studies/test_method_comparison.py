"""The comparison of all methods, in small."""

import csv
import json
from pathlib import Path

import pytest

from s2e_optuna import Schedule
from studies import method_comparison
from studies.method_comparison import ENTRIES, SCALES, at_best_epoch, main


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the smallest scale as far as the page; return the folder of its results."""
    folder = tmp_path_factory.mktemp("method_comparison")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method_comparison, "RESULTS", folder / "results")
        for only in (["standard", "reweight"], list(ENTRIES)):
            command = ["method_comparison", "--runs", str(folder / "runs"), "--only", *only]
            patch.setattr("sys.argv", command)
            main()
            (folder / f"after-{len(only)}.md").write_text(
                (folder / "results" / "README.md").read_text(encoding="utf-8"), encoding="utf-8"
            )
    return folder


def test_every_method_has_every_seed(results: Path) -> None:
    with (results / "results" / "tiny.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(ENTRIES) * SCALES["tiny"].seeds
    assert {row["method"] for row in rows} == set(ENTRIES)
    assert all(0.0 < float(row["test_last"]) < 1.0 for row in rows)


def test_the_page_says_what_is_missing(results: Path) -> None:
    partly = (results / "after-2.md").read_text(encoding="utf-8")
    assert "| Co-teaching | missing | missing | missing | missing | yes | no | 0 of 2 |" in partly
    assert "18 trainings are missing" in partly
    whole = (results / f"after-{len(ENTRIES)}.md").read_text(encoding="utf-8")
    assert "missing" not in whole
    assert "| to learn |" in whole


def test_what_is_there_is_not_trained_again(results: Path) -> None:
    pieces = {path.name for path in (results / "runs").rglob("digits-pair45/*.json")}
    assert len(pieces) == len(ENTRIES) * SCALES["tiny"].seeds
    assert (results / "results" / "tiny.png").stat().st_size > 10_000


def test_s2e_trains_with_the_schedule_of_its_search(results: Path) -> None:
    content = json.loads((results / "results" / "tiny.json").read_text(encoding="utf-8"))
    rows = content["tasks"]["digits-pair45"]["rows"]
    found = json.loads(
        (results / "runs/tiny/digits-pair45/search/schedule.json").read_text(encoding="utf-8")
    )
    assert rows["s2e"]["schedule"] == pytest.approx(found["rates"], abs=1e-6)
    assert rows["coteaching"]["schedule"] is None


def test_the_best_epoch_is_chosen_by_validation_accuracy() -> None:
    run = {"validation_accuracy": [0.1, 0.9, 0.9, 0.2], "test_accuracy": [0.7, 0.3, 0.4, 0.8]}
    assert at_best_epoch(run) == 0.3


def test_schedules_of_the_main_job_can_be_taken(tmp_path: Path) -> None:
    scale = "tiny"
    (task,) = SCALES[scale].tasks
    found = {"schedule": [1.0, 0.8, 0.6, 0.5], "n_trials": 7, "commit": "abc"}
    (tmp_path / f"{task}.json").write_text(json.dumps(found), encoding="utf-8")
    for _ in range(2):  # the second time there is one already
        method_comparison.take_schedules(scale, tmp_path / "runs", tmp_path)
    taken = Schedule.from_json(method_comparison.search_file(tmp_path / "runs", scale, task))
    assert taken.rates.tolist() == found["schedule"]
    assert taken.name == "S2E, 7 trials of studies.main_job, commit abc"
