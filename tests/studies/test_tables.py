"""The study of tables, without its searches, and what stands beside a search."""

import csv
import zipfile

import pytest

from s2e_optuna.data import load_data
from s2e_optuna.training import TrainConfig
from studies import label_peers, tables
from studies.frame import main


def test_every_draw_is_searched_once_and_shown(tmp_path, monkeypatch):
    seen = []

    def searched(table, rate, seed, frame, folder):
        with table.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        parts = [row["split"] for row in rows]
        sizes = [parts.count(part) for part in ("train", "val", "test")]
        seen.append((folder.name.split("-")[0], sizes, len(set(row["label"] for row in rows))))
        accuracies = {"standard": [0.8, 0.9], "s2e": [0.9], "clean_learning": [0.7]}
        return {"accuracies": accuracies, "cleanlab": "2", "hardware": "h", "commit": "c"}

    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        lines = [f"{i},{'abc'[i % 3]}" for i in range(20)]
        archive.writestr("s.csv", "\n".join(["n,category", *lines]))
    given = {"breast_cancer": (9, 5, 6), "segments": (10, 5, 5)}
    scale = tables.Scale(given, (0.2, 0.4), 2, 1, 1, 1)
    monkeypatch.setattr(tables, "search", searched)
    monkeypatch.setitem(tables.SCALES, "small", scale)
    words = ["--scale", "small", "--runs", str(tmp_path), "--results", str(tmp_path), "--data"]
    main(tables.STUDY, [*words, f"segments={tmp_path / 's.zip'}"])
    assert seen[::4] == [("breast_cancer", [9, 5, 6], 2), ("segments", [10, 5, 5], 3)]
    page = (tmp_path / "tables" / "README.md").read_text()
    assert "| segments, 40% | 10/5/5 | 85.00 ± 0.00 | 90.00 ± 0.00 | 70.00 ± 0.00 |" in page
    assert "cleanlab 2." in page
    main(tables.STUDY, [*words, f"segments={tmp_path / 's.zip'}"])
    assert len(seen) == 8
    (tmp_path / "tables" / "README.md").unlink()
    with pytest.raises(SystemExit, match="2"):
        main(tables.STUDY, ["--scale", "paper", "--runs", str(tmp_path / "other")])


def test_training_on_the_true_labels_and_no_cleanlab(monkeypatch):
    monkeypatch.delenv(label_peers.PYTHON, raising=False)
    data = load_data("digits", noise="symmetric", noise_rate=0.5, train_size=200)
    config = TrainConfig(epochs=3, network="mlp", device="cpu", batch_size=16)
    found = label_peers.peers(data, config, [1])
    assert list(found["accuracies"]) == ["true_labels"]
    assert found["accuracies"]["true_labels"][0] > 0.6
