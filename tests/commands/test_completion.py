"""What the shell is told when somebody presses the tabulator."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click import Command
from command_line import ROOT, run_app
from typer import Context

from s2e_optuna.cli import app
from s2e_optuna.commands.completion import benchmarks, one_of, studies


def question(words: str) -> dict[str, str]:
    """What bash asks with."""
    return {
        "_S2E_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }


def complete(words: str, **env: str) -> list[str]:
    return run_app.invoke(app, [], prog_name="s2e", env=question(words) | env).stdout.split()


def test_bash_is_answered_by_a_process(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", "from s2e_optuna.cli import app; app(prog_name='s2e')"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **question("s2e search --sampler cm")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["cmaes"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("s2e se", ["search"]),
        ("s2e search --sampler cm", ["cmaes"]),
        ("s2e search --network cnn", ["cnn1", "cnn2", "cnn3"]),
        ("s2e train --method cot", ["coteaching", "coteaching_plus"]),
        ("s2e bench main", ["main_job"]),
    ],
)
@pytest.mark.usefixtures("in_an_empty_folder")
def test_names_are_completed(words: str, expected: list[str]) -> None:
    assert complete(words) == expected


@pytest.mark.usefixtures("in_an_empty_folder")
def test_studies_are_those_of_the_storage(stored: str) -> None:
    assert complete(f"s2e show --storage {stored} --study ti") == ["tiny"]
    assert complete("s2e show --study ", S2E_STORAGE=stored) == ["tiny"]


@pytest.mark.parametrize(
    "url", ["sqlite:///nowhere.db", "sqlite://", "postgresql://127.0.0.1:9/db", "nonsense"]
)
def test_a_storage_that_cannot_be_read_at_once_completes_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    context = Context(Command("show"))
    context.params["storage"] = url
    started = time.monotonic()
    assert studies(context, "") == []
    assert time.monotonic() - started < 1.0
    assert list(tmp_path.iterdir()) == []  # nothing is made by looking


def test_a_file_that_is_no_database_completes_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_text("not a database, but long enough to be read as one" * 9)
    context = Context(Command("show"))
    context.params["storage"] = f"sqlite:///{tmp_path / 's.db'}"
    assert studies(context, "") == []


def test_one_of_and_benchmarks_take_beginnings() -> None:
    assert one_of(("tpe", "random"))("t") == ["tpe"]
    assert "bench_search" in benchmarks("bench_")
