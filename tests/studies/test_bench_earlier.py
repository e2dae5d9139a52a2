"""A search beside the same one by an earlier version: what is handed to both, and the page."""

import sys

import numpy as np

from studies import bench_earlier


def test_both_get_the_same_arrays_and_stand_side_by_side(tmp_path, monkeypatch):
    arrays = {f"x_{part}": np.ones((4, 3)) for part in ("train", "val", "test")}
    labels = {f"y_{name}": np.arange(4) for name in ("val", "test", "clean", "worst")}
    np.savez(tmp_path / "features.npz", **arrays, **labels)
    asked = []

    def run(code, given, job):
        with np.load(given) as file:
            asked.append((code.name, sorted(file)))
        taken = {"seconds": 8.0, "processor_seconds": 10.0, "error": 0.25, "commit": "abc"}
        return taken if code == tmp_path else taken | {"seconds": 2.0, "error": 0.24}

    monkeypatch.setattr(bench_earlier, "run", run)
    monkeypatch.setattr(bench_earlier, "_adopt", lambda: None)
    monkeypatch.setattr(bench_earlier, "FOLDER", tmp_path / "results")
    words = f"bench_earlier --earlier {tmp_path} --data {tmp_path / 'features.npz'}"
    monkeypatch.setattr(sys, "argv", words.split())
    bench_earlier.main()
    names = ["x_test", "x_train", "x_val", "y_clean", "y_test", "y_train", "y_val"]
    assert [one[1] for one in asked] == [names, names] and asked[1][0] == tmp_path.name
    page = (tmp_path / "results" / "README.md").read_text(encoding="utf-8")
    assert "| worst | share | 0.25 | 1.00 | -0.0100 |" in page and "4 x 3 numbers" in page
