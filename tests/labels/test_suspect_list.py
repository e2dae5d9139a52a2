"""The list of suspects and its file."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from s2e_optuna.errors import DataError
from s2e_optuna.labels import (
    Suspect,
    expectation,
    read_suspects,
    suspect_quality,
    write_suspects,
)
from s2e_optuna.labels.suspect_list import average_precision

ROWS = (
    Suspect("d/0.png", "cat", 'b, "c"', 0.9, 0.1, 0.8, 0.2, 'b, "c"', 0.9, True, "d/2.png"),
    Suspect("d/1.png", "é", "cat", 0.7, 0.45, 0.5, None, "é", 0.55, False),
    Suspect("d/2.png", 'b, "c"', "cat", 0.3, 0.8, 0.1, 0.75, "cat", 0.2, False, "d/0.png"),
)


def test_a_label_is_listed_as_somebody_has_said():
    row = Suspect("a", "x", "y", 0.9, 0.1, 0.9)
    assert row.listed and not replace(row, on_list=False).listed
    assert replace(row, suspicion=0.1, on_list=True).listed


def test_else_it_is_listed_where_it_is_doubtful_and_the_networks_disagree():
    row = Suspect("a", "x", "y", 0.6, 0.1, 0.9)
    assert row.listed and not replace(row, suspicion=0.5).listed
    assert not replace(row, wrong_probability=0.4).listed
    assert not replace(row, predicted="x").listed


@pytest.mark.parametrize("truth", [True, False])
def test_the_table_is_written_with_names_and_read_again(tmp_path, truth):
    rows = ROWS if truth else [replace(row, true=None) for row in ROWS]
    write_suspects(rows, tmp_path / "suspects.csv")
    with (tmp_path / "suspects.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [row["given_label"] for row in written] == ["cat", "é", 'b, "c"']
    assert ("true_label" in written[0]) == truth
    assert read_suspects(tmp_path / "suspects.csv") == list(rows)


def test_new_columns_come_after_those_there_were(tmp_path):
    write_suspects(ROWS, tmp_path / "s.csv")
    header = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == (
        "id,given_label,predicted_label,suspicion,wrong_probability,suspicious,given_probability,"
        "predicted_probability,kept_share,true_label,contradicts"
    )


def test_lists_of_earlier_versions_are_read(tmp_path):
    later = {"wrong_probability", "true_label", "contradicts"}
    write_suspects(ROWS, tmp_path / "new.csv")
    with (tmp_path / "new.csv").open(newline="", encoding="utf-8") as file:
        rows = [{k: v for k, v in row.items() if k not in later} for row in csv.DictReader(file)]
    with (tmp_path / "old.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    older = read_suspects(tmp_path / "old.csv")
    assert [row.listed for row in older] == [row.listed for row in ROWS]
    assert {(row.wrong_probability, row.true, row.contradicts) for row in older} == {(None,) * 3}


@pytest.mark.parametrize("content", ["", "id,x\n1,2", "id,given_label\n1", "\x00"])
def test_other_files_are_no_lists(tmp_path, content):
    (tmp_path / "s.csv").write_text(content)
    with pytest.raises(DataError, match="is not a list of suspects"):
        read_suspects(tmp_path / "s.csv")


def test_precision_and_recall_against_the_truth():
    rows = [
        Suspect("0", "x", "y", 0.9, 0, 0, true="y", on_list=True),
        Suspect("1", "x", "y", 0.8, 0, 0, true="x", on_list=True),
        Suspect("2", "x", "y", 0.7, 0, 0, true="y", on_list=False),
        Suspect("3", "x", "y", 0.1, 0, 0, true="x", on_list=False),
    ]
    quality = suspect_quality(rows)
    assert (quality.listed, quality.wrong) == (2, 2)
    assert (quality.precision, quality.recall) == (0.5, 0.5)
    assert quality.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert suspect_quality([replace(row, true=None) for row in rows]) is None


@pytest.mark.parametrize("values", [4, 1000])
def test_average_precision_is_that_of_scikit_learn(values):
    rng = np.random.default_rng(0)
    for size in range(1, 40):
        wrong, scores = rng.random(size) < 0.4, rng.integers(values, size=size) / values
        wrong[rng.integers(size)] = True
        expected = average_precision_score(wrong, scores)
        assert average_precision(wrong, scores) == pytest.approx(expected)


def test_what_a_list_expects_of_itself():
    rows = [Suspect("a", "x", "y", 0.1, 0.2, 0.8, wrong_probability=p) for p in (0.8, 0.6, 0.2)]
    found = expectation(rows)
    assert (found.wrong, found.listed_wrong) == pytest.approx((1.6, 1.4))
    assert (found.precision, found.recall) == pytest.approx((0.7, 1.4 / 1.6))
    assert expectation([]) is None
    assert np.isnan(expectation(rows[2:]).precision)
