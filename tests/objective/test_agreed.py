"""Workers of a study judge by the same weights."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import optuna
import pytest
import torch
from optuna.storages import BaseStorage

from s2e_optuna import CoTeachingObjective
from s2e_optuna.data import NoisyData, load_data
from s2e_optuna.objective import agreed
from s2e_optuna.objective.agreed import agreed_validation
from s2e_optuna.stored_names import CHECKED_ATTR
from s2e_optuna.training import TrainConfig

CONFIG = TrainConfig(epochs=2)


@pytest.fixture
def data() -> NoisyData:
    data = load_data("digits", noise="symmetric", noise_rate=0.5, validation="noisy")
    true = torch.full_like(data.y_val, -1)
    true[:20] = data.y_val[:20]
    return replace(data, val_checked=true)


def test_weights_are_made_once_and_read_by_all(
    data: NoisyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreed, "PIECE", 100)
    study = optuna.create_study()
    first = agreed_validation(study, data, CONFIG)
    monkeypatch.setattr(agreed, "expected_validation", None)  # not called any more
    second = agreed_validation(study, data, replace(CONFIG, seed=7))
    assert first.val_weights is not None
    assert second.val_weights is not None
    assert torch.equal(first.val_weights, second.val_weights)
    torch.testing.assert_close(first.val_weights.sum(1), torch.ones(200))
    assert study.user_attrs[CHECKED_ATTR]["pieces"] > 1
    plain = replace(data, val_checked=None)
    assert agreed_validation(study, plain, CONFIG) is plain


def test_other_answers_make_other_weights(data: NoisyData) -> None:
    study = optuna.create_study()
    first = agreed_validation(study, data, CONFIG)
    assert data.val_checked is not None
    changed = replace(data, val_checked=(data.val_checked + 1).clamp(max=9))
    assert not torch.equal(
        agreed_validation(study, changed, CONFIG).val_weights, first.val_weights
    )  # type: ignore[arg-type]


def made_up(data: NoisyData, config: TrainConfig) -> NoisyData:
    """Weights that another machine makes: other ones."""
    random = np.random.default_rng(config.seed).dirichlet(np.ones(10), len(data.y_val))
    return replace(data, val_weights=torch.from_numpy(random.astype(np.float32)))


def test_what_another_process_stores_meanwhile_holds(
    data: NoisyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreed, "expected_validation", made_up)
    monkeypatch.setattr(agreed, "PIECE", 500)
    study, other = optuna.create_study(), []
    store = study.set_user_attr

    def store_slowly(key: str, value: object) -> None:
        monkeypatch.setattr(study, "set_user_attr", store)
        store(key, value)  # the first piece; now the other begins and ends
        other.append(agreed_validation(study, data, replace(CONFIG, seed=7)).val_weights)

    monkeypatch.setattr(study, "set_user_attr", store_slowly)
    ours = agreed_validation(study, data, CONFIG).val_weights
    assert ours is not None
    assert torch.equal(ours, other[0])
    theirs = made_up(data, replace(CONFIG, seed=7)).val_weights
    assert theirs is not None
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=0.01)


def test_two_that_begin_at_once_and_one_that_joins_later_go_by_one_array(
    data: NoisyData,
    sqlite_url: str,
    opened: Callable[[str], BaseStorage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optuna.create_study(storage=opened(sqlite_url), study_name="s")
    both, calls = threading.Barrier(2), []

    def at_once(data: NoisyData, config: TrainConfig) -> NoisyData:
        found = made_up(data, config)  # as on equal machines, to the last bit
        calls.append(both.wait(60.0))  # neither has stored anything yet
        return found

    def weights(_: int = 0) -> torch.Tensor:
        study = optuna.load_study(study_name="s", storage=opened(sqlite_url))
        found = agreed_validation(study, data, CONFIG).val_weights
        assert found is not None
        return found

    monkeypatch.setattr(agreed, "expected_validation", at_once)
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(weights, range(2))
    assert len(calls) == 2 and torch.equal(one, two)
    assert torch.equal(weights(), one) and len(calls) == 2


def test_weights_of_a_study_begun_before_are_read(
    data: NoisyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, old = optuna.create_study(), optuna.create_study()
    ours = agreed_validation(study, data, CONFIG).val_weights
    told = study.user_attrs[CHECKED_ATTR]
    digest = told.pop("digest")
    old.set_user_attr(f"{CHECKED_ATTR}:0", study.user_attrs[f"{CHECKED_ATTR}:{digest}:0"])
    old.set_user_attr(CHECKED_ATTR, told)
    monkeypatch.setattr(agreed, "expected_validation", None)  # not called any more
    theirs = agreed_validation(old, data, CONFIG).val_weights
    assert ours is not None and theirs is not None
    assert torch.equal(ours, theirs)


def test_an_objective_stores_them_with_its_study(data: NoisyData) -> None:
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    objective = CoTeachingObjective(data, epochs=2)
    study.optimize(objective, n_trials=1)
    assert CHECKED_ATTR in study.user_attrs
    assert 0.0 < study.best_value < 1.0
