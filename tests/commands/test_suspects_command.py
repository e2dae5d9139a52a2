"""``s2e suspects``."""

import io
import json
from dataclasses import replace

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
from s2e_optuna.labels import LabelReport, Suspect, read_suspects, write_suspects

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
    assert "About 85 % of these are expected to be wrong." in text and "not known" not in text
    assert "How many of them are wrong is not known" in " ".join(printed(LIST).split())
    assert list_dict(with_chances(0.9, 0.8, 0.2, 0.1), top=1)["expected"]["wrong"] == 2
    assert "No label is more probably wrong" in printed(with_chances(0.4, 0.4, 0.2, 0.1))


REPORT = LabelReport(
    noise_rate=0.48,
    interval=(0.44, 0.52),
    least=0.45,
    classes=("cat", "dog", "cow"),
    by_class=(0.5, 0.4, None),
    by_class_interval=((0.4, 0.6), (0.3, 0.5), (None, None)),
    transition_matrix=((0.5, 0.5, 0.0), (0.4, 0.6, 0.0), (0.0, 0.0, 1.0)),
    transition_matrix_interval=(((0.0,) * 3,) * 3, ((1.0,) * 3,) * 3),
    not_judged=(),
    contradictions=0,
    expected_precision=0.91,
    expected_recall=0.8,
    clean=True,
    assumption="This is assumed.",
)


@pytest.mark.parametrize("name", ["comparison.json", "results.json"])
def test_what_the_search_has_said_of_all_labels_is_said_again(tmp_path, name):
    write_suspects(ROWS, tmp_path / "suspects.csv")
    content = {"labels": REPORT.to_dict()}
    (tmp_path / name).write_text(json.dumps(content))
    found = read_list(tmp_path)
    assert found.report == REPORT
    text = " ".join(printed(found).split())
    assert "About 48 % of the labels are wrong (44 to 52 %). About 91 % of those listed" in text
    assert "This is assumed." in text
    assert list_dict(found, top=1)["labels"] == content["labels"]
    chosen = printed(choose(found, ["cat"], []))
    assert "of the labels are wrong (44" not in chosen


@pytest.mark.parametrize("content", ["{", "{}", '{"labels": null}', '{"labels": {"least": 1}}'])
def test_results_of_earlier_versions_have_said_nothing(tmp_path, content):
    write_suspects(ROWS, tmp_path / "suspects.csv")
    (tmp_path / "comparison.json").write_text(content)
    assert read_list(tmp_path).report is None
