"""The study of checked labels, at its smallest."""

import json
from pathlib import Path

import numpy as np
import pytest

from studies import bench_checked
from studies.settings import StudyError


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
    assert 0.1 < accuracy[f"{bench_checked.MISTAKEN}, 20"] <= accuracy["best"]
    page = (tmp_path / "results" / "README.md").read_text(encoding="utf-8")
    assert "| expected accuracy (the product's) | 50 |" in page
    assert "| the product's, 5% of the answers wrong | 50 |" in page
    bench_checked.main(["digits-sym50", "--seeds", "0"])  # of what was kept: the same
    assert page == (tmp_path / "results" / "README.md").read_text(encoding="utf-8")


def test_a_person_who_is_wrong_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    true, given = rng.integers(0, 3, (2, 4000))
    found = {"true": true, "given": given, "validation": np.empty((0, 4000, 3))}
    said = bench_checked.answered(found, 0, 0)["true"]
    mistakes = said != true
    assert mistakes.mean() == pytest.approx(0.05, abs=0.01)
    overlooked = mistakes & (given != true)
    assert (said[overlooked] == given[overlooked]).all() and overlooked.any()
    monkeypatch.setattr(bench_checked, "MISTAKES", 0.0)
    assert (bench_checked.answered(found, 0, 0)["true"] == true).all()


def test_human_labels_come_with_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_checked, "TRAINING", 40)
    monkeypatch.setattr(bench_checked, "VALIDATION", 10)
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    some = {"x_train": rng.random((60, 5), np.float32), "x_test": rng.random((9, 5), np.float32)}
    given = np.where(np.arange(60) < 12, (labels + 1) % 3, labels)
    np.savez(tmp_path / "f.npz", y_clean=labels, y_worst=given, y_test=labels[:9], **some)
    sources = bench_checked.Sources(features=tmp_path / "f.npz")
    data = bench_checked.task_data("cifar-worst", sources, 1)
    assert (len(data.y_train), len(data.y_val), data.validation) == (40, 10, "noisy")
    assert data.y_val_clean is not None and data.y_clean is not None
    wrong = (data.y_train != data.y_clean).sum() + (data.y_val != data.y_val_clean).sum()
    assert 0 < wrong <= 12
    with pytest.raises(StudyError, match="--features"):
        bench_checked.task_data("cifar-worst", bench_checked.Sources(), 1)


def test_confident_learning_leaves_what_no_class_contradicts() -> None:
    given = np.array([0, 0, 1, 1, 1])
    sure = np.array([0.9, 0.2, 0.1, 0.4, 0.95])  # of class 0
    kept = bench_checked.confident_labels(np.stack([sure, 1 - sure], axis=1), given)
    # Means of their own label are 0.55 and 0.52: the second and the last go elsewhere.
    assert kept.tolist() == [True, False, True, True, False]
