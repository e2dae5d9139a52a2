from pathlib import Path

import pytest

from studies import bench_dashboard


def test_the_benchmark_of_the_dashboard_writes_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_dashboard, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(bench_dashboard, "CACHE_SECONDS", 0.0)
    monkeypatch.setattr("sys.argv", ["bench_dashboard", "--sizes", "12", "--no-browser"])
    bench_dashboard.main()
    page = (tmp_path / "results" / "README.md").read_text(encoding="utf-8")
    assert "| 12 |" in page and "| raw |" in page and "| cached |" in page
    assert "picture and table, uploaded" in page
