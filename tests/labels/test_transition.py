import tracemalloc

import numpy as np
import pytest
from drawn_labels import drawn, even, pair
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna.errors import DataError
from s2e_optuna.labels.transition import (
    ByLabel,
    count_pairs,
    estimate_transition,
    label_posterior,
    least_symmetric_rate,
    symmetric_matrix,
    wrong_probability,
)


def test_one_round_by_hand():
    labels, pred_probs = [0, 1], np.array([[0.8, 0.2], [0.6, 0.4]])
    # With 0.5 everywhere q = p. Row 0: 0.8 + 0.5, 0.6 + 0.5; row 1: 0.2 + 0.5, 0.4 + 0.5.
    prior = np.full((2, 2), 0.5)
    found = estimate_transition(labels, pred_probs, prior=prior, most_rounds=1)
    np.testing.assert_allclose(found.matrix, [[1.3 / 2.4, 1.1 / 2.4], [0.7 / 1.6, 0.9 / 1.6]])
    assert (found.rounds, found.converged) == (1, False)


def test_posterior_by_hand():
    matrix = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]])
    found = label_posterior([1], [[0.5, 0.3, 0.2]], matrix)
    np.testing.assert_allclose(found, [[0.10 / 0.46, 0.30 / 0.46, 0.06 / 0.46]])
    np.testing.assert_allclose(wrong_probability([1], [[0.5, 0.3, 0.2]], matrix), [0.16 / 0.46])


def test_a_label_that_no_possible_class_has_says_nothing():
    pred_probs = [[0.0, 0.4, 0.6]]
    np.testing.assert_allclose(label_posterior([0], pred_probs, np.eye(3)), pred_probs)
    np.testing.assert_allclose(wrong_probability([0], pred_probs, np.eye(3)), [1.0])


@pytest.mark.parametrize("matrix", [pair(0.45, 4), even(0.5, 4), np.eye(4)], ids=str)
def test_the_matrix_that_labels_were_drawn_from_is_found(matrix):
    data = drawn(4000, matrix)
    found = estimate_transition(data.labels, data.calibrated)
    assert found.converged
    np.testing.assert_allclose(found.matrix, matrix, atol=0.05)
    wrong = wrong_probability(data.labels, data.calibrated, found.matrix)
    assert wrong.mean() == pytest.approx(data.wrong.mean(), abs=0.02)


def test_rounds_never_make_the_labels_less_likely():
    data = drawn(200, even(0.3, 3), 1.5)
    prior = np.full((3, 3), 0.1)

    def fit(matrix):
        likely = np.einsum("nk,kn->n", data.calibrated, matrix[:, data.labels])
        return np.log(likely).sum() + (prior * np.log(matrix)).sum()

    fits = [
        fit(estimate_transition(data.labels, data.calibrated, prior=prior, most_rounds=r).matrix)
        for r in range(1, 12)
    ]
    assert np.diff(fits).min() > -1e-9


def test_counts_by_label_are_sums_of_the_posterior():
    data, matrix = drawn(300, even(0.3, 4)), even(0.2, 4)
    posterior = label_posterior(data.labels, data.calibrated, matrix)
    expected = np.stack([posterior[data.labels == g].sum(axis=0) for g in range(4)], axis=1)
    np.testing.assert_allclose(ByLabel(data.labels, data.calibrated).counts(matrix), expected)


def test_checked_pairs_are_counted():
    np.testing.assert_array_equal(
        count_pairs([0, 2, 2], [1, 2, 2], 3), [[0, 1, 0], [0, 0, 0], [0, 0, 2]]
    )
    data = drawn(300, pair(0.45, 3), 0.5)  # predictions that know next to nothing
    known = 1000 * pair(0.45, 3)
    found = estimate_transition(data.labels, data.calibrated, known=known).matrix
    np.testing.assert_allclose(found, pair(0.45, 3), atol=0.05)


def test_a_class_of_which_nothing_is_known_keeps_its_labels():
    nothing = np.zeros((3, 3))
    found = estimate_transition([0, 1], np.eye(3)[[0, 1]], prior=nothing).matrix
    np.testing.assert_array_equal(found, np.eye(3))


def test_the_least_plausible_rate_is_zero_where_no_label_need_be_wrong():
    data = drawn(500, np.eye(3))
    assert least_symmetric_rate(data.labels, data.calibrated) == 0.0
    data = drawn(2000, even(0.3, 3))
    assert 0.25 < least_symmetric_rate(data.labels, data.calibrated) < 0.3


def test_permuted_classes_have_a_permuted_matrix():
    data = drawn(500, pair(0.3, 4), 2.0)
    order = np.array([2, 0, 3, 1])
    plain = estimate_transition(data.labels, data.calibrated)
    moved = estimate_transition(np.argsort(order)[data.labels], data.calibrated[:, order])
    np.testing.assert_allclose(moved.matrix, plain.matrix[np.ix_(order, order)], atol=1e-9)


def test_the_order_of_samples_does_not_matter():
    data, order = drawn(400, even(0.2, 3)), np.random.default_rng(1).permutation(400)
    plain = estimate_transition(data.labels, data.calibrated).matrix
    moved = estimate_transition(data.labels[order], data.calibrated[order]).matrix
    np.testing.assert_allclose(moved, plain, atol=1e-9)


def test_memory_stays_within_three_copies_and_float32_is_kept():
    data = drawn(20_000, even(0.3, 50), 4.0)
    pred_probs = data.calibrated.astype(np.float32)
    tracemalloc.start()
    matrix = estimate_transition(data.labels, pred_probs).matrix
    found = label_posterior(data.labels, pred_probs, matrix)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.dtype == np.float32
    assert peak < 3 * pred_probs.nbytes


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.sampled_from([1, 2, 3, 100]), st.integers(0, 2**31))
def test_any_labels_give_a_matrix_and_a_posterior(n, n_classes, seed):
    rng = np.random.default_rng(seed)
    pred_probs = rng.integers(0, 3, (n, n_classes)) + 0.0  # ties, zeros
    pred_probs[pred_probs.sum(axis=1) == 0, 0] = 1.0
    pred_probs /= pred_probs.sum(axis=1, keepdims=True)
    labels = rng.integers(0, max(n_classes - 1, 1), n)  # the last class has none
    matrix = estimate_transition(labels, pred_probs).matrix
    found = label_posterior(labels, pred_probs, matrix)
    wrong = wrong_probability(labels, pred_probs, matrix)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_allclose(1 - found[np.arange(n), labels], wrong, atol=1e-9)
    assert matrix.min() >= 0 and found.min() >= 0


def test_a_symmetric_matrix_of_one_class_is_one():
    np.testing.assert_array_equal(symmetric_matrix(0.3, 1), [[1.0]])


def test_counts_of_another_shape_are_refused():
    with pytest.raises(DataError, match="must be numbers of the shape"):
        estimate_transition([0], [[0.5, 0.5]], known=np.zeros((3, 3)))
