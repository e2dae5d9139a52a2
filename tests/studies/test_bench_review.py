from pathlib import Path

import pytest

from studies import bench_review


def test_the_benchmark_of_a_review_writes_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_review, "RESULTS", tmp_path / "results")
    monkeypatch.setattr("sys.argv", ["bench_review", "--samples", "200", "--repeats", "2"])
    bench_review.main()
    page = (tmp_path / "results" / "README.md").read_text(encoding="utf-8")
    assert "200 suspects" in page and "| the whole first card | " in page
    assert "| teaching | " in page and "Largest memory of the server: " in page
