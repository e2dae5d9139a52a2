"""What imports what, and how long it takes."""

import subprocess
import sys

import pytest

import s2e_optuna


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_imports_point_one_way() -> None:
    """The contracts are in pyproject.toml."""
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    result = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import s2e_optuna",
        "from s2e_optuna import S2ESampler, Schedule, suggest_schedule, best_schedule",
        "from s2e_optuna import open_storage",
        "import s2e_optuna.cli",
    ],
)
def test_torch_is_imported_by_those_who_train_only(code: str) -> None:
    heavy = run_python(
        f"{code}\nimport sys; print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    assert heavy.strip() == "[]"


def test_importing_takes_less_than_a_second_beyond_optuna() -> None:
    code = """
import time, optuna
start = time.process_time()
import s2e_optuna
from s2e_optuna import S2ESampler
print(time.process_time() - start)
"""
    assert float(run_python(code)) < 1.0


@pytest.mark.parametrize("name", s2e_optuna.__all__)
def test_every_promised_name_is_there(name: str) -> None:
    assert getattr(s2e_optuna, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'S3ESampler'"):
        s2e_optuna.S3ESampler  # noqa: B018 - the access is the test
