"""``s2e suspects``."""

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from s2e_optuna.commands.suspects import (
    SuspectList,
    choose,
    list_dict,
    print_list,
    read_list,
    write_listed,
)
from s2e_optuna.errors import InputError
from s2e_optuna.labels import Suspect, read_suspects, write_suspects
from s2e_optuna.reporting.label_words import expected_words, result_words

ROWS = (
    Suspect("a[1].png", "cat", "dog", 0.95, 0.02, 0.9, 0.1, "dog"),
    Suspect("b.png", "dog", "cat", 0.9, 0.05, 0.9, 0.2, "dog"),
    Suspect("c.png", "cat", "cow", 0.7, 0.2, 0.6, None, "cow"),
    Suspect("d.png", "cow", "cow", 0.1, 0.9, 0.9, 0.9, "cow"),
)
LIST = SuspectList("here", ROWS, ROWS)


def printed(found: SuspectList, width: int = 80, top: int = 20) -> str:
    stream = io.StringIO()
    print_list(Console(file=stream, width=width), found, top=top)
    return stream.getvalue()


def test_what_is_printed():
    text = printed(LIST)
    assert "3 of 4 labels look wrong" in text and "66.7 % of them are wrong" in text
    assert "100.0 % of the 2 wrong labels" in text
    assert "a[1].png" in text and "Suspicious labels: given (rows)" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "b.png" not in printed(LIST, top=1)


def test_many_classes_are_printed_as_pairs():
    rows = tuple(Suspect(str(i), f"c{i}", f"c{(i + 1) % 40}", 0.9, 0.0, 0.9) for i in range(40))
    text = printed(SuspectList("here", rows, rows))
    assert "the most frequent pairs" in text and "Known truth" not in text


def test_classes_are_chosen():
    found = choose(LIST, ["cat"], ["cow", "dog"])
    assert [row.id for row in found.rows] == ["a[1].png", "c.png"]
    with pytest.raises(InputError, match="no sample has the predicted class 'x': choose cat"):
        choose(LIST, [], ["x"])


def test_the_suspicious_ones_are_written(tmp_path):
    write_listed(choose(LIST, ["cat", "cow"], []), tmp_path / "out.csv")
    assert [row.id for row in read_suspects(tmp_path / "out.csv")] == ["a[1].png", "c.png"]


def test_a_folder_or_its_file_is_read(tmp_path):
    write_suspects(ROWS, tmp_path / "suspects.csv")
    assert read_list(tmp_path).rows == read_list(tmp_path / "suspects.csv").rows
    with pytest.raises(InputError, match="there is no list of suspects"):
        read_list(tmp_path / "nowhere")


def test_for_programs():
    content = json.loads(json.dumps(list_dict(LIST, top=1), allow_nan=False))
    assert (content["listed"], content["quality"]["wrong"]) == (3, 2)
    assert content["top"][0]["listed"] is True and len(content["top"]) == 1
    assert {"given": "cat", "predicted": "dog", "count": 1} in content["pairs"]


def with_chances(*chances: float) -> SuspectList:
    rows = [replace(row, wrong_probability=p) for row, p in zip(ROWS, chances, strict=True)]
    return SuspectList("here", tuple(rows), tuple(rows))


def test_a_list_says_how_good_it_should_be():
    text = " ".join(printed(with_chances(0.9, 0.8, 0.2, 0.1)).split())
    assert "2 of 4 labels look wrong" in text and "p(wrong)" in text
    assert "About 85 % of these are expected to be wrong; about 2 of all 4 labels (50 %)" in text
    assert "good enough" not in text and "not known" not in text
    assert "takes the labels of the validation part to be right" in text
    assert "How many of them are wrong is not known" in " ".join(printed(LIST).split())
    assert list_dict(with_chances(0.9, 0.8, 0.2, 0.1), top=1)["expected"]["wrong"] == 2


def test_a_poor_list_says_so():
    text = " ".join(printed(with_chances(0.51, 0.49, 0.4, 0.4)).split())
    assert "not good enough to name most" in text and "look at them before you change" in text
    assert "or labels of the validation part are wrong, too (then --validation noisy)" in text
    assert "None is more probably wrong than right" in expected_words(0, 100, 20.0, None, None)
    assert expected_words(0, 100, 0.4, None, None).startswith("No label is expected")


@pytest.mark.parametrize(
    ("validation", "folds", "words"),
    [
        ("noisy", 5, "cut from the same noisy data"),
        ("clean", 0, "takes a cross-validation"),
        ("clean", 5, "20 clean validation samples of each class"),
    ],
)
def test_a_search_says_why_it_cannot_tell(validation, folds, words):
    config = SimpleNamespace(folds=folds)
    result = SimpleNamespace(suspects_quality={}, validation=validation, config=config)
    assert words in result_words(result)


def test_a_search_says_how_good_its_list_should_be():
    expected = {"expected_wrong": 30.0, "expected_precision": 0.75, "expected_recall": 0.8}
    quality = {"listed": 32, "samples": 300, **expected}
    words = result_words(SimpleNamespace(suspects_quality=quality))
    assert words.startswith("About 75 % of these are expected to be wrong; about 30 of all 300")
