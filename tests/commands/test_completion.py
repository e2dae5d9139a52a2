"""What the shell is told when somebody presses the tabulator."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click import Command
from typer import Context

from s2e_optuna.commands.completion import benchmarks, one_of, studies


def complete(words: str, cwd: Path, **env: str) -> list[str]:
    """Ask as bash does."""
    answer = subprocess.run(
        [sys.executable, "-c", "from s2e_optuna.cli import app; app(prog_name='s2e')"],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "_S2E_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            **env,
        },
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.split()


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
def test_names_are_completed(words: str, expected: list[str], tmp_path: Path) -> None:
    assert complete(words, tmp_path) == expected


def test_studies_are_those_of_the_storage(stored: str, tmp_path: Path) -> None:
    assert complete(f"s2e show --storage {stored} --study ti", tmp_path) == ["tiny"]
    assert complete("s2e show --study ", tmp_path, S2E_STORAGE=stored) == ["tiny"]


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
