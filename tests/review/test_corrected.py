"""Lists become cards, and decisions about them labels, checked labels, a folder, a table."""

import csv
from pathlib import Path

import numpy as np
import pytest
from lists import HEADER, write_list
from small_folders import CLASSES, label_by_number, write_class_folders

from s2e_optuna.data import load_data
from s2e_optuna.data.feature_tables import named_rows
from s2e_optuna.errors import DataError, InputError
from s2e_optuna.review.cards import NONE, read_cards
from s2e_optuna.review.corrected import (
    GIVEN,
    PERSON,
    POSTERIOR,
    Corrected,
    copy_with_links,
    correct,
    decided_before,
    drawn_at_random,
    random_order,
    write_checked,
    write_labels,
    write_table,
)
from s2e_optuna.review.decisions import Decision, DecisionFile
from s2e_optuna.review.session import Review, View


def decided(**labels: str | None) -> dict[str, Decision]:
    return {name: Decision(name, "?", label) for name, label in labels.items()}


def test_a_list_becomes_arrays(tmp_path: Path) -> None:
    cards = read_cards(write_list(tmp_path / "suspects.csv"))
    assert cards.class_names == ("ant", "bee", "cow") and len(cards) == 12
    assert cards.given[:4].tolist() == [0, 1, 2, 0] and cards.proposed[:2].tolist() == [1, 2]
    assert cards.are_probabilities and cards.listed.sum() == 8 and not cards.texts


def test_a_list_of_another_program_needs_two_columns(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("ID,label,text,score\n1,10,too good,.2\n0,9,bad <b>,.9\n", encoding="utf-8")
    cards = read_cards(path)
    assert cards.class_names == ("9", "10") and list(cards.texts) == ["too good", "bad <b>"]
    assert cards.proposed.tolist() == [NONE, NONE] and cards.listed.all()
    assert not cards.are_probabilities and cards.has_scores
    path.write_text("id,given,size,colour\n1,a,3,red\n", encoding="utf-8")
    assert list(read_cards(path).texts) == ["size: 3, colour: red"]
    assert not read_cards(path).has_scores


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column id"),
        ("id,given_label\n", "is empty"),
        ("id,x\n1,2\n", "no column given_label"),
        ("id,given_label\n1,a\n1,b\n", "names a sample twice"),
        ("id,given_label\n1,\n", "no given label for 1"),
        ("id,given_label\n1\n", "as many cells in each line"),
        ("id,given_label,score\n1,a,x\n", "holds no numbers"),
        ("id,given_label,score\n1,a,7\n", "goes beyond 0 and 1"),
        ("id,given_label,score\n1,a,nan\n", "goes beyond 0 and 1"),
    ],
)
def test_what_is_no_list_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_cards(path)


def test_everybody_who_decides_is_named(tmp_path: Path) -> None:
    cards = read_cards(write_list(tmp_path / "suspects.csv"))
    decisions = decided(s00="bee", s01="bee", s02=None, s11="cow")
    rows = {row[0]: row[1:] for row in correct(cards, decisions).rows}
    assert rows["s00"] == ("bee", "ant", PERSON)
    assert rows["s01"] == ("bee", "bee", PERSON)  # right
    assert rows["s02"] == ("", "cow", PERSON)  # nobody could say: dropped
    assert rows["s03"] == ("ant", "ant", GIVEN)
    del decisions["s01"]
    found = correct(cards, decisions, posterior_above=0.65, keep_unclear=True)
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["s02"] == ("cow", "cow", PERSON)
    assert rows["s03"] == ("bee", "ant", POSTERIOR) and rows["s04"][2] == GIVEN
    assert found.words == (
        "Of 12 labels 9 kept (2 of them confirmed), 1 relabelled by a person, 2 by the "
        "posterior, 0 dropped."
    )


def test_decisions_calibrate_what_the_posterior_decides(tmp_path: Path) -> None:
    """Three that were right of three make the fourth less sure: .725 is no longer above .7."""
    cards = read_cards(write_list(tmp_path / "suspects.csv"))
    assert correct(cards, {}, posterior_above=0.7).relabelled(POSTERIOR) == 4
    right = decided(s00="ant", s01="bee", s02="cow")
    assert correct(cards, right, posterior_above=0.7).relabelled(POSTERIOR) == 0


