import numpy as np
import pytest
from drawn_labels import drawn, even, pair, softmax
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna.labels import surest
from s2e_optuna.labels.surest import fit_surest


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_disagreement_of_the_surest_is_the_noise_rate(rate):
    data = drawn(3000, even(rate, 5))
    found = fit_surest(data.labels, data.pred_probs)
    assert found.rate == pytest.approx(data.wrong.mean(), abs=0.03)
    assert 0 < found.low < found.rate
    assert found.calibration.scale == pytest.approx(3.0, rel=0.15)


@pytest.mark.parametrize("strength", [1.0, 2.0, 4.0])
def test_right_labels_need_no_noise_however_weak_the_networks_are(strength):
    data = drawn(2000, np.eye(4), strength)
    assert fit_surest(data.labels, data.pred_probs).low == 0.0


def test_labels_that_have_nothing_to_do_with_the_samples_need_no_noise():
    rng = np.random.default_rng(0)
    found = fit_surest(rng.integers(0, 4, 1000), softmax(rng.standard_normal((1000, 4))))
    assert found.low == 0.0


def test_confusions_that_networks_cannot_resolve_are_not_taken_for_noise():
    data = drawn(1000, pair(0.45, 3), 1.0)
    believed = data.calibrated @ pair(0.45, 3)  # what networks learn from such labels
    assert fit_surest(data.labels, believed).low == 0.0


def test_of_many_samples_a_part_is_fitted(monkeypatch):
    data = drawn(3000, even(0.2, 4))
    monkeypatch.setattr(surest, "MOST_NUMBERS", 4 * 1000)
    found = fit_surest(data.labels, data.pred_probs)
    assert found.rate == pytest.approx(0.2, abs=0.05)


def test_the_gradient_is_that_of_the_likelihood():
    data = drawn(50, even(0.2, 3), 1.0)
    likelihood = surest._Likelihood(surest.logits(data.pred_probs), data.labels)
    at = np.array([1.2, 0.3, -0.2, 0.1, 0.15])
    _, gradient = likelihood._at(at[:-1], at[-1])
    step = 1e-6 * np.eye(5)
    values = [[likelihood._at(x[:-1], x[-1])[0] for x in (at + e, at - e)] for e in step]
    np.testing.assert_allclose(gradient, [(a - b) / 2e-6 for a, b in values], rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 2**31))
def test_any_labels_have_a_rate(n, n_classes, seed):
    rng = np.random.default_rng(seed)
    pred_probs = np.eye(n_classes)[rng.integers(0, n_classes, n)]
    found = fit_surest(rng.integers(0, n_classes, n), pred_probs)
    assert 0 <= found.low <= found.rate <= 1
    assert found.calibration.apply(pred_probs).min() > 0
