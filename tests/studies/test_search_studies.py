"""The benchmark of searches and the tables it stands on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from scipy.stats import spearmanr

from s2e_optuna.schedules import Schedule, get_space
from studies import (
    bench_epochs,
    bench_general,
    bench_real,
    bench_search,
    record_table,
    search_runs,
    trained_recommendations,
)
from studies.emulator import DATA, EMULATORS, emulator_of, final_error, load_table

TABLES = sorted(path.stem for path in DATA.glob("*.npz"))


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_what_they_are_said_to_be(name: str) -> None:
    table = load_table(name)
    assert table.use == record_table.TASKS[name].use
    assert table.epochs == record_table.TASKS[name].epochs
    assert len(table.x) == len(table.error) == len(table.schedule) >= 500
    assert 0.0 < table.noise < table.error.std()  # schedules matter more than seeds
    same = table.schedule == table.schedule[-1]
    assert same.sum() > 1 and np.ptp(table.x[same], axis=0).max() == 0.0


def test_the_emulator_ranks_schedules_as_the_trainings_did() -> None:
    emulator = emulator_of("digits-sym50")
    table = emulator.table
    predicted = emulator.error(get_space("s2e").rates(table.x, table.epochs))
    assert spearmanr(predicted, table.error).statistic > 0.9
    halves = [emulator.error(Schedule.coteaching(table.epochs, tau).rates)[0] for tau in (0, 0.5)]
    assert halves[1] < halves[0]


def test_the_benchmark_writes_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_search, "RESULTS", tmp_path)
    command = "digits-sym50 --samplers random hyperband --seeds 2 --trials 12 --in-flight 4"
    bench_search.main(command.split())
    page = (tmp_path / "digits-sym50.md").read_text(encoding="utf-8")
    assert "| random (4 in flight) | 2 |" in page and "for tuning" in page
    assert (tmp_path / "digits-sym50.png").stat().st_size > 5000
    assert "## Tuning: [digits-sym50]" in (tmp_path / "README.md").read_text(encoding="utf-8")

    def fail(*args: object, **kwargs: object) -> list[float]:
        raise AssertionError("a finished run was repeated")

    monkeypatch.setattr(bench_search, "run", fail)
    bench_search.main(command.split())
    assert (tmp_path / "digits-sym50.md").read_text(encoding="utf-8") == page


def test_tasks_that_other_processes_have_begun_are_not_listed_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_search, "RESULTS", tmp_path)
    command = "digits-sym20 --samplers random --seeds 1 --trials 12"
    bench_search.main(command.split())
    (tmp_path / "about.json").unlink()  # as where it was interrupted before that is written
    bench_search.main(command.replace("20", "50").split())
    page = tmp_path / "README.md"
    assert "[digits-sym20]" not in page.read_text(encoding="utf-8")
    bench_search.main(command.split())
    assert "[digits-sym20]" in page.read_text(encoding="utf-8")


def test_emulated_trainings_have_the_noise_of_recorded_ones() -> None:
    emulator = emulator_of("digits-sym50")
    rates = Schedule.coteaching(emulator.table.epochs, 0.5).rates
    rng = np.random.default_rng(0)
    curves = np.array([emulator.train(rates, rng) for _ in range(400)])
    assert curves.shape == (400, emulator.table.epochs)
    errors = final_error(curves)
    assert errors.mean() == pytest.approx(emulator.error(rates)[0], abs=0.002)
    assert errors.std() == pytest.approx(emulator.table.noise, rel=0.15)


def test_the_verdict_says_who_is_ahead() -> None:
    rng = np.random.default_rng(0)

    def runs(name: str, errors: list[float]) -> bench_search.Runs:
        return {(name, 1, seed): [e + 1e-4 * rng.normal() for e in errors] for seed in range(10)}

    found = runs("s2e", [0.3, 0.2, 0.1, 0.1, 0.1]) | runs("random", [0.3, 0.3, 0.1, 0.05, 0.02])
    found |= runs("tpe", [0.3, 0.3, 0.2, 0.2, 0.1])
    words = [line.split(" is ")[1].split(" the be")[0] for line in bench_search.verdict(found)]
    assert words == ["ahead of", "within noise of", "**behind**", "**behind**", "within noise of"]


def test_a_few_searches_that_stay_far_off_do_not_hide_a_difference() -> None:
    ours = {("s2e", 1, seed): [0.139 + 1e-5 * seed] * 5 for seed in range(20)}
    theirs = {
        ("tpe", 1, seed): [0.133 + 1e-5 * seed + 0.07 * (seed < 2)] * 5 for seed in range(20)
    }
    line = bench_search.verdict(ours | theirs)[0]
    assert "**behind** the best of the others, tpe: median +0.60, p < 0.001" in line
    assert "mean -0.10" in line


def test_a_negative_difference_says_on_every_page_that_s2e_is_ahead() -> None:
    ours = [{"48": 0.10 + 0.001 * seed} for seed in range(3)]
    theirs = [{"48": 0.12 + 0.0011 * seed} for seed in range(3)]
    assert bench_real.verdict(ours, theirs).startswith("better (-2.01")
    assert bench_real.verdict(theirs, ours).startswith("worse (+2.01")


def test_a_page_names_the_commit_of_the_runs_not_of_its_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_general, "RESULTS", tmp_path)
    words = "bench_general --problems sphere-5 --samplers random --seeds 2"
    monkeypatch.setattr("sys.argv", words.split())
    for commit in ("aaaaaaa", "bbbbbbb"):  # the second time there is nothing to run
        monkeypatch.setattr(search_runs, "commit", lambda commit=commit: commit)
        bench_general.main()
        assert "commit aaaaaaa, that of the runs added last" in (tmp_path / "README.md").read_text(
            encoding="utf-8"
        )


def test_so_many_trials_are_always_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = emulator_of("digits-sym50")
    in_flight = []

    def told(study: optuna.Study, trial: optuna.Trial, curve: object) -> int:
        states = [t.state for t in study.get_trials(deepcopy=False)]
        in_flight.append(states.count(TrialState.RUNNING))
        study.tell(trial, 0.5)
        return emulator.table.epochs

    monkeypatch.setattr(bench_search, "train", told)
    assert len(bench_search.run(emulator, "random", 0, 12, 4)) == 2
    assert in_flight == [4] * 12


def test_trees_answer_as_the_process_does() -> None:
    """Two regressions of the same table, by final error and by epoch."""
    emulators = [emulator_of("digits-sym50", kind) for kind in EMULATORS]
    rates = get_space("s2e").rates(np.random.default_rng(0).random((200, 19)), 60)
    errors = [emulator.error(rates) for emulator in emulators]
    assert spearmanr(*errors)[0] > 0.8
    for emulator, error in zip(emulators, errors, strict=True):
        assert final_error(emulator.curve(rates[0])) == pytest.approx(error[0], abs=1e-3)


def test_one_recorded_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = replace(record_table.TASKS["digits-sym50"], epochs=2)
    monkeypatch.setitem(record_table.TASKS, "digits-sym50", task)
    x, index = record_table.schedule_points(6, 3, 2)
    assert index.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 0, 1, 2]
    record_table.train_stack("digits-sym50", "digits", x[:3], 7, tmp_path / "stack.npz")
    stored = np.load(tmp_path / "stack.npz")
    assert stored["validation"].shape == stored["test"].shape == (3, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["stack.npz"]


def test_recommendations_are_trained_in_earnest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_epochs, "CHECKPOINTS", (1, 2))
    monkeypatch.setattr(trained_recommendations, "CHECKPOINTS", (1, 2))
    monkeypatch.setattr(trained_recommendations, "COSTS", (2,))
    monkeypatch.setattr(bench_epochs, "RESULTS", tmp_path)
    short = replace(record_table.TASKS["digits-sym50"], epochs=60, train_size=400)
    monkeypatch.setitem(record_table.TASKS, "digits-sym50", short)
    found = trained_recommendations.train_task("digits-sym50", "digits", 1)
    (tmp_path / "digits-sym50-trained.json").write_text(json.dumps(found))
    each = found["recommendations"]
    assert [one["search"] for one in each] == list(trained_recommendations.COMPARED)
    assert all(len(one["trained"]) == 2 and one["cost"] == 2 for one in each)
    assert all(0.0 < error < 0.6 for one in each for error in one["trained"])
    lines = bench_epochs.trained_lines("digits-sym50")
    assert sum(line.startswith("| s2e") for line in lines) == 2
    assert bench_epochs.trained_lines("digits-pair45") == []
