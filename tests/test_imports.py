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
        "import s2e_optuna.cli, s2e_optuna.commands.review",  # its server stays small
    ],
)
def test_torch_is_imported_by_those_who_train_only(code: str) -> None:
    heavy = run_python(
        f"{code}\nimport sys; print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    assert heavy.strip() == "[]"


def test_importing_takes_less_time_than_what_it_stands_on() -> None:
    """Half a second of optuna and SciPy; in CPU time of one process, whatever its speed."""
    code = """
import time
start = time.process_time()
import optuna, scipy.optimize, scipy.special, sys
between, before = time.process_time(), set(sys.modules)
import s2e_optuna
from s2e_optuna import S2ESampler
print(between - start, time.process_time() - between, *sorted(set(sys.modules) - before))
"""
    foundation, own, *modules = run_python(code).split()
    assert float(own) < float(foundation)
    ours = ("s2e_optuna", "threadpoolctl", *sys.stdlib_module_names)
    assert [name for name in modules if name.split(".")[0] not in ours] == []


@pytest.mark.parametrize("name", s2e_optuna.__all__)
def test_every_promised_name_is_there(name: str) -> None:
    assert getattr(s2e_optuna, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'S3ESampler'"):
        s2e_optuna.S3ESampler  # noqa: B018 - the access is the test


def test_studies_import_each_other_without_a_circle() -> None:
    grimp = pytest.importorskip("grimp", reason="import-linter is not installed")
    graph = grimp.build_graph("studies", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while free := [module for module, found in imports.items() if not found & imports.keys()]:
        for module in free:
            del imports[module]
    assert not imports  # what is left imports itself, by others