def test_what_was_decided_before_holds_and_keeps_the_first_label(tmp_path: Path) -> None:
    first, labels = read_cards(write_list(tmp_path / "suspects.csv")), tmp_path / "labels.csv"
    write_labels(correct(first, decided(s00="bee", s01="bee", s02=None)), labels)
    before = decided_before(labels)
    assert before == {
        "s00": Decision("s00", "ant", "bee"), "s01": Decision("s01", "bee", "bee")
    }  # fmt: skip
    again = tmp_path / "again.csv"
    again.write_text(f"{HEADER}\ns00,bee,cow,0.9,yes\ns01,bee,cow,0.8,yes\n", encoding="utf-8")
    cards = read_cards(again)
    rows = correct(cards, decided(s01="cow"), before, posterior_above=0.5).rows
    assert rows == (("s00", "bee", "ant", PERSON), ("s01", "cow", "bee", PERSON))
    with DecisionFile(tmp_path / "decisions.jsonl") as file:
        review = Review(cards, file, before)
        assert review.next_card(View(), "me") is None and review.trusted()[0].all()
    assert decided_before(tmp_path / "nowhere.csv") == decided_before(again) == {}


def test_the_order_at_random_is_the_same_whatever_else_is_in_the_list() -> None:
    ids = [str(i) for i in range(300)]
    order = [ids[i] for i in random_order(ids)]
    fewer = ids[::-2]
    assert [fewer[i] for i in random_order(fewer)] == [one for one in order if one in fewer]
    half = np.array([int(one) for one in order[:150]])
    assert 130 < half.mean() < 170  # has nothing to do with where they stand
    assert drawn_at_random(ids, order[:20]) == order[:20]
    assert drawn_at_random(ids, [*order[:20], *order[21:40]]) == order[:20]
    assert drawn_at_random(ids, order[1:40]) == []


def test_labels_are_those_that_a_search_takes(tmp_path: Path) -> None:
    """Of numbered samples, too, where the first one is dropped: they are counted from 0."""
    x, path = np.arange(40.0).reshape(20, 2), tmp_path / "labels.csv"
    for names in ([str(i) for i in range(20)], [f"photo {i}" for i in range(20)]):
        given = [CLASSES[i % 3] for i in range(20)]
        rows = [(n, g, g, GIVEN) for n, g in zip(names, given, strict=True)]
        rows[0] = (names[0], "", given[0], PERSON)
        rows[1] = (names[1], "cow", given[1], PERSON)
        write_labels(Corrected(tuple(rows)), path)
        with path.open(encoding="utf-8") as file:
            assert next(csv.reader(file)) == ["id", "label", "given_label", "decided_by"]
        arrays = tmp_path / "arrays.npz"
        np.savez(arrays, x_train=x, y_train=np.array(given), ids=np.array(names))
        data = load_data(arrays, labels=path, validation="noisy")
        samples = data.labelled_samples()
        found = {n: data.class_names[k] for n, k in zip(samples.ids, samples.given, strict=True)}
        assert found == {name: label for name, label, _, _ in rows[1:]}


