"""Workers of a study judge by the same weights."""

from dataclasses import replace

import optuna
import pytest
import torch

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


def test_an_objective_stores_them_with_its_study(data: NoisyData) -> None:
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    objective = CoTeachingObjective(data, epochs=2)
    study.optimize(objective, n_trials=1)
    assert CHECKED_ATTR in study.user_attrs
    assert 0.0 < study.best_value < 1.0
