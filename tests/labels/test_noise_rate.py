import numpy as np
import pytest
from drawn_labels import drawn, even, pair
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna.labels.noise_rate import (
    Draws,
    adjusted,
    bootstrap,
    confused_alike,
    false_alarms,
    stretched,
    summarise,
)
from s2e_optuna.labels.transition import (
    ByLabel,
    estimate_transition,
    symmetric_prior,
    wrong_probability,
)


def test_stretching_moves_between_the_identity_and_beyond():
    matrix = np.array([[0.8, 0.1, 0.1], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]])
    np.testing.assert_array_equal(stretched(matrix, 0.0), np.eye(3))
    np.testing.assert_allclose(stretched(matrix, 1.0), matrix)
    np.testing.assert_allclose(stretched(matrix, 1.5)[0], [0.7, 0.15, 0.15])
    np.testing.assert_allclose(stretched(matrix, 9.0)[2], [0.5, 0.5, 0.0])  # and no further
    both = stretched(np.stack([matrix, matrix]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(both, [np.eye(3), matrix])


def test_the_rate_is_corrected_for_false_alarms():
    # 1,000 labels, 200 wrong: 0.9 of these look wrong, and 0.1 of the others: 0.2 0.9 + 0.8 0.1.
    assert adjusted(0.26, 0.1, 0.9) == pytest.approx(0.2)
    np.testing.assert_allclose(adjusted([0.05, 0.95, 0.3], 0.1, 0.9), [0.0, 1.0, 0.25])
    assert adjusted(0.3, 0.5, 0.5) == 0.0


def test_false_alarms_by_hand():
    pred_probs, matrix = np.array([[[0.8, 0.15, 0.05]]]), even(0.3, 3)
    matrix[0] = [0.7, 0.1, 0.2]
    looks = [wrong_probability([g], pred_probs[0], even(0.3, 3))[0] for g in range(3)]
    powers = (0.0, 0.25)
    right, (wrong, alike) = false_alarms(np.array([0]), pred_probs, matrix, even(0.3, 3), powers)
    np.testing.assert_allclose(right, looks[0])
    np.testing.assert_allclose(wrong, (0.1 * looks[1] + 0.2 * looks[2]) / 0.3)
    weights = 0.1 * 0.15**0.25, 0.2 * 0.05**0.25
    expected = (weights[0] * looks[1] + weights[1] * looks[2]) / sum(weights)
    np.testing.assert_allclose(alike, expected)


def test_classes_are_confused_alike_or_not():
    labels = np.arange(400) % 4
    pred_probs = np.array([[6, 3, 1, 1], [3, 6, 1, 1], [1, 1, 6, 3], [1, 1, 3, 6]]) / 11
    clean = pred_probs[labels][None]
    assert confused_alike(pred_probs, labels, clean) == pytest.approx((1.0, 1.0))
    assert confused_alike(even(0.4, 4), labels, clean) == (0.0, 0.0)
    assert confused_alike(pred_probs, labels, np.full((1, 400, 4), 0.25)) == (0.0, 0.0)
    assert confused_alike(pred_probs[:2, :2], np.arange(2), np.eye(2)[None]) == (0.0, 0.0)
    assert confused_alike(pred_probs, labels[labels < 3], clean[:, labels < 3])[0] == 1.0
    # Pair noise beside predictions that are nearly even: a steep slope, but no sure one.
    nearly = 0.25 * np.ones((4, 4)) + 0.02 * np.eye(4)[[1, 0, 3, 2]]
    chance = confused_alike(pair(0.4, 4), labels, nearly[labels][None])
    assert chance[0] > 0.0 and chance[1] == 0.0


@pytest.fixture(scope="module")
def booted():
    data = drawn(1500, pair(0.3, 3))
    rows = ByLabel(data.labels, data.calibrated)
    pseudo = symmetric_prior(0.2, 3)
    matrix = estimate_transition(data.labels, data.calibrated, prior=pseudo).matrix
    looks = wrong_probability(data.labels, data.calibrated, matrix)[rows.order]
    draws = bootstrap(rows, looks, matrix, pseudo, np.random.default_rng(0), 100)
    return data, rows, matrix, looks, draws


def test_draws_scatter_like_counts(booted):
    _, _, matrix, looks, draws = booted
    assert draws.matrices.shape == draws.counts.shape == (100, 3, 3)
    np.testing.assert_allclose(draws.matrices.sum(axis=2), 1.0)
    np.testing.assert_allclose(draws.matrices.mean(axis=0), matrix, atol=0.01)
    # Of 500 samples a share of 0.3 has the standard error of 0.02, and EM adds little.
    spread = draws.matrices[:, 0, 1].std()
    assert 0.015 < spread < 0.03
    assert draws.looks_wrong.mean() == pytest.approx(looks.mean(), abs=0.005)
    assert draws.looks_wrong.std() == pytest.approx(looks.std() / 1500**0.5, rel=0.3)


def test_a_summary_stretches_everything_to_one_rate(booted):
    data, rows, matrix, _, draws = booted
    drawn_rates = np.full(100, 0.15)
    found = summarise(draws, matrix, rows.counts(matrix), 0.15, drawn_rates, (0.1, 0.2), 0.12)
    assert (found.overall, found.interval, found.least) == (0.15, (0.1, 0.2), 0.12)
    given_shares = np.bincount(data.labels) / 1500
    assert found.by_class @ given_shares == pytest.approx(0.15)
    true_shares = np.bincount(data.true) / 1500
    assert (1 - np.diag(found.matrix)) @ true_shares == pytest.approx(0.15, abs=0.01)
    for low, high, value in (
        (*found.by_class_interval, found.by_class),
        (*found.matrix_interval, found.matrix),
    ):
        assert (low <= value).all() and (value <= high).all()


def test_a_class_that_nobody_was_given_has_no_rate():
    rows = ByLabel(np.array([0, 0, 1]), np.eye(3)[[0, 0, 1]])
    draws = bootstrap(rows, np.zeros(3), np.eye(3), np.eye(3), np.random.default_rng(0), 5)
    found = summarise(draws, np.eye(3), rows.counts(np.eye(3)), 0.0, np.zeros(5), (0.0, 0.0), 0.0)
    np.testing.assert_array_equal(found.by_class, [0.0, 0.0, np.nan])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.sampled_from([1, 2, 7]), st.integers(0, 2**31))
def test_any_bootstrap_holds_transition_matrices(n, n_classes, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    pred_probs = rng.dirichlet(np.full(n_classes, 0.2), n)
    rows, prior = ByLabel(labels, pred_probs), symmetric_prior(0.1, n_classes)
    draws: Draws = bootstrap(rows, np.zeros(n), np.eye(n_classes), prior, rng, 3)
    np.testing.assert_allclose(draws.matrices.sum(axis=2), 1.0)
    assert draws.matrices.min() >= 0
