"""The study of the scores of suspects, at its smallest."""

import json
from pathlib import Path

import pytest

from studies import bench_suspects


def test_scores_of_suspects_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_suspects, "RESULTS", tmp_path)
    monkeypatch.setattr(bench_suspects, "DIGITS_EPOCHS", 8)
    monkeypatch.setattr(bench_suspects, "SEEDS", (1, 2))
    monkeypatch.setattr("sys.argv", ["bench_suspects", "digits-sym10"])
    bench_suspects.main()
    content, other = json.loads((tmp_path / "digits-sym10.json").read_text(encoding="utf-8"))
    assert other["task"] == "digits-sym10, keeps all"
    chosen = content["scores"][bench_suspects.CHOSEN]
    assert chosen["average_precision"] > content["noise_rate"] * 3  # far above a random order
    assert "| digits-sym10, keeps all |" in (tmp_path / "README.md").read_text(encoding="utf-8")
