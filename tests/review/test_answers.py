"""Answers on the disk, and what they say of all labels."""

import os
from pathlib import Path

import numpy as np
import pytest

from s2e_optuna.errors import InputError
from s2e_optuna.review.answers import AnswerFile
from s2e_optuna.review.drawn import picture


def test_an_answer_is_in_the_file_when_it_has_been_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    path = tmp_path / "new" / "answers.csv"
    with AnswerFile(path) as answers:
        answers.add('a "b",c\nd.png', "cat")
        assert path.read_text(encoding="utf-8") == 'id,label\n"a ""b"",c\nd.png",cat\n'
        answers.add("e.png", "")
    assert len(synced) == 4  # header and answers, and the folder that names the file
    with AnswerFile(path) as answers:
        assert answers.labels == {'a "b",c\nd.png': "cat", "e.png": ""}


def test_a_file_without_a_last_line_break_goes_on_in_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("id,label\na,cat", encoding="utf-8")
    with AnswerFile(path) as answers:
        answers.add("b", "dog")
    assert path.read_text(encoding="utf-8") == "id,label\na,cat\nb,dog\n"


def test_two_do_not_write_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    with AnswerFile(path), pytest.raises(InputError, match="another s2e check writes into"):
        AnswerFile(path)
    AnswerFile(path).__exit__()


def test_an_answer_that_does_not_fit_on_the_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.csv"
    write = os.write

    def half(file: int, content: bytes) -> int:
        if len(content) < 4:
            raise OSError(28, "No space left on device")
        return write(file, content[: len(content) // 2])

    with AnswerFile(path) as answers:
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space left") as caught:
            answers.add("sample", "cat")
        assert caught.value.filename == str(path)
        assert answers.labels == {}
    assert path.read_text(encoding="utf-8") == "id,label\n"


def test_a_picture_in_characters() -> None:
    assert picture(np.array([[0.0, 1.0], [1.0, 0.0]])) == "  @@\n@@"
    assert picture(np.zeros((2, 2))) == "\n"
    assert len(picture(np.eye(100, 300)).split("\n")) == 10
