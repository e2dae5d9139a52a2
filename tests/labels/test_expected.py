"""Validation labels of which some are checked judge trainings."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from s2e_optuna.data import NoisyData, load_data
from s2e_optuna.errors import DataError
from s2e_optuna.labels import expected_validation, judge, unseen_probabilities
from s2e_optuna.training import TrainConfig, predict_proba, train

CONFIG = TrainConfig(epochs=6, seed=1)


@pytest.fixture(scope="module")
def checked() -> NoisyData:
    """Digits whose labels are wrong by pairs; of 200 that validate 40 are checked."""
    data = load_data("digits", noise="pair", noise_rate=0.45, validation="noisy")
    assert data.y_val_clean is not None
    true = torch.full_like(data.y_val, -1)
    true[::5] = data.y_val_clean[::5]
    return replace(data, val_checked=true)


@pytest.fixture(scope="module")
def judged(checked: NoisyData) -> NoisyData:
    return expected_validation(checked, CONFIG)


def test_checked_samples_count_in_full_and_others_by_what_they_say(
    checked: NoisyData, judged: NoisyData
) -> None:
    weights = judged.val_weights
    assert weights is not None
    assert checked.y_val_clean is not None
    torch.testing.assert_close(weights.sum(1), torch.ones(200))
    assert torch.equal(weights[::5].argmax(1), checked.y_val_clean[::5])
    assert set(weights[::5].unique().tolist()) == {0.0, 1.0}
    right = weights.argmax(1) == checked.y_val_clean
    assert right.double().mean() > (checked.y_val == checked.y_val_clean).double().mean() + 0.1


def test_the_same_seed_makes_the_same_weights(checked: NoisyData, judged: NoisyData) -> None:
    again = expected_validation(checked, CONFIG)
    assert again.val_weights is not None
    assert judged.val_weights is not None
    torch.testing.assert_close(again.val_weights, judged.val_weights)
    assert expected_validation(judged, CONFIG) is judged
    plain = replace(checked, val_checked=None)
    assert expected_validation(plain, CONFIG) is plain


def test_accuracy_is_the_mean_weight_of_what_is_predicted(judged: NoisyData) -> None:
    (run,) = train("standard", [None], judged, replace(CONFIG, epochs=2, stop="last"))
    assert run.model is not None
    assert judged.val_weights is not None
    predicted = predict_proba(run.model, judged.x_val).argmax(1)
    expected = judged.val_weights.numpy()[np.arange(200), predicted].mean()
    assert run.validation_accuracy[-1] == pytest.approx(expected, abs=1e-6)


def test_weights_of_right_labels_change_nothing(checked: NoisyData) -> None:
    plain = replace(checked, val_checked=None)
    weights = torch.nn.functional.one_hot(plain.y_val, 10).float()
    told = replace(CONFIG, epochs=2)
    (one,), (other,) = (
        train("standard", [None], data, told)
        for data in (plain, replace(plain, val_weights=weights))
    )
    np.testing.assert_allclose(one.validation_accuracy, other.validation_accuracy)
    np.testing.assert_allclose(one.validation_loss, other.validation_loss, rtol=1e-5)


def test_checked_labels_are_not_left_unused(checked: NoisyData) -> None:
    with pytest.raises(DataError, match="expected_validation"):
        train("standard", [None], checked, CONFIG)


def test_checked_labels_calibrate_what_training_labels_are_worth(judged: NoisyData) -> None:
    told = replace(CONFIG, epochs=10)
    unseen = unseen_probabilities("standard", None, judged, told, 2)
    assert unseen.clean is not None
    assert unseen.clean.shape == (2, 40, 10)
    (run,) = train("standard", [None], judged, told)
    found, blind = judge(run, judged, unseen), judge(run, judged, replace(unseen, clean=None))
    assert found.quality is not None
    assert blind.quality is not None
    # Without a check, pair noise of 45 % cannot be told from none.
    assert abs(found.quality.noise.overall - 0.45) < 0.1
    assert abs(blind.quality.noise.overall - 0.45) > 0.2
