"""The figures that are drawn from whole trainings, at their smallest; they share trainings."""

import csv
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from s2e_optuna import Schedule
from studies.figure10 import fit
from studies.frame import Study, main


@dataclass(frozen=True)
class Case:
    """A study, and what its page says at the smallest scale."""

    name: str
    rows: int
    says: tuple[str, ...]


CASES = (
    Case("figure1", 80, ("| Co-teaching |", "(e) optimisers | SGD |", "3 trials of searches")),
    Case("figure3", 8, ("| digits, pair 45% |", "Reweight learns from clean samples")),
    Case("figure4", 4, ("S2E has the highest label precision | ",)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the studies of this file share their trainings."""
    return tmp_path_factory.mktemp("studies")


def run(name: str, folder: Path, *more: str) -> Path:
    study: Study = importlib.import_module(f"studies.{name}").STUDY
    places = ["--runs", str(folder / "runs"), "--results", str(folder / "results")]
    main(study, [*places, *more])
    return folder / "results" / name


def plausible_accuracies(task: dict[str, Any]) -> None:
    assert all(np.shape(curves) == (2, 4) for curves in task["curves"].values())
    assert all(0.1 < np.mean(values) < 1.0 for values in task["curves"].values())


def plausible_precisions(task: dict[str, Any]) -> None:
    assert task["s2e"][0] == task["others"][0] == 1.0
    assert all(0.3 < np.mean(values) <= 1.0 for values in task["curves"].values())


PLAUSIBLE = {"figure3": plausible_accuracies, "figure4": plausible_precisions}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_study_leaves_its_table_and_its_picture(
    case: Case, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(case.name, folder)
    page = (results / "README.md").read_text(encoding="utf-8")
    for words in ("# Figure", "## tiny", "--scale tiny", "torch", *case.says):
        assert words in page
    assert "missing" not in page and str(folder) not in page
    with (results / "tiny.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == case.rows
    pixels = np.asarray(Image.open(results / "tiny.png").convert("L"))
    assert pixels.shape[1] > 500 and 0.01 < (pixels < 128).mean() < 0.5
    assert "</svg>" in (results / "tiny.svg").read_text(encoding="utf-8")[-20:]
    content = json.loads((results / "tiny.json").read_text(encoding="utf-8"))
    assert {"hardware", "commit", "command", "seconds", "scale"} <= content.keys()
    if case.name in PLAUSIBLE:
        (task,) = content["tasks"].values()
        PLAUSIBLE[case.name](task)
    capsys.readouterr()
    run(case.name, folder, "--no-training" if case.name.startswith("figure1") else "--page")
    assert "standard seed" not in capsys.readouterr().out
    assert (results / "README.md").read_text(encoding="utf-8").count("## tiny") == 1


def test_approximations_of_coteaching_are_close() -> None:
    params = {"tau": 0.4, "c": 1.0, "t_k": 20.0}
    target = Schedule.coteaching(60, **params).rates
    closest = fit(target, starts=1, seed=0)
    assert closest[0] == 1.0 and np.sqrt(np.mean((closest - target) ** 2)) < 0.02


def test_only_what_is_there_is_shown_without_training(tmp_path: Path) -> None:
    page = run("figure3", tmp_path, "--no-training") / "README.md"
    assert "**16 trainings are missing:**" in page.read_text(encoding="utf-8")
