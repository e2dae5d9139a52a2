"""The trainer's peers train the same task, and stand on one page."""

import json
import runpy

import numpy as np
import pytest

from studies import bench_peers
from studies.bench_peers import ALL, PEERS, SAMPLES, TEST, key_of, write_page, write_task


@pytest.fixture
def data(tmp_path):
    """A task of three classes that are easily told, the half of whose labels is wrong."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=200)
    images = rng.integers(60, size=(200, 6, 6)).astype(np.uint8)
    images[np.arange(200), labels // 2, labels % 2] = 255
    path = tmp_path / "source.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images[:50], y_test=labels[:50])
    write_task(path, tmp_path / "task.npz")
    return tmp_path / "task.npz"


def told(capsys, monkeypatch, script, data, select="top-k"):
    """Run a peer's script here, and return what it prints."""
    words = [str(data), "--select", select, "--trials", "2", "--epochs", "3", "--batch-size", "20"]
    monkeypatch.setattr("sys.argv", [script, *words])
    monkeypatch.syspath_prepend(str(PEERS))
    runpy.run_path(str(PEERS / f"{script}.py"))
    return json.loads(capsys.readouterr().out)


def test_the_task_has_the_share_of_wrong_labels_that_the_page_says(data):
    with np.load(data) as task:
        assert task["x_train"].shape == (200, 6, 6) and SAMPLES > 200 and TEST > 50
        source = np.load(data.with_name("source.npz"))
        assert (task["y_train"] != source["y_train"]).mean() == pytest.approx(0.5, abs=0.1)


def test_the_peers_do_the_same_work(capsys, monkeypatch, data):
    loop, top_k, masks = (
        told(capsys, monkeypatch, *asked)
        for asked in (
            ("torch_loop", data),
            ("torch_func", data),
            ("torch_func", data, "masks"),
        )
    )
    assert loop["test_accuracy"] == pytest.approx(top_k["test_accuracy"], abs=0.011)
    assert loop["test_accuracy"] == pytest.approx(masks["test_accuracy"], abs=0.011)
    assert len(loop["seconds"]) == 3
    ours = told(capsys, monkeypatch, "ours", data)
    assert len(ours["seconds"]) == 3 and 0.0 <= ours["test_accuracy"] <= 1.0
    floor = told(capsys, monkeypatch, "floor", data)
    assert floor["seconds"] == [pytest.approx(10 * sum(list(floor.values())[:3]) / 1000)]


def test_the_page_sets_them_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_peers, "RESULTS", tmp_path)
    seconds = {peer.name: [float(2 * place + 1)] * 2 for place, peer in enumerate(ALL)}
    accuracy = {peer.name: 0.9 for peer in ALL[:-1]}
    keys = key_of(4, 0.5), key_of(16, 0.3)
    content = {"seconds": dict.fromkeys(keys, seconds), "epochs": 3, "rounds": 2}
    content |= {"test_accuracy": dict.fromkeys(keys, accuracy), "hardware": "2 cores"}
    write_page(content | {"jax": "JAX 0.10.2", "commit": "abc"})
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "| P = 4: s an epoch | P = 16, R = 0.3: s an epoch |" in page
    assert "| s2e_optuna | 1.00 | 1.00 |  |  | 90.0 |" in page
    assert "| JAX, vmap, jit and scan; top-k | 3.00 | 3.00 | 0.33 | 0.33 | 90.0 |" in page
    assert "2 cores; JAX 0.10.2; commit abc." in page
