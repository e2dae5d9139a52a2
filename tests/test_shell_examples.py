"""The shell commands of the documentation and of the help texts are run, in order, page by page.

Each page has an empty folder with what its readers have: images, arrays, tables of labels. Three
things differ from what stands there. Numbers are small (`BUDGET`). Servers that no test has are
replaced (`INSTEAD`). And what serves pages is stopped as soon as it says where.

Comments in the pages say what else is to know: ``<!-- not run: why -->`` before a block, and
``<!-- before: command -->`` for what the reader has done already.
"""

import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from s2e_optuna import Schedule
from s2e_optuna.cli import app

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "storage" / "README.md"]
IN_ORDER = re.compile(
    r"<!-- (?P<what>not run|before): (?P<why>[^\n]+?) -->|```console\n(?P<block>.*?)```", re.DOTALL
)

BUDGET = {
    "search": {
        **{"--train-size": "150", "--epochs": "2", "--trials": "4", "--stack": "4"},
        **{"--workers": "1", "--seeds": "1", "--folds": "0"},
    },
    "train": {"--train-size": "150", "--seeds": "1", "--epochs": "2"},
    "worker": {"--stack": "4"},
    "dashboard": {"--port": "0"},
    "proxy": {"--port": "0", "--host": "127.0.0.1"},
    "apply": {"--posterior": "0.99"},  # nobody has decided anything
}
INSTEAD = {
    "postgresql+psycopg://user:password@host/database": "sqlite:///server.db",
    "postgresql+psycopg://…": "sqlite:///server.db",
    "grpc://head:13000": "sqlite:///server.db",
    "/shared/artifacts": "shared/artifacts",
}
SERVERS = {"dashboard": 130, "proxy": 130, "review": 0}
"""Commands that end with Ctrl-C, and their exit codes then."""

# Also run by default; the others say nearly the same, and take as long.
DEFAULT = {"index", "own_data"}


def blocks(path: Path) -> list[tuple[str, list[str]]]:
    """Reason why a block is not run, or an empty one, and its commands."""
    found: list[tuple[str, list[str]]] = []
    reason = ""
    for match in IN_ORDER.finditer(path.read_text(encoding="utf-8")):
        if match["what"] == "before":
            found.append(("", [match["why"]]))
        elif match["what"]:
            reason = match["why"]
        else:
            text = match["block"].replace("\\\n", "")
            found.append((reason, re.findall(r"^\$ (.*)$", text, re.MULTILINE)))
            reason = ""
    return found


def small(words: list[str]) -> list[str]:
    """Return a command's words with small numbers and without servers."""
    budget = dict(BUDGET.get(words[0], {}))
    words = [INSTEAD.get(word, word) for word in words]
    for name, value in budget.items():
        if name in words:
            words[words.index(name) + 1] = value
        else:
            words += [name, value]
    return words


def run(line: str) -> None:
    """Run one command of a page, in the folder in which we are."""
    program, *words = shlex.split(line, comments=True)
    if program == "export":
        name, _, value = words[0].partition("=")
        os.environ[name] = INSTEAD.get(value, value)
        return
    assert program == "s2e", f"{line}: neither of ours nor marked as not run"
    words = small(words)
    if words[0] in SERVERS:
        start_and_stop(words)
        return
    result = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
    assert result.output.strip(), f"{line} says nothing"


def start_and_stop(words: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "s2e_optuna.cli", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert "//127.0.0.1:" in said, said + process.stderr.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=600) == SERVERS[words[0]]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages' readers have."""
    rng = np.random.default_rng(0)
    lines = ["file,label,given"]
    for part, count in (("train", 90), ("test", 30)):
        for i, name in enumerate(("cat", "dog")):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 100, (12, 12, 3)).astype(np.uint8)
                pixels[:, :, 2 * i] += 100
                Image.fromarray(pixels).save(folder / f"{number}.png")
                if part == "train":
                    wrong = name if rng.random() > 0.3 else "dog"
                    lines.append(f"train/{name}/{number}.png,{wrong},{wrong}")
    for table in ("labels.csv", "table.csv"):
        (tmp_path / table).write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copytree(tmp_path / "images" / "test" / "cat", tmp_path / "new")
    y = rng.integers(3, size=300)
    np.savez(tmp_path / "arrays.npz", x_train=rng.normal(y[:, None], 1.0, (300, 8)), y_train=y)
    ill = [f"{20 + n % 60},{'fm'[n % 2]},{'no' if n % 3 else 'yes'}" for n in range(300)]
    text = "\n".join(["age,sex,diagnosis", *ill])
    (tmp_path / "patients.csv").write_text(f"{text}\n", encoding="utf-8")
    Schedule.coteaching(2, 0.3).to_json(tmp_path / "schedule.json")
    tiny_mnist(tmp_path / "cache" / "s2e_optuna" / "MNIST" / "raw")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("S2E_STORAGE", "")  # restored afterwards, whatever a page exports
    monkeypatch.delenv("S2E_STORAGE")
    return tmp_path


def tiny_mnist(folder: Path) -> None:
    """Write files as torchvision expects them."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, size in (("train", 300), ("t10k", 100)):
        arrays = {
            "images-idx3": rng.integers(0, 256, (size, 28, 28)),
            "labels-idx1": np.arange(size) % 10,
        }
        for name, array in arrays.items():
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{part}-{name}-ubyte").write_bytes(
                header + array.astype(np.uint8).tobytes()
            )


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            path,
            id=f"{path.parent.name}-{path.stem}",
            marks=[] if path.stem in DEFAULT else pytest.mark.slow,
        )
        for path in TEXTS
        if any(not reason and lines for reason, lines in blocks(path))
    ],
)
def test_the_commands_of_a_page_run(page: Path, reader: Path) -> None:
    for reason, lines in blocks(page):
        for line in lines if not reason else ():
            run(line)


@pytest.mark.slow
def test_the_examples_of_the_help_texts_run(reader: Path) -> None:
    unusual = {"bench": "writes into studies/results; tests/studies runs the studies"}
    examples = {
        name: re.findall(r"Example: (s2e .*)", command.epilog or "")
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
        if name not in unusual
    }
    assert all(examples.values())
    for line in (
        "s2e search digits --study digits --storage sqlite:///s2e.db",
        "s2e search digits --study digits --storage sqlite:///server.db",
        "s2e search images/",
        *(line for lines in examples.values() for line in lines),
    ):
        run(line)
