"""Every example in the docstrings and in the README runs."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import s2e_optuna

README = Path(__file__).parent.parent / "README.md"
MODULES = sorted(m.name for m in pkgutil.walk_packages(s2e_optuna.__path__, "s2e_optuna."))
FINDER = doctest.DocTestFinder(exclude_empty=True)


def modules_with_examples() -> list[str]:
    found = []
    for name in MODULES:
        source = importlib.util.find_spec(name)
        assert source is not None and source.origin is not None
        if ">>> " in Path(source.origin).read_text(encoding="utf-8"):
            found.append(name)
    return found


@pytest.mark.parametrize("name", modules_with_examples())
def test_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0 and result.failed == 0


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("code", python_blocks(), ids=lambda code: code.splitlines()[-1][:40])
def test_readme(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "storage").mkdir()

    def train_and_validate(rates: np.ndarray) -> float:
        return float(np.mean((rates - 0.5) ** 2))

    exec(compile(code, str(README), "exec"), {"train_and_validate": train_and_validate})


def test_readme_names_only_commands_there_are() -> None:
    from typer.main import get_command

    from s2e_optuna.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    used = set(re.findall(r"(?:^|[`$ ])s2e ([a-z]+)", README.read_text(encoding="utf-8"), re.M))
    assert used and used <= set(commands)
