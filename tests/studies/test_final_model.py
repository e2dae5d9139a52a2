"""The study of the last step, at its smallest."""

import json

import pytest

from studies import final_model


def test_a_draw_is_made_once_and_stands_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(final_model, "RESULTS", tmp_path)
    monkeypatch.setattr(final_model, "EPOCHS", {"digits": 3})
    monkeypatch.setattr(final_model, "SEEDS", 1)
    monkeypatch.setattr(final_model, "FOLDS", 2)
    monkeypatch.setattr(final_model, "TASKS", {"digits, pair": ("digits", "pair", 0.4)})
    final_model.main(["pair", "--draws", "1"])
    stored = json.loads((tmp_path / "digits-pair.json").read_text("utf-8"))["draws"]["0"]
    assert list(stored["test_accuracy"]) == [
        *("standard", "linear", "clean_only", "coteaching_estimated", "posterior", "true")
    ]
    monkeypatch.setattr(final_model, "run", lambda *_: pytest.fail("made again"))
    final_model.main(["--draws", "1"])
    row = (tmp_path / "README.md").read_text("utf-8").split("| digits, pair |")[1].split("|")
    ours, baseline = (float(row[place]) for place in (4, 6))
    assert ours > baseline and row[8].strip() == "1"


def test_the_share_of_the_way_is_one_at_the_true_labels():
    draw = {"test_accuracy": {"plain": 0.6, "posterior": 0.9, "true": 0.9}, "baseline": "plain"}
    assert final_model.share_of_the_way([draw]) == pytest.approx(1.0)
