"""Labels that somebody has checked: read, tied to samples, and what is wrong with them."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2e_optuna.data import DataSpec, NoisyData, from_arrays, load_data
from s2e_optuna.data.fingerprint import differences, fingerprint
from s2e_optuna.errors import DataError


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 3)), np.arange(60) % 3


def read(arrays: tuple[np.ndarray, np.ndarray], checked: Any = None) -> NoisyData:
    x, y = arrays
    return from_arrays(x, y, ids=[f"s{i}" for i in range(60)], checked=checked)


def test_all_ways_to_give_them_are_the_same(
    tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    names = read(arrays).val_ids[:6]
    labels = [0, 1, 2, 0, 1, 2]
    file = tmp_path / "checked.csv"
    rows = "".join(f"{n},{k}\n" for n, k in zip(names, labels, strict=True))
    file.write_text(f"id,label\n{rows}{read(arrays).val_ids[7]},\n", encoding="utf-8")
    for given in (str(file), dict(zip(names, labels, strict=True)), (names, labels)):
        data = read(arrays, given)
        assert data.val_checked is not None
        assert data.val_checked.tolist()[:8] == [*labels, -1, -1]  # nothing said: not checked
        assert "6 of the 12 validation labels checked" in data.reading[-1]


def test_samples_without_names_go_by_their_numbers(
    arrays: tuple[np.ndarray, np.ndarray],
) -> None:
    plain = load_data(arrays)
    chosen = [int(name) for name in plain.val_ids[:5]]
    data = load_data(arrays, checked={row: int(arrays[1][row]) for row in chosen})
    assert data.val_checked is not None
    assert data.val_checked[:5].tolist() == plain.y_val[:5].tolist()


def test_what_is_odd_is_said_and_nothing_is_lost(
    arrays: tuple[np.ndarray, np.ndarray],
) -> None:
    plain = read(arrays)
    a, b, *_ = plain.val_ids
    data = read(arrays, ([a, a, b, plain.ids[0], "nobody"], [0, 1, 1, 2, 2]))
    assert data.val_checked is not None
    assert data.val_checked[:2].tolist() == [1, 1]
    said = " ".join(data.reading)
    for words in (
        f"1 sample ({a}) checked twice",
        "1 checked sample (nobody) not in the data",
        "1 checked sample of the training part not used",
        "2 checked labels say little",
    ):
        assert words in said
    same = read(arrays, (plain.val_ids[:6], [1] * 6))
    assert "all 6 checked samples are of the class 1" in same.reading[-1]


@pytest.mark.parametrize(
    ("checked", "words"),
    [
        ({"nobody": 1}, "is in the validation part"),
        (3, "a file, a mapping"),
        ((["a"], [1, 2]), "differ in number"),
        ("there-is-none.csv", "there is no file"),
    ],
)
def test_what_cannot_be_used_is_refused(
    arrays: tuple[np.ndarray, np.ndarray], checked: Any, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        read(arrays, checked)


def test_a_label_must_be_a_class(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(DataError, match="'zebra', which is no class"):
        read(arrays, {read(arrays).val_ids[0]: "zebra"})


def test_a_file_needs_its_columns(tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    file = tmp_path / "checked.csv"
    file.write_text("name,answer\na,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="needs id and label"):
        read(arrays, file)


def test_a_clean_part_needs_no_checked_labels() -> None:
    with pytest.raises(DataError, match="count as right"):
        load_data("digits", checked={"0": 1})


def test_changed_answers_are_a_change_of_the_data(
    tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    names = read(arrays).val_ids[:6]
    seen = [
        fingerprint(read(arrays, checked), tmp_path)
        for checked in (None, dict.fromkeys(names, 1), dict.fromkeys(names, 2))
    ]
    told = "other validation labels are checked"
    for before, now in pairwise(seen):
        assert told in str(differences(before, now))
        assert told in str(differences(replace(before, samples=None), now))


def test_settings_are_stored_as_json(tmp_path: Path) -> None:
    asked = DataSpec(checked={3: "a", 4: 1})
    stored = json.loads(json.dumps(asked.settings()))
    assert stored["checked"] == {"3": "a", "4": "1"}
    assert DataSpec.from_settings(stored).settings() == asked.settings()
    assert DataSpec(checked="checked.csv").settings()["checked"].endswith("/checked.csv")
