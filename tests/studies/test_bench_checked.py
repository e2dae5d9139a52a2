"""The study of checked labels, at its smallest."""

import json
from pathlib import Path

import pytest

from studies import bench_checked


def test_every_rule_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("RESULTS", tmp_path / "results"),
        ("RUNS", tmp_path / "runs"),
        ("EPOCHS", {"digits": 4}),
        ("SCHEDULES", 3),
        ("DRAWS", 1),
        ("CHECKED", (20, 50)),
    ):
        monkeypatch.setattr(bench_checked, name, value)
    bench_checked.main(["digits-sym50", "--seeds", "0"])
    content = json.loads((tmp_path / "results" / "digits-sym50.json").read_text(encoding="utf-8"))
    accuracy = content["test_accuracy"]
    assert accuracy["best"] >= accuracy[f"{bench_checked.EXPECTED}, 20"] > 0.1
    page = (tmp_path / "results" / "README.md").read_text(encoding="utf-8")
    assert "| expected accuracy (the product's) | 50 |" in page
    bench_checked.main(["digits-sym50", "--seeds", "0"])  # of what was kept: the same
    assert page == (tmp_path / "results" / "README.md").read_text(encoding="utf-8")