def test_checked_labels_say_what_was_looked_at(tmp_path: Path) -> None:
    """With the corrected ones in the data no label would look wrong."""
    cards = read_cards(write_list(tmp_path / "suspects.csv", 60))
    decisions = {
        n: Decision(n, CLASSES[i % 3], CLASSES[i // 2 % 3]) for i, n in enumerate(cards.ids)
    }
    labels, checked = tmp_path / "labels.csv", tmp_path / "checked.csv"
    corrected = correct(cards, decisions)
    write_labels(corrected, labels)
    write_checked(cards.ids[:50], decisions, {}, checked)
    x = tmp_path / "x.npz"
    given = np.array([row[2] for row in corrected.rows])
    np.savez(x, x_train=np.eye(60), y_train=given, ids=np.array(cards.ids))
    data = load_data(x, labels=labels, validation="noisy", checked=checked)
    before = {row[0]: row[2] for row in corrected.rows}
    assert data.val_checked is not None
    for name, label, true in zip(data.val_ids, data.y_val, data.val_checked, strict=True):
        if true >= 0:
            assert data.class_names[label] == before[name]
            assert data.class_names[true] == decisions[name].label
    assert not any("0 of them wrong" in words for words in data.reading)


def test_checked_labels_stand_for_those_that_the_posterior_decides(tmp_path: Path) -> None:
    checked = tmp_path / "checked.csv"
    decisions = {n: Decision(n, "ant", "bee") for n in ("s00", "s01")}
    write_checked(["s00", "s01"], decisions, {"s00": "bee", "s09": "cow"}, checked)
    assert checked.read_text() == "id,label,given_label\ns00,bee,bee\ns01,bee,ant\n"


def test_a_copy_with_links_is_a_folder_that_is_read(tmp_path: Path) -> None:
    data = tmp_path / "photos"
    write_class_folders(data / "train", 12)
    write_class_folders(data / "val", 6, first=50)
    names = [f"train/{CLASSES[i % 3]}/{i:02}.png" for i in range(12)]
    rows = [(name, CLASSES[i % 3], CLASSES[i % 3], GIVEN) for i, name in enumerate(names)]
    rows[0] = (names[0], "cow", "ant", PERSON)
    rows[1] = (names[1], "", "bee", PERSON)
    target = tmp_path / "corrected"
    assert copy_with_links(Corrected(tuple(rows)), data, target) == 11
    found = load_data(target)
    assert label_by_number(found) == {
        0: "cow", **{i: CLASSES[i % 3] for i in range(2, 12)}
    }  # fmt: skip
    assert len(found.y_val) == 6 and (target / "val").is_symlink()
    with pytest.raises(InputError, match="is there already"):
        copy_with_links(Corrected(tuple(rows)), data, target)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "ant/../../secret.png", "no"])
def test_nothing_outside_the_folder_is_linked(tmp_path: Path, name: str) -> None:
    data = write_class_folders(tmp_path / "photos", 3)
    (tmp_path / "secret.png").write_bytes(b"secret")
    with pytest.raises(InputError, match="has no image"):
        copy_with_links(Corrected(((name, "ant", "ant", GIVEN),)), data, tmp_path / "copy")
    with pytest.raises(InputError, match="cannot be a folder"):
        row = ("ant/00.png", "../bee", "ant", PERSON)
        copy_with_links(Corrected((row,)), data, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_files_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    data = tmp_path / "photos"
    for folder in ("ant", "bee"):
        (data / folder).mkdir(parents=True)
        (data / folder / "1.png").write_text(folder)
    rows = (("ant/1.png", "ant", "ant", GIVEN), ("bee/1.png", "ant", "bee", PERSON))
    copy_with_links(Corrected(rows), data, tmp_path / "copy")
    found = sorted(path.read_text() for path in (tmp_path / "copy/train/ant").iterdir())
    assert found == ["ant", "bee"]


def test_a_table_gets_its_labels_in_its_column(tmp_path: Path) -> None:
    path, target = tmp_path / "table.csv", tmp_path / "new.csv"
    path.write_text("id,label,x\na,cat,1\nb,dog,2\nc,dog,3\n", encoding="utf-8")
    columns = dict.fromkeys(("path_column", "label_column", "clean_column", "split_column"))
    table = named_rows(path, columns)
    rows = (("a", "dog", "cat", PERSON), ("b", "", "dog", PERSON))
    write_table(Corrected(rows), table, target)
    assert target.read_text() == "id,label,x\na,dog,1\nc,dog,3\n"
    with pytest.raises(InputError, match="none of the list's samples"):
        write_table(Corrected((("z", "dog", "cat", PERSON),)), table, target)
    with pytest.raises(DataError, match="no column 'y'"):
        named_rows(path, {**columns, "label_column": "y"})
