"""The documentation: it builds, its code runs, its commands are commands."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from s2e_optuna.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "storage" / "README.md"]
LINKING = [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "CHANGELOG.md"))]
LINKING += sorted((ROOT / "storage").glob("*.md"))
COMMANDS: Any = get_command(app)


def loaded(path: Path) -> ModuleType:
    """Load a script that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


written = loaded(DOCS / "write_pages.py")


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "python")], ids=lambda page: page.stem
)
def test_the_code_of_every_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i},{i % 7},{'ab'[i % 2]}\n" for i in range(40))
    (tmp_path / "measurements.csv").write_text(f"height,width,label\n{rows}", encoding="utf-8")
    names: dict[str, Any] = {}
    for code in blocks(page, "python"):
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere_in_the_repository(page: Path) -> None:
    """As on the repository's host; docs/hooks.py makes pages of the built site of them."""
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?![a-z]+:)([^)#\s]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", written.MADE)
def test_what_a_page_says_of_the_code_is_up_to_date(name: str) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    part = written.MADE[name]()
    assert len(part) > 1000
    assert page == written.with_written_part(page, part), (
        f"docs/{name} is out of date: python docs/write_pages.py writes it anew"
    )


def commands() -> list[tuple[str, str]]:
    found = []
    for path in TEXTS:
        for block in blocks(path, "console"):
            lines = re.findall(r"^\$ (s2e .*)$", block.replace("\\\n", ""), re.MULTILINE)
            found += [(path.name, line) for line in lines]
    for name, command in COMMANDS.commands.items():
        examples = re.findall(r"Example: (s2e .*)", command.epilog or "")
        assert examples, f"the help of s2e {name} has no example"
        found += [(f"s2e {name} --help", example) for example in examples]
    return sorted(set(found))


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_is_one_that_there_is(page: str, line: str) -> None:
    """Names and options are checked as typer checks them; nothing is run."""
    words = shlex.split(line, comments=True)[1:]
    if words[0].startswith("--"):
        assert words[0] in {option for p in COMMANDS.params for option in p.opts}
        return
    command = COMMANDS.commands[words[0]]
    command.make_context(words[0], words[1:])


def test_the_notebook_runs(tmp_path: Path) -> None:
    """With fewer epochs and trials; the stored outputs are those of the full one."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    notebook = nbformat.read(DOCS / "first_ten_minutes.ipynb", as_version=4)
    smaller = {"EPOCHS = 20": "EPOCHS = 3", "n_trials=15": "n_trials=7", "101, 102, 103": "1, 2"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs or cell.source.startswith("%matplotlib")
            for full, small in smaller.items():
                cell.source = cell.source.replace(full, small)
    assert sum(small in cell.source for cell in notebook.cells for small in smaller.values()) >= 3
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        startup_timeout=300,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute(env=environment)
    kinds = {key for cell in notebook.cells for out in cell.get("outputs", ()) for key in out}
    assert "data" in kinds


def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    result = subprocess.run(
        [*command, "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert result.returncode == 0, result.stderr
    commands_page = (tmp_path / "site" / "commands" / "index.html").read_text(encoding="utf-8")
    for name, command_ in COMMANDS.commands.items():
        assert f"s2e {name}" in commands_page
        options = [parameter.opts[0] for parameter in command_.params if not parameter.hidden]
        assert all(option in commands_page for option in options if option.startswith("--"))
    mathematics = (tmp_path / "site" / "mathematics" / "index.html").read_text(encoding="utf-8")
    assert mathematics.count("<math") > 40 and "arithmatex" not in mathematics
    formulas = re.findall(r"<math.*?</math>", mathematics, re.DOTALL)
    assert not [formula for formula in formulas if "\\" in formula]  # every command is known
    pages = "".join(page.read_text("utf-8") for page in (tmp_path / "site").rglob("*.html"))
    assert not re.findall(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', pages)


def test_pictures_of_the_pages_are_pictures() -> None:
    used = {
        DOCS / name
        for page in PAGES
        for name in re.findall(r"!\[[^\]]*\]\((images/[^)]+)\)", page.read_text(encoding="utf-8"))
    }
    assert used
    for picture in used:
        assert picture.stat().st_size > 5_000, picture
