"""The paper's studies at their smallest: each runs, goes on, and writes what it should."""

import csv
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from studies import frame
from studies.frame import Study, main

STUDIES = (
    "bench_real",
    "figure2",
    "figure6",
    "figure10",
    "human_noise",
    "method_comparison",
    "table2",
    "table3",
    "table7",
)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_writes_its_page_and_runs_nothing_twice(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study: Study = importlib.import_module(f"studies.{name}").STUDY
    words = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path), "--device", "cpu"]
    assert study.name == name and {"tiny", "small", "paper"} <= set(study.scales)
    main(study, words)
    folder = tmp_path / name
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {study.title}\n") and "(tiny.png)" in page
    assert f"studies.{name} --scale tiny" in page and "nan" not in page.replace("tiny", "")
    with (folder / "tiny.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert len(rows) > 2 and all(len(row) == len(rows[0]) for row in rows)
    assert (folder / "tiny.png").stat().st_size > 10_000
    assert (folder / "tiny.svg").stat().st_size > 5_000
    assert "seconds" in json.loads((folder / "tiny.json").read_text(encoding="utf-8"))

    made = sorted((tmp_path / "runs").rglob("*.npz"))
    made = [path for path in made if path.name != "fingerprint.npz"]  # of searches
    for path in made[:1]:  # as if it had been broken off before this one
        path.unlink()
    before = (folder / "tiny.csv").read_bytes()
    capsys.readouterr()
    monkeypatch.setattr(frame, "save", lambda figure, stem: None)  # the same pictures
    main(study, words)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in said[:-1] if line.startswith("[")] == (
        ["[1/1"] if made else []
    )
    assert not any("searching" in line or "epoch" in line for line in said)
    assert (folder / "tiny.csv").read_bytes() == before


BAD = {
    "photographs": ("table2 --scale paper", "--data train=FOLDER"),
    "a test": ("table2 --data train=somewhere", "no test was given"),
    "labels": ("human_noise --scale small --data images=somewhere", "--data labels=PATH"),
    "a file": ("table3 --data nix.npz --workers 2", "there is no file nix.npz"),
    "a device": ("table3 --device foo", "unknown device 'foo'"),
    "a storage": ("figure6 --storage foo", "'foo' is no storage URL"),
    "results": ("figure2 --results /sys/x", "cannot read or write /sys/x/figure2"),
    "trials": ("figure6 --no-training", "has finished"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_missing_or_wrong_is_said_in_one_sentence(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, said = BAD[case]
    name, *words = line.split()
    study: Study = importlib.import_module(f"studies.{name}").STUDY
    places = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    with pytest.raises(SystemExit) as ended:
        main(study, [*places, *words])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{name}: ") and said in last


def test_agreement_in_table_2_is_about_methods_not_tests() -> None:
    from studies.table2 import METHODS, PAPER, TESTS, by_test, numbers

    found = {"standard": {"accuracy": {test: [0.8, 0.9] for test in TESTS}}}
    assert numbers({"methods": found})["standard"]["average"] == pytest.approx([0.8, 0.9])
    assert by_test(PAPER)["CALFW"].keys() == METHODS.keys()
    assert by_test(PAPER)["average"]["s2e"] == 93.20


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_table_7_takes_the_searches_of_figure_6(scale: str) -> None:
    from studies import figure6, table7

    searches = figure6.SCALES[scale]
    for name, setting in searches.settings.items():
        theirs = figure6.search_of(searches, setting, "newton", 1)
        assert table7.search_of(table7.SCALES[scale], name.split("-")[1], 1) == theirs


def test_as_printed_is_the_papers_sampler() -> None:
    from s2e_optuna import S2ESampler
    from studies.figure6 import PRINTED

    assert S2ESampler(**PRINTED)._options == S2ESampler.paper()._options


def test_a_stopped_training_costs_its_epochs_and_is_never_the_best() -> None:
    import optuna
    from optuna.trial import TrialState, create_trial

    from studies.figure6 import Search, costs, progress
    from studies.searches import Found
    from studies.settings import paper_setting

    study = optuna.create_study()
    for value, state, last in ((0.5, "COMPLETE", 9), (0.1, "PRUNED", 1), (0.3, "COMPLETE", 9)):
        study.add_trial(
            create_trial(
                value=value if state == "COMPLETE" else None,
                state=TrialState[state],
                intermediate_values={0: 0.9, last: value},
                user_attrs={"test_accuracy": 1.0 - value},
            )
        )
    assert costs(study, 10).tolist() == [1.0, 0.2, 1.0]
    search = Search(paper_setting("digits", "sym50", epochs=10))
    found = Found(search, study, schedule=None, number=0, hardware="", commit="")  # type: ignore[arg-type]
    followed = progress(found, 4)
    assert followed["validation"] == [0.5, 0.5, 0.3, 0.3]  # the third ends at 2.2 trainings
    assert followed["test"] == [0.5, 0.5, 0.7, 0.7]
    assert (followed["trials"], followed["stopped"]) == (3, 1)


def test_random_search_chooses_by_validation_accuracy() -> None:
    from studies.settings import paper_setting
    from studies.table3 import drawn, search_summary
    from studies.trainings import Run, Training

    setting = paper_setting("digits", "sym50", epochs=2)
    validation, test = ([0.1, 0.2], [0.5, 0.7], [0.3, 0.4]), ([0.9, 0.2], [0.4, 0.6], [0.3, 0.8])
    runs = [
        Run(
            Training(setting, "coteaching", schedule, 0),
            {"validation_accuracy": np.array(v), "test_accuracy": np.array(t)},
            seconds=1.0,
            failure="diverged" if i == 3 else None,
            hardware="",
            commit="",
        )
        for i, (schedule, v, t) in enumerate(
            zip(drawn("rbf", 4, 0, 2), (*validation, [1.0, 1.0]), (*test, [1.0, 1.0]), strict=True)
        )
    ]
    found = search_summary(runs)
    assert found["best_test"] == 0.9 and found["by_validation"] == pytest.approx(0.5)
    assert found["typical"] == pytest.approx((0.9 + 0.6 + 0.8) / 3)
    assert found["so_far"] == pytest.approx([0.55, 0.5, 0.5, 0.5])


def test_spaces_draw_what_optunas_random_sampler_draws() -> None:
    from studies.table3 import SPACES, drawn

    for space in SPACES:
        curves = np.array([schedule.rates for schedule in drawn(space, 50, 1, 20)])
        assert curves.shape == (50, 20) and np.all(curves[:, 0] == 1.0)
        again = np.array([schedule.rates for schedule in drawn(space, 50, 1, 20)])
        assert np.array_equal(curves, again)
        assert not np.array_equal(curves, [s.rates for s in drawn(space, 50, 2, 20)])
