"""The frame of the paper's studies: nothing is run twice, tables say what agrees."""

import importlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2e_optuna import Schedule
from studies import trainings
from studies.figure2 import STUDY
from studies.frame import Study, finite, parse
from studies.pages import Table, agreement, beside_paper, mean_sd
from studies.searches import Search, searched
from studies.settings import RESULTS, Frame, Setting, paper_setting
from studies.trainings import Training, data_of, trained, with_fewer_clean

DIGITS = Setting("digits", "symmetric", 0.5, epochs=2, train_size=300, batch_size=None)


@pytest.fixture
def frame(tmp_path: Path) -> Frame:
    runs = tmp_path / "runs"
    return Frame("tiny", f"sqlite:///{runs / 'searches.db'}", device="cpu", runs=runs)


def wanted() -> list[Training]:
    kept = [Schedule.coteaching(2, 0.5), Schedule.constant(2)]
    plain = [Training(DIGITS, "standard", None, seed) for seed in (1, 2)]
    return [*(Training(DIGITS, "coteaching", schedule, 1) for schedule in kept), *plain]


def test_what_was_broken_off_goes_on_without_repeating(
    frame: Frame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = []
    train_stack = trainings.train_stack

    def breaks(stack: list[Training], *rest: object) -> str:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(stack)
        return train_stack(stack, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(trainings, "train_stack", breaks)
    with pytest.raises(KeyboardInterrupt):
        trained(wanted(), frame)
    left = [training for stack in done for training in stack]
    assert len(left) == 3  # the two schedules side by side, and one of the two seeds
    monkeypatch.setattr(trainings, "train_stack", train_stack)
    capsys.readouterr()
    runs = trained(wanted(), frame)
    assert capsys.readouterr().out.startswith("[1/1, about")
    assert [run.training for run in runs] == wanted()
    assert all(run.failure is None and len(run.curves["test_accuracy"]) == 2 for run in runs)
    assert trained(wanted(), frame)[0].last("kept_share") == runs[0].last("kept_share")
    assert capsys.readouterr().out == ""


def test_the_number_of_workers_changes_nothing(frame: Frame) -> None:
    alone = trained(wanted(), frame)
    two = trained(wanted(), replace(frame, workers=2, runs=frame.runs / "two"))
    for one, other in zip(alone, two, strict=True):
        np.testing.assert_allclose(
            one.curves["test_accuracy"], other.curves["test_accuracy"], atol=1e-5
        )


def test_a_training_is_known_by_everything_that_it_depends_on(frame: Frame) -> None:
    first = wanted()[0]
    others = [
        replace(first, seed=2),
        replace(first, method="mentornet"),
        replace(first, schedule=Schedule.constant(2)),
        replace(first, setting=replace(DIGITS, optimizer="sgd")),
        replace(first, setting=replace(DIGITS, train_size=400)),
    ]
    paths = {training.path(frame) for training in (first, *others)}
    elsewhere = replace(frame, sources={"digits": "/data/my_digits.npz"})
    assert len(paths | {first.path(elsewhere)}) == 7


def test_a_search_goes_on_and_recommends_one_of_its_trials(
    frame: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    search = Search(DIGITS, space="coteaching", sampler="random", trials=2, stack=2)
    first = searched(search, frame)
    again = searched(replace(search, trials=3), frame)
    assert again.study.study_name == first.study.study_name
    assert [trial.number for trial in again.trials] == [0, 1, 2]
    assert again.number in (0, 1, 2) and again.schedule.epochs == 2
    assert again.seconds > 0 and all("test_accuracy" in t.user_attrs for t in again.trials)
    capsys.readouterr()
    assert searched(replace(search, trials=3), frame).schedule == again.schedule
    # Who asked for two trials still gets what two trials say.
    assert searched(search, frame).number == first.number
    assert [trial.number for trial in searched(search, frame).trials] == [0, 1]
    assert capsys.readouterr().out == ""


def test_pruners_reach_the_trials(frame: Frame) -> None:
    setting = replace(DIGITS, epochs=6)
    found = searched(Search(setting, sampler="random", pruner="hyperband", trials=8), frame)
    states = {trial.state.name for trial in found.study.trials}
    assert len(found.study.trials) == 8 and "PRUNED" in states


def test_fewer_clean_samples_are_always_the_same_ones(frame: Frame) -> None:
    whole = data_of(DIGITS, frame)
    some = data_of(replace(DIGITS, clean_size=50), frame)
    assert len(some.y_val) == len(some.y_test) == 50 < len(whole.y_val)
    assert some.y_train.equal(whole.y_train)
    assert some.x_test.equal(with_fewer_clean(whole, 50).x_test)
    assert len(some.y_val.unique()) == 10  # not the first ones of data sorted by class
    assert "clean_size" not in DIGITS.told()


def test_settings_have_readable_names() -> None:
    assert paper_setting("cifar10", "pair45").name == "cifar10-pair45-cnn1-200"
    assert paper_setting("mnist", "sym20", epochs=60).name == "mnist-sym20-mlp-60"


def test_order_and_sign_are_compared_with_the_paper() -> None:
    paper = {"a": 90.0, "b": 80.0, "c": 70.0}
    same = agreement({"a": [0.9, 0.91], "b": [0.8, 0.81], "c": [0.7, 0.71]}, paper)
    assert same == "same best; 3 pairs in the same order, 0 in the opposite, 0 undecided"
    other = agreement({"a": [0.7, 0.71], "b": [0.9, 0.91], "c": [0.6, 0.9]}, paper)
    assert other == "other best (b); 0 pairs in the same order, 1 in the opposite, 2 undecided"
    assert agreement({"a": [0.5]}, paper) == "nothing to compare"


def test_tables_show_both_numbers() -> None:
    table = beside_paper(
        {"x": {"a": [0.5, 0.7], "b": [None]}}, {"x": {"a": 61.0}}, {"a": "A", "b": "B"}
    )
    assert table.rows == [["x", "60.00 ± 14.14 (61.00)", "none", "nothing to compare"]]
    assert Table(("a", "b"), [[1.0, None]]).csv() == "a,b\n1,\n"
    assert mean_sd([0.5]) == "50.00"
    assert finite({"a": [float("nan"), 1.0]}) == {"a": [None, 1.0]}


def test_data_are_named_where_there_are_several(capsys: pytest.CaptureFixture[str]) -> None:
    several: Study = replace(STUDY, data={"tiny": ("mnist", "cifar10")})
    _, frame = parse(several, ["--data", "mnist=a/m.npz", "--data", "cifar10=b"])
    assert frame.sources == {"mnist": "a/m.npz", "cifar10": "b"}
    with pytest.raises(SystemExit):
        parse(several, ["--data", "a/m.npz"])
    assert "say for which data set (mnist, cifar10 here)" in capsys.readouterr().err
    _, frame = parse(replace(STUDY, data={"tiny": ("mnist",)}), ["--data", "m.npz"])
    assert frame.source(paper_setting("mnist", "sym20")) == "m.npz"


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ("--runs r", Path("r/results")),  # tiny is the default scale
        ("--scale small --runs r", RESULTS),
        ("--page", RESULTS),
        ("--results here", Path("here")),
    ],
)
def test_checks_do_not_touch_what_is_published(words: str, folder: Path) -> None:
    options, _ = parse(STUDY, words.split())
    assert options.results == folder


def commands() -> list[str]:
    page = Path(__file__).parents[2] / "docs" / "studies.md"
    return re.findall(r"^python -m studies\.(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("line", commands())
def test_the_commands_of_the_documentation_are_understood(line: str) -> None:
    name, *words = line.split()
    study: Study = importlib.import_module(f"studies.{name}").STUDY
    _, frame = parse(study, words)
    assert frame.scale == words[1]
