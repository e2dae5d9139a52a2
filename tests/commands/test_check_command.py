"""``s2e check``: what is drawn, asked, written down and said."""

import csv
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run_app
from small_folders import write_class_folders
from typer.testing import Result

from s2e_optuna.cli import app
from s2e_optuna.commands.check import search_command
from s2e_optuna.commands.requests import CheckedData
from s2e_optuna.data import DataSpec

DIGITS = "digits --validation noisy --noise pair --noise-rate 0.45 --train-size 100 --seed 3"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(words: str, *answers: str) -> Result:
    text = "".join(f"{answer}\n" for answer in answers)
    return run_app.invoke(app, ["check", *shlex.split(words), "-q"], input=text)


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_answers_are_those_that_a_search_takes_and_it_goes_on_where_it_stopped() -> None:
    first = check(f"{DIGITS} -n 6", "", "no class", "7", "?", "q")
    assert first.exit_code == 0, first.output
    assert "no class is no class" in first.output
    assert "Of 1 sample nobody could say. 3 of 6 are left" in first.output
    file = Path("s2e-out/checked-digits-pair-0.45.csv")
    before = rows(file)
    assert before[0] == ["id", "label"] and before[2][1] == "7" and before[3][1] == ""

    second = check(f"{DIGITS} -n 6", "", "", "")
    assert "4 of 6: " in second.output and "\n1 of 6: " not in second.output
    assert rows(file)[:4] == before and len(rows(file)) == 7
    command = f"s2e search {DIGITS.replace(' --seed 3', '')} --checked {file} --seed 3"
    assert set(command.split()) == set(second.output.splitlines()[-1].split())

    spec = DataSpec(
        "digits",
        noise="pair",
        noise_rate=0.45,
        train_size=100,
        validation="noisy",
        seed=3,
        checked=file,
    )
    data = spec.load()
    assert data.val_checked is not None
    assert int((data.val_checked >= 0).sum()) == 5
    assert replace(spec, checked=None).load().val_ids == data.val_ids

    third = check(f"{DIGITS} -n 6")
    assert "Right?" not in third.output and "of 5 w" in third.output
    assert re.search(r"\. 14 more \(-n 20\), wrong as often, would narrow it", third.output)


def test_a_list_holds_the_same_samples_and_asks_nothing() -> None:
    assert check(f"{DIGITS} -n 4 --list few.csv").exit_code == 0
    assert check(f"{DIGITS} -n 8 --list more.csv").exit_code == 0
    assert check(f"{DIGITS} -n 4", "", "", "", "").exit_code == 0
    few, more = rows(Path("few.csv")), rows(Path("more.csv"))
    assert few[0] == ["id", "given_label"]
    assert more[:5] == few and len(more) == 9
    assert few[1:] == rows(Path("s2e-out/checked-digits-pair-0.45.csv"))[1:]  # all were right


def test_pictures_of_a_folder_are_named_by_their_files(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "pictures", 60)
    found = check("pictures --validation noisy -n 2 --to mine.csv", "BEE", "2")
    assert "Classes: 0 ant  1 bee  2 cow" in found.output
    (_, first), (_, second) = rows(Path("mine.csv"))[1:]
    assert (first, second) == ("bee", "cow")
    name = rows(Path("mine.csv"))[1][0]
    assert f"\n1 of 2: {tmp_path / 'pictures' / name}\n" in found.output


def test_names_that_a_terminal_would_obey_are_shown_as_text(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "pictures", 59)
    for file in list((tmp_path / "pictures").rglob("*.png")):
        file.rename(file.with_name(f"\x1b[2J,{file.name}"))
    found = check("pictures --validation noisy -n 2", "", "")
    assert found.exit_code == 0, found.output
    assert "\x1b" not in found.output and "\\x1b[2J," in found.output
    again = check("pictures --validation noisy -n 2")
    assert "Right?" not in again.output  # the names were read as they were written


def test_rows_are_shown_as_numbers(tmp_path: Path) -> None:
    import numpy as np

    x = np.arange(120, dtype=np.float64).reshape(60, 2)
    np.savez(tmp_path / "rows.npz", x_train=x, y_train=np.arange(60) % 2)
    found = check("rows.npz --validation noisy -n 1", "")
    assert found.exit_code == 0, found.output
    number = int(rows(Path("s2e-out/checked-rows.csv"))[1][0])
    assert f"{2 * number}, {2 * number + 1}" in found.output


def test_what_cannot_be_checked_is_said_in_one_sentence() -> None:
    clean = check("digits --validation clean --train-size 100")
    assert clean.exit_code == 2 and "nothing to check: with --validation noisy" in clean.output
    other = Path("other.csv")
    other.write_text("id,label\nnobody,3\n", encoding="utf-8")
    found = check(f"{DIGITS} --to other.csv")
    assert found.exit_code == 2 and "other.csv are about other data" in found.output
    assert other.read_text(encoding="utf-8") == "id,label\nnobody,3\n"
    check(f"{DIGITS} -n 1 --to bad.csv", "")
    with Path("bad.csv").open("a", encoding="utf-8") as file:
        file.write("x,cat\n")
    found = check(f"{DIGITS} --to bad.csv")
    assert found.exit_code == 2 and "bad.csv holds 'cat', which is no class" in found.output


def test_the_next_command_has_the_same_options() -> None:
    data = CheckedData("my photos", validation="noisy", label_column="who's", seed=2)
    said = shlex.split(search_command(data, Path("a b.csv")))
    assert said[:3] == ["s2e", "search", "my photos"]
    assert said[said.index("--checked") :][:2] == ["--checked", "a b.csv"]
    assert said[said.index("--label-column") :][:2] == ["--label-column", "who's"]
