"""A column of true labels that is filled for a few rows: these count as checked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_folders import write_images

from s2e_optuna.data import NoisyData, load_data
from s2e_optuna.review.drawn import draw

ROWS = 100
FILLED = range(0, 60, 4)
"""Fifteen of a hundred rows; a part that is cut has twenty."""

NAMES = ("ant", "bee", "cow")


def given(row: int) -> str:
    return NAMES[row % 3]


def true(row: int) -> str:
    return NAMES[(row + (row % 8 == 0)) % 3]  # every other of those filled is wrong


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "rows.csv", FILLED)


def write_table(place: Path, filled: range, true: Callable[[int], str] = true) -> Path:
    lines = ["id,x,label,clean"]
    for row in range(ROWS):
        cells = (f"r{row}", row * 0.37 % 5, given(row), true(row) if row in filled else "")
        lines.append(",".join(map(str, cells)))
    place.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


def checked(data: NoisyData) -> dict[str, str]:
    """Return the names of the samples that are checked, with their classes."""
    assert data.val_checked is not None
    labels = zip(data.val_ids, data.val_checked.tolist(), strict=True)
    return {name: data.class_names[label] for name, label in labels if label >= 0}


def test_the_part_that_is_cut_holds_them_and_they_keep_their_given_labels(table: Path) -> None:
    data = load_data(table)
    assert checked(data) == {f"r{row}": true(row) for row in FILLED}
    assert data.validation == "noisy" and len(data.y_val) == 20 and len(data.y_train) == 80
    for name, label in zip(data.val_ids, data.y_val.tolist(), strict=True):
        assert data.class_names[label] == given(int(name[1:]))
    words = "\n".join(data.reading)
    assert "15 samples with a true label count as checked, as if drawn at random" in words
    assert "with --validation clean they alone validate" in words
    assert words.count("15 of the 20 validation labels checked, 8 of them wrong") == 1
    assert checked(load_data(table, validation="noisy")) == checked(data)


def test_the_rest_of_the_part_is_the_cut_of_any_search(table: Path) -> None:
    plain = load_data(write_table(table.with_name("plain.csv"), range(0)))
    data = load_data(table)
    others = set(data.val_ids) - set(checked(data))
    assert len(others) == 5 and others <= set(plain.val_ids)


def test_what_was_asked_for_or_cannot_be_a_draw_validates_alone(table: Path) -> None:
    clean = load_data(table, validation="clean")
    assert (clean.validation, len(clean.y_val), clean.val_checked) == ("clean", 15, None)
    wrong = write_table(table.with_name("wrong.csv"), FILLED, lambda row: NAMES[(row + 1) % 3])
    assert load_data(wrong).validation == "clean"  # only what was wrong is filled in
    many = write_table(table.with_name("many.csv"), range(30))
    assert load_data(many).validation == "clean"


def test_a_smaller_training_part_keeps_them(table: Path) -> None:
    data = load_data(table, train_size=80)
    assert len(checked(data)) == 15 and len(data.y_train) + len(data.y_val) == 80
    data = load_data(table, train_size=50)
    assert len(checked(data)) == len(data.y_val) == 10


def test_answers_of_a_file_join_them_and_count_more(table: Path) -> None:
    other = next(n for n in load_data(table).val_ids if int(n[1:]) not in FILLED)
    data = load_data(table, checked={other: "cow", "r0": "cow"})
    assert checked(data) == {**checked(load_data(table)), other: "cow", "r0": "cow"}
    assert "16 of the 20 validation labels checked" in "\n".join(data.reading)


def test_only_the_others_are_drawn_to_be_checked(table: Path) -> None:
    data = load_data(table)
    cards = draw(data, 20, 0)
    assert len(cards) == 5 and not {card.id for card in cards} & set(checked(data))


def test_a_folder_with_a_broken_image(tmp_path: Path) -> None:
    names = [f"{row:02}.png" for row in range(ROWS)]
    folder = write_images(tmp_path / "images", names)
    table = tmp_path / "t.csv"
    lines = [f"{names[r]},{given(r)},{true(r) if r in FILLED else ''}" for r in range(ROWS)]
    table.write_text("\n".join(["id,label,clean", *lines]))
    (folder / names[4]).write_bytes(b"no image")
    data = load_data(folder, labels=table, skip_broken=True, data_root=tmp_path / "root")
    assert checked(data) == {names[row]: true(row) for row in FILLED if row != 4}


def test_arrays_with_a_table_of_labels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((ROWS, 4, 4))
    np.savez(tmp_path / "a.npz", x_train=x, y_train=[given(row) for row in range(ROWS)])
    lines = [f"{given(r)},{true(r) if r in FILLED else ''}" for r in range(ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(["label,clean", *lines]))
    data = load_data(tmp_path / "a.npz", labels=tmp_path / "t.csv")
    assert checked(data) == {str(row): true(row) for row in FILLED}
    assert data.val_checked is not None and data.val_checked.dtype == torch.int64
