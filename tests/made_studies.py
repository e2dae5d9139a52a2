"""A small study with a real sampler and a made-up objective: no training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest

from s2e_optuna import S2ESampler, Schedule, open_storage, suggest_schedule

EPOCHS = 20


@pytest.fixture(scope="session")
def goal() -> Schedule:
    return Schedule.coteaching(EPOCHS, 0.45, t_k=5)


@pytest.fixture(scope="session")
def make_study(goal: Schedule) -> Callable[..., optuna.Study]:
    def make(storage: optuna.storages.BaseStorage, name: str, n_trials: int = 15) -> optuna.Study:
        study = optuna.create_study(
            storage=storage, study_name=name, sampler=S2ESampler(seed=1, batch_size=4)
        )
        study.set_user_attr("s2e:search", {"noise_rate": 0.45})

        def objective(trial: optuna.Trial) -> float:
            rates = suggest_schedule(trial, EPOCHS).rates
            trial.set_user_attr("label_precision", 0.75)
            return float(np.mean((rates - goal.rates) ** 2))

        study.optimize(objective, n_trials=n_trials)
        return study

    return make


@pytest.fixture(scope="session")
def study(make_study: Callable[..., optuna.Study]) -> optuna.Study:
    return make_study(optuna.storages.InMemoryStorage(), "tiny")


@pytest.fixture(scope="session")
def stored(
    tmp_path_factory: pytest.TempPathFactory, make_study: Callable[..., optuna.Study]
) -> str:
    """URL of a SQLite file with one study, ``tiny``; tests only read it."""
    file: Path = tmp_path_factory.mktemp("stored") / "tiny.db"
    url = f"sqlite:///{file}"
    make_study(open_storage(url), "tiny")
    return url
