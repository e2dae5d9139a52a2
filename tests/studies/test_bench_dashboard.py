from pathlib import Path

import pytest

from s2e_optuna.objective import artifacts
from studies import bench_dashboard

OPTIONS = "--sizes 12 --no-browser --epochs 2 --repeats 1"


def test_the_benchmark_of_the_dashboard_writes_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_dashboard, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(bench_dashboard, "CACHE_SECONDS", 0.0)
    monkeypatch.setattr(bench_dashboard, "alone", lambda call, *arguments: call(*arguments))
    monkeypatch.setattr(artifacts, "trial_picture", artifacts.trial_picture)  # is replaced
    monkeypatch.setattr("sys.argv", ["bench_dashboard", *OPTIONS.split()])
    bench_dashboard.main()
    page = (tmp_path / "results" / "README.md").read_text(encoding="utf-8")
    assert "| 12 |" in page and "| stock |" in page and "| s2e |" in page
    assert "picture and table, uploaded" in page and "| 2 |" in page
