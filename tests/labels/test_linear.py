from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from s2e_optuna.data import from_arrays, load_data
from s2e_optuna.labels import NOT_CHECKED
from s2e_optuna.labels.linear import _fit, _scores, fits_linear, linear_model


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", noise="symmetric", noise_rate=0.4)


def test_the_fit_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 5)).astype(np.float32)
    labels = (x @ rng.standard_normal((5, 3)) + rng.gumbel(size=(200, 3))).argmax(axis=1)
    found = _fit(x, labels, 0.1, np.zeros((6, 3), dtype=np.float32))
    theirs = LogisticRegression(C=0.1, tol=1e-8).fit(x, labels)
    np.testing.assert_allclose(
        softmax(_scores(x, found), axis=1), theirs.predict_proba(x), atol=2e-3
    )


def test_the_validation_part_chooses_a_penalty(digits):
    found = linear_model(digits)
    few = linear_model(load_data("digits"))
    assert found.penalty < few.penalty  # more noise, a larger penalty
    assert found.test_accuracy > 0.85 and found.validation_accuracy > 0.85


def test_predictions_are_out_of_sample(digits):
    found = linear_model(digits, folds=3).unseen
    assert found.training.shape == (1000, 10) and found.clean.shape == (3, 397, 10)
    np.testing.assert_allclose(found.training.sum(axis=1), 1.0, atol=1e-5)
    agree = (found.training.argmax(axis=1) == digits.y_train.numpy()).mean()
    assert agree < 0.6  # the share of right labels; a model that had seen them would have more


def test_noisy_validation_samples_count_as_held_out(digits):
    found = linear_model(replace(digits, validation="noisy")).unseen
    assert found.clean is None and found.held_out.shape == (397, 10)
    checked = torch.full((397,), NOT_CHECKED)
    checked[:7] = 0
    some = linear_model(replace(digits, validation="noisy", val_checked=checked)).unseen
    assert some.clean.shape == (5, 7, 10)
    assert np.allclose(some.clean.mean(axis=0), some.held_out[:7], atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "fits"), [((30, 28, 28), True), ((30, 64, 64), False), ((30, 4000), True)]
)
def test_large_images_are_left_out(shape, fits):
    data = from_arrays(torch.rand(shape).numpy(), np.arange(30) % 2)
    assert fits_linear(data) == fits
