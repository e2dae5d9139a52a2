"""Decisions on the disk: nothing is lost, and one process writes."""

import json
import os
from pathlib import Path

import pytest

from s2e_optuna.errors import InputError
from s2e_optuna.review.decisions import (
    Decision,
    DecisionFile,
    decisions_path,
    read_decisions,
)


def test_a_decision_is_in_the_file_when_it_has_been_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    path = tmp_path / "new" / "decisions.jsonl"
    with DecisionFile(path) as file:
        before = len(synced)
        file.add(Decision('a "b",c\nd.png', "cat", "dog"))
        assert len(synced) == before + 1
        assert read_decisions(path) == {'a "b",c\nd.png': Decision('a "b",c\nd.png', "cat", "dog")}
        file.add(Decision('a "b",c\nd.png', "cat", None))
    with DecisionFile(path) as file:
        assert [one.label for one in file.decisions] == ["dog", None]
    assert read_decisions(path)['a "b",c\nd.png'].label is None  # the later one counts


def test_a_line_that_was_cut_off_is_dropped_and_the_file_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    with DecisionFile(path) as file:
        file.add(Decision("a", "cat", "dog"))
    whole = path.read_bytes()
    for cut in range(len(whole.splitlines()[0]) + 1, len(whole)):
        path.write_bytes(whole[:cut])
        with DecisionFile(path) as file:
            assert file.decisions == []
            file.add(Decision("b", "cat", "cat"))
        assert list(read_decisions(path)) == ["b"]


@pytest.mark.parametrize(
    "line", ["no JSON", '{"id": "a"}', "[1]", '{"id": 1, "given": "a", "label": "b"}']
)
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, line: str) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(f'{{"format": "s2e-decisions-1"}}\n{line}\n', encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"line 2 of .* is no decision: take that line out"):
        DecisionFile(path)
    assert path.read_bytes() == before
    path.write_text('{"format": "another"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="line 1"):
        read_decisions(path)


def test_two_do_not_write_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    with DecisionFile(path), pytest.raises(InputError, match="another s2e review has"):
        DecisionFile(path)
    DecisionFile(path).close()


def test_a_decision_that_does_not_fit_on_the_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "decisions.jsonl"
    write = os.write

    def half(file: int, content: bytes) -> int:
        if len(content) < 4:
            raise OSError(28, "No space left on device")
        return write(file, content[: len(content) // 2])

    with DecisionFile(path) as file:
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space left"):
            file.add(Decision("a", "cat", "dog"))
        assert file.decisions == []
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"format": "s2e-decisions-1"}
    ]


def test_decisions_lie_beside_their_list(tmp_path: Path) -> None:
    assert decisions_path(tmp_path) == tmp_path / "decisions.jsonl"
    assert decisions_path(tmp_path / "suspects.csv") == tmp_path / "decisions.jsonl"
    assert decisions_path(tmp_path / "threes.csv") == tmp_path / "threes.decisions.jsonl"
    assert read_decisions(tmp_path / "decisions.jsonl") == {}
