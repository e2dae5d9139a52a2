import json

import numpy as np
import pytest

from s2e_optuna.training import shards
from s2e_optuna.training.stack import Stack
from studies import bench_training, bench_training_page
from studies.bench_training import (
    Case,
    benchmark_data,
    measure,
    place_of,
    profile_of,
    training_config,
)
from studies.bench_training_page import page, verdicts

CASE = Case("mlp", 2, 1, "cpu", "float32", 1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Results elsewhere, and a machine that is measured at once."""
    for module in (bench_training, bench_training_page):
        monkeypatch.setattr(module, "PAGE", tmp_path / "README.md")
    monkeypatch.setattr(bench_training, "PEAK_SIDE", {"cpu": 64})
    monkeypatch.setattr(bench_training, "STEPS", {"mlp": 1})
    return tmp_path


def bench(monkeypatch, *arguments):
    words = ["bench", "--networks", "mlp", "--trials", "2", "--threads", "1", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", [*words, "--rounds", "1", *arguments])
    bench_training.main()


def test_a_case_is_measured_and_written_down(folder, monkeypatch, capsys):
    bench(monkeypatch)
    place = place_of(CASE)
    found = json.loads(place.read_text(encoding="utf-8"))
    assert found["ratio"] == found["speed"] / found["reference_speed"]
    # Forward, and backward without the gradient of the images.
    assert found["flops_a_sample"] == 3 * 2 * (784 * 256 + 256 * 10) - 2 * 784 * 256
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "| mlp | 2 |" in text and f"### {found['device']}: 1 thread, float32" in text
    assert f"{found['speed']:,.0f} samples" in capsys.readouterr().out
    assert (place.parent / "share.png").exists()


def test_what_another_machine_measured_is_not_taken_for_this_ones(folder, monkeypatch):
    bench(monkeypatch)
    monkeypatch.setattr(bench_training, "hardware", lambda device: "Another CPU, 64 cores")
    assert place_of(CASE) == folder / "another-cpu-64-cores" / "cpu1-mlp-2.json"
    bench(monkeypatch)
    assert (folder / "README.md").read_text(encoding="utf-8").count("| mlp | 2 |") == 2


def test_profiles_are_redone_without_measuring(folder, monkeypatch):
    bench(monkeypatch)
    before = json.loads(place_of(CASE).read_text(encoding="utf-8"))
    monkeypatch.setattr(bench_training, "profile_of", lambda *_: {"trials": 7, "shares": {}})
    bench(monkeypatch, "--profiles-only")
    after = json.loads(place_of(CASE).read_text(encoding="utf-8"))
    assert after == before | {"profile": {"trials": 7, "shares": {}}}


def test_only_steps_that_were_taken_are_counted(folder, monkeypatch):
    """The data may have fewer than asked for."""
    images = np.zeros((300, 28, 28), np.uint8)
    np.savez(folder / "few.npz", x_train=images, y_train=np.arange(300) % 10)
    monkeypatch.setattr(bench_training, "MNIST", folder / "few.npz")
    monkeypatch.setattr(bench_training, "STEPS", {"mlp": 160})
    found = measure(Case("mlp", 1, 1, "cpu", "float32", 1))
    assert found["steps"] == found["reference_steps"] == 2
    (turn,) = found["turns"]
    assert found["speed"] == 2 * 128 * 2 / turn["stack"]
    assert found["reference_speed"] == 2 * 128 * 2 / turn["reference"]


def test_nothing_is_recorded_in_the_epoch_that_is_timed():
    """A step is recorded anew for another beta1."""
    schedule = training_config().learning_rate_schedule
    assert schedule.beta1(0) == schedule.beta1(1)


def test_a_profile_is_of_one_whole_shard_in_the_main_thread(monkeypatch):
    monkeypatch.setattr(shards, "trials_per_shard", lambda *_: 3)
    sizes = []
    step = Stack.step
    monkeypatch.setattr(Stack, "step", lambda s, *a: (sizes.append(len(s.trials)), step(s, *a)))
    data, _ = benchmark_data("mlp", 2)
    found = profile_of(Case("mlp", 6, 2, "cpu", "float32", 1), data)
    bench_training.torch.set_num_threads(1)
    assert (found["trials"], found["threads"], sizes) == (3, 1, [3] * 4)
    assert found["shares"]["optimiser"] > 0 and found["shares"]["products"] > 0
    assert sum(found["shares"].values()) == pytest.approx(1.0, abs=0.05)


def row(network, trials, ratio, kind):
    return {"network": network, "trials": trials, "ratio": ratio, "share": 0.5, "kind": kind}


def test_on_a_gpu_16_trials_are_judged_and_on_cpu_the_best():
    on_gpu = verdicts([row("mlp", 16, 20.0, "cuda"), row("mlp", 64, 50.0, "cuda")])
    assert on_gpu == [
        "- mlp: 30.0 times the reference at P = 16: **not reached** "
        "(20.0 times the reference with P = 16)."
    ]
    assert "not measured" in verdicts([row("mlp", 64, 50.0, "cuda")])[0]
    on_cpu = verdicts([row("cnn1", 4, 1.5, "cpu"), row("cnn1", 16, 2.5, "cpu")])
    assert on_cpu == [
        "- cnn1: 2.0 times the reference: reached (2.5 times the reference with P = 16)."
    ]


def test_the_page_of_what_is_stored_is_up_to_date():
    stored = bench_training_page.PAGE.read_text(encoding="utf-8")
    assert stored == page(bench_training_page.results())
