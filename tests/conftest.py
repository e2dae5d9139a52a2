"""Settings for all tests."""

import os
import signal
import threading
from pathlib import Path

# Before torch is loaded: its threads must not spin while they wait, two test processes share
# the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import optuna
import pytest
from hypothesis import HealthCheck, settings

from s2e_optuna import open_storage, suggest_schedule

# Before rich and typer are loaded: what a terminal or a CI asks for changes what is printed.
for name in (
    *("COLUMNS", "LINES", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "PY_COLORS"),
    *("TTY_COMPATIBLE", "TTY_INTERACTIVE", "GITHUB_ACTIONS", "S2E_STORAGE"),
):
    os.environ.pop(name, None)

# A shell that runs pytest in the background has it ignore Ctrl-C; what it starts inherits that.
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The machines that run the tests are shared; how long one example takes says nothing.
settings.register_profile(
    "shared", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared")


@pytest.fixture
def stock(tmp_path):
    """A study in a file that stock Optuna has made."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/stock.db")
    study = optuna.create_study(study_name="s", storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    storage.scoped_session.remove()
    storage.engine.dispose()
    return tmp_path / "stock.db"


@pytest.fixture
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a storage with two studies, one of them with two objectives."""
    url = f"sqlite:///{tmp_path_factory.mktemp('stored')}/studies.db"
    storage = open_storage(url)
    one = optuna.create_study(
        storage=storage, study_name="one", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    one.optimize(lambda trial: 1.0 - suggest_schedule(trial, 4).rates.mean(), n_trials=3)
    optuna.create_study(storage=storage, study_name="two", directions=["minimize", "minimize"])
    optuna.create_study(storage=storage, study_name="up", direction="maximize")
    return url
