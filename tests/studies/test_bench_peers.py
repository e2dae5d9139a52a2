"""The trainer's peers train the same task, and stand on one page."""

import io
import json
import runpy

import numpy as np
import pytest

from studies import bench_peers
from studies.bench_peers import (
    FLOOR,
    JAX_TOP_K,
    OURS,
    PEERS,
    SAMPLES,
    TEST,
    Peer,
    measure,
    peers_of,
    steps_of,
    verdicts,
    write_page,
    write_task,
)


@pytest.fixture
def data(tmp_path):
    """A task of ten classes that are easily told, the half of whose labels is wrong."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=200)
    images = rng.integers(60, size=(200, 16, 16)).astype(np.uint8)
    images[np.arange(200), 3 * (labels // 2), 7 * (labels % 2)] = 255
    path = tmp_path / "source.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images[:50], y_test=labels[:50])
    write_task(path, tmp_path / "task.npz")
    return tmp_path / "task.npz"


TURNS = 3


def told(capsys, monkeypatch, script, data, network, select="top-k"):
    """Run a peer's script here for some turns, and return the lines that it prints."""
    words = [str(data), "--network", network, "--select", select, "--trials", "2"]
    words += ["--epochs", str(TURNS + 1), "--batch-size", "20", "--steps", "8"]
    monkeypatch.setattr("sys.argv", [script, *words])
    monkeypatch.setattr("sys.stdin", io.StringIO("\n" * TURNS))
    monkeypatch.syspath_prepend(str(PEERS))
    runpy.run_path(str(PEERS / f"{script}.py"))
    ready, *lines = map(json.loads, capsys.readouterr().out.splitlines())
    assert ready == {"ready": True}
    assert all(line["seconds"] > 0 for line in lines[:TURNS])
    return lines[TURNS:]


def test_the_task_has_the_share_of_wrong_labels_that_the_page_says(data):
    with np.load(data) as task:
        assert task["x_train"].shape == (200, 16, 16) and SAMPLES > 200 and TEST > 50
        source = np.load(data.with_name("source.npz"))
        assert (task["y_train"] != source["y_train"]).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("network", ["mlp", "cnn1"])
def test_the_peers_do_the_same_work(capsys, monkeypatch, data, network):
    loop, top_k, masks = (
        told(capsys, monkeypatch, script, data, network, select)[0]["test_accuracy"]
        for script, select in (
            ("torch_loop", "top-k"),
            ("torch_func", "top-k"),
            ("torch_func", "masks"),
        )
    )
    assert loop == pytest.approx(top_k, abs=0.011)
    assert loop == pytest.approx(masks, abs=0.011)
    (ours,) = told(capsys, monkeypatch, "ours", data, network)
    assert 0.0 <= ours["test_accuracy"] <= 1.0


def test_the_floor_takes_turns_and_learns_nothing(capsys, monkeypatch, data):
    assert told(capsys, monkeypatch, "floor", data, "mlp") == []


def test_with_more_trials_turns_are_shorter():
    assert [steps_of("mlp", trials) for trials in (4, 16, 48)] == [39, 20, 6]
    assert steps_of("cnn1", 16) == 5


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """A peer that says at once that its turns took 12, 6, 3, ... seconds."""
    script = """import json, sys
print(json.dumps({"ready": True}), flush=True)
seconds = 12.0
for _ in sys.stdin:
    print(json.dumps({"seconds": seconds}), flush=True)
    seconds /= 2
if "--rate 0.5" in " ".join(sys.argv):
    print(json.dumps({"test_accuracy": 0.75}))
"""
    (tmp_path / "quick.py").write_text(script, encoding="utf-8")
    monkeypatch.setattr(bench_peers, "PEERS", tmp_path)
    return [Peer("quick", "quick"), Peer("quick", "quick", rate=0.3)]


def test_peers_are_measured_in_turns_after_the_first(quick, tmp_path):
    found = measure(quick, None, tmp_path, "mlp", 200, 2)
    assert found["seconds"] == {"quick": [3.0, 1.5], "quick, R = 0.3": [3.0, 1.5]}
    assert found["test_accuracy"] == {"quick": 0.75, "quick, R = 0.3": None}
    assert found["steps"] == 2


def test_a_peer_that_ends_is_no_measurement(tmp_path):
    with pytest.raises(RuntimeError, match="nobody has ended"):
        measure([Peer("nobody", "there_is_none")], None, tmp_path, "mlp", 1, 1)


def case(**seconds):
    """What was measured, in milliseconds, of ours and the others by label."""
    found = {label: [one / 1000] * 2 for label, one in seconds.items()}
    accuracy = {label: None if label.startswith(FLOOR) else 0.9 for label in seconds}
    return {"steps": 6, "seconds": found, "test_accuracy": accuracy}


OWN = f"{OURS}, R = 0.3"


def test_the_page_sets_them_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_peers, "RESULTS", tmp_path)
    cases = {
        "4": case(**{OURS: 10.0, OWN: 8.0, JAX_TOP_K.name: 12.5, f"{FLOOR}, R = 0.3": 6.4}),
        "16": case(**{OURS: 30.0, OWN: 21.0, JAX_TOP_K.name: 25.0, f"{FLOOR}, R = 0.3": 20.0}),
    }
    content = {"cases": {"mlp": cases}, "turns": 2, "hardware": "2 cores"}
    write_page(content | {"jax": "JAX 0.10.2", "commit": "abc"})
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "| s2e_optuna | 10.0 | 30.0 |  |  | 90.0 | 90.0 |" in page
    assert "| JAX, vmap, jit and scan; top-k | 12.5 | 25.0 | 0.80 | 1.20 | 90.0 | 90.0 |" in page
    assert "alone, R = 0.3 | 6.4 | 20.0 | 1.25 | 1.05 |  |  |" in page
    assert (
        "- ahead of JAX with top-k: P = 4 reached (0.80), P = 16 **not reached** (1.20)." in page
    )
    floor = (
        "- within 1.1 of the floor, R = 0.3: P = 4 **not reached** (1.25), P = 16 reached (1.05)."
    )
    assert floor in page
    assert "2 cores; JAX 0.10.2; commit abc." in page


def test_convolutions_shall_be_ahead_of_every_peer():
    assert verdicts("cnn1", {"4": case(**{OURS: 10.0, OWN: 8.0, "a": 20.0, "b": 12.5})}) == [
        "- ahead of every peer: P = 4 reached (0.80)."
    ]


def test_convolutions_have_no_floor():
    assert FLOOR in {peer.name for peer in peers_of("mlp", [0.5], jax=False)}
    assert FLOOR not in {peer.name for peer in peers_of("cnn1", [0.5], jax=False)}
