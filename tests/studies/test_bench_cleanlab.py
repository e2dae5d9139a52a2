"""The study beside cleanlab, at its smallest and without cleanlab."""

from pathlib import Path

import numpy as np
import pytest

from studies import bench_cleanlab


def self_confidence(python, labels, arrays):
    rows = np.arange(len(labels))
    return "0", {f"{name}/own/False": array[rows, labels] for name, array in arrays.items()}


def test_both_are_given_the_same_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_cleanlab, "RESULTS", tmp_path)
    monkeypatch.setattr(bench_cleanlab, "EPOCHS", {"digits": 4})
    monkeypatch.setattr(bench_cleanlab, "SEEDS", (1,))
    monkeypatch.setattr(bench_cleanlab, "TASKS", {"easy": ("digits", "symmetric", 0.3)})
    monkeypatch.setattr(bench_cleanlab, "of_cleanlab", self_confidence)
    monkeypatch.setattr("sys.argv", ["bench_cleanlab", "--cleanlab", "python"])
    bench_cleanlab.main()
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    numbers = [float(cell) for cell in page.split("| easy |")[1].split("\n")[0].split("|")[:-1]]
    assert len(numbers) == 8 and min(numbers[:6]) > 0.6  # a random order has 0.3
    assert numbers[6] == pytest.approx(numbers[5] - max(numbers[0], numbers[2]), abs=2e-3)
