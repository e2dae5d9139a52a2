"""The comparison of all methods; `test_paper_studies` runs it at its smallest."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from s2e_optuna import Schedule
from studies import method_comparison
from studies.frame import main
from studies.method_comparison import ENTRIES, SCALES, STUDY, compared
from studies.settings import Frame
from studies.trainings import Run, Training

(TASK,) = SCALES["tiny"].settings


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Train plainly and with Reweight; return the options that name its folders."""
    folder = tmp_path_factory.mktemp("method_comparison")
    words = ["--runs", str(folder / "runs"), "--results", str(folder), "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        some = {key: ENTRIES[key] for key in ("standard", "reweight", "s2e")}
        patch.setattr(method_comparison, "ENTRIES", some)
        main(STUDY, words)
    return words


def results(places: list[str]) -> Path:
    return Path(places[3]) / "method_comparison"


def test_the_page_says_what_is_missing(places: list[str]) -> None:
    main(STUDY, [*places, "--no-training"])
    page = (results(places) / "README.md").read_text(encoding="utf-8")
    assert "| Co-teaching | missing | missing | missing | missing | yes | no | 0 of 2 |" in page
    assert "**16 trainings are missing:**" in page
    assert "| to learn | 2 |" in page and "| to choose R(t) | 2 |" in page
    assert "Searches of S2E: digits, pair 45%: 3 trials, commit " in page


def test_every_method_has_every_seed(places: list[str]) -> None:
    main(STUDY, places)
    with (results(places) / "tiny.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(ENTRIES) * SCALES["tiny"].seeds
    assert {row["method"] for row in rows} == set(ENTRIES)
    assert all(0.0 < float(row["test_last"]) < 1.0 for row in rows)
    content = json.loads((results(places) / "tiny.json").read_text(encoding="utf-8"))
    assert "missing" not in (results(places) / "README.md").read_text(encoding="utf-8")
    assert content["missing"] == 0 and content["provenance"]["trials"] == 3


def test_who_is_told_the_rate_has_coteachings_schedule_and_s2e_that_of_its_search(
    places: list[str],
) -> None:
    runs = Path(places[1])
    frame = Frame("tiny", f"sqlite:///{runs / 'searches.db'}", runs=runs, device="cpu")
    found = compared(frame, ("standard", "coteaching", "s2e"), seeds=1)
    told = {key: run.training.schedule for key, (run,) in found.runs[TASK].items()}
    assert told["standard"] is None
    expected = Schedule.coteaching(4, 0.45).rates.tolist()
    assert told["coteaching"] is not None and told["coteaching"].rates.tolist() == expected
    assert told["s2e"] is found.found[TASK].schedule


def test_a_failed_training_is_counted_and_has_no_numbers() -> None:
    training = Training(SCALES["tiny"].settings[TASK], "standard", None, 7)
    short = {"test_accuracy": np.float32([0.7]), "label_precision": np.float32([0.5])}
    failed = Run(training, {**short, "kept_share": np.float32([1])}, 1.0, "diverged", "", "")
    row = method_comparison.row([failed])
    assert row["seeds"] == [7] and row["failed"] == 1
    assert all(np.isnan(row[name]).all() for name in method_comparison.MEASURES)
