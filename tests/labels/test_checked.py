import numpy as np
import pytest
from drawn_labels import drawn, even, pair
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna.errors import DataError
from s2e_optuna.labels.checked import (
    NOT_CHECKED,
    CheckedLabels,
    check_labels,
    tempered_average,
)


def checked_at_random(true, n, seed=0):
    some = np.random.default_rng(seed).permutation(len(true))[:n]
    known = np.full(len(true), NOT_CHECKED)
    known[some] = true[some]
    return known


def test_weights_by_hand():
    labels, known = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 1, 1, 1, -1, -1])
    p = np.array([[0.5, 0.5]] * 4 + [[0.9, 0.1], [0.3, 0.7]])
    found = check_labels(labels, known, p)
    # One of four is wrong: three pseudo-samples with a rate of 1.5/5, evenly.
    pseudo = np.array([[2.1, 0.9], [0.9, 2.1]])
    matrix = np.array([[1.0, 0.0], [1.0, 2.0]]) + pseudo
    matrix /= matrix.sum(axis=1, keepdims=True)
    s = np.sqrt(p)
    w = p * matrix[:, labels].T
    w /= w.sum(axis=1, keepdims=True)
    w[:4] = np.eye(2)[known[:4]]
    for _ in range(20):
        matrix = np.stack([[w[labels == g, k].sum() for g in (0, 1)] for k in (0, 1)]) + pseudo
        matrix /= matrix.sum(axis=1, keepdims=True)
        of_class = [
            (w[:, [k]] * s + p[:, [k]] * s / p[:, k].sum()).sum(axis=0) / (w[:, k].sum() + 1)
            for k in (0, 1)
        ]
        far = np.stack([((s - m) ** 2).sum(axis=1) for m in of_class], axis=1)
        v = (w * far).sum() / 12
        w = (w.sum(axis=0) + 1) * np.exp(-far / (4 * v)) * matrix[:, labels].T
        w /= w.sum(axis=1, keepdims=True)
        w[:4] = np.eye(2)[known[:4]]
    np.testing.assert_allclose(found.matrix, matrix)
    np.testing.assert_allclose(found.weights, w)


@pytest.mark.parametrize("sharpness", [1.0, 0.25], ids=["", "unsure"])
def test_twenty_checks_see_through_networks_that_have_learnt_pair_noise(sharpness):
    matrix = pair(0.4, 5)
    data = drawn(1000, matrix)
    learnt = (data.calibrated @ matrix) ** sharpness
    learnt /= learnt.sum(axis=1, keepdims=True)
    found = check_labels(data.labels, checked_at_random(data.true, 20), learnt)
    assert (data.labels == data.true).mean() < 0.65
    assert (found.weights.argmax(axis=1) == data.true).mean() > 0.9


def test_no_wrong_label_among_a_few_does_not_say_that_there_is_none():
    data = drawn(1000, even(0.2, 5))
    right = np.flatnonzero(data.labels == data.true)[:10]
    known = np.full(1000, NOT_CHECKED)
    known[right] = data.true[right]
    found = check_labels(data.labels, known, data.pred_probs)
    assert (found.weights.argmax(axis=1) == data.true).mean() > 0.9


def test_values_are_means_of_weights():
    checked = CheckedLabels(np.array([[0.5, 0.5], [1.0, 0.0], [0.2, 0.8]]), np.eye(2))
    assert checked.value([0, 0, 1]) == pytest.approx((0.5 + 1.0 + 0.8) / 3)
    many = checked.value([[[0, 0, 1], [1, 1, 0]]])
    np.testing.assert_allclose(many, [[2.3 / 3, 0.7 / 3]])


def test_with_all_labels_checked_the_value_is_the_accuracy():
    data, rng = drawn(200, even(0.3, 4)), np.random.default_rng(1)
    predictions = rng.integers(0, 4, (5, 200))
    found = check_labels(data.labels, data.true, data.pred_probs).value(predictions)
    np.testing.assert_allclose(found, (predictions == data.true).mean(axis=1))


@pytest.mark.parametrize("matrix", [pair(0.45, 4), even(0.5, 4)], ids=["pair", "symmetric"])
def test_twenty_checks_rank_candidates_better_than_noisy_labels(matrix):
    data, rng = drawn(1000, matrix, 2.0), np.random.default_rng(2)
    # Candidates that are right more and more often, and predict the given label instead.
    shares = np.linspace(0.3, 0.7, 9)
    kinds = rng.random((9, 1000))
    predictions = np.where(kinds < shares[:, None], data.true, data.labels)
    known = checked_at_random(data.true, 20)
    values = check_labels(data.labels, known, data.calibrated).value(predictions)
    accuracy = (predictions == data.true).mean(axis=1)
    noisy = (predictions == data.labels).mean(axis=1)
    assert np.corrcoef(values, accuracy)[0, 1] > 0.9
    assert np.corrcoef(noisy, accuracy)[0, 1] < 0  # they reward predicting the noise


def test_the_average_is_at_temperature_two():
    first, second = np.array([[0.5, 0.2, 0.3]]), np.array([[0.1, 0.1, 0.8]])
    roots = [np.sqrt(p) / np.sqrt(p).sum() for p in (first, second)]
    np.testing.assert_allclose(tempered_average([first, second]), (roots[0] + roots[1]) / 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.sampled_from([1, 2, 5, 100]), st.integers(0, 2**31))
def test_any_checks_give_weights_that_sum_to_one(n, n_classes, seed):
    rng = np.random.default_rng(seed)
    labels, true = rng.integers(0, n_classes, (2, n))
    known = np.where(rng.random(n) < 0.5, true, NOT_CHECKED)
    known[0] = true[0]
    pred_probs = np.eye(n_classes)[rng.integers(0, n_classes, n)]
    found = check_labels(labels, known, pred_probs)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0)
    assert 0 <= found.value(labels) <= 1


def test_permuted_classes_have_the_same_values():
    data, order = drawn(100, even(0.3, 3)), np.array([1, 2, 0])
    new, known = np.argsort(order), checked_at_random(data.true, 10)
    moved = np.where(known == NOT_CHECKED, NOT_CHECKED, new[known])
    plain = check_labels(data.labels, known, data.pred_probs).value(data.labels)
    again = check_labels(new[data.labels], moved, data.pred_probs[:, order])
    assert again.value(new[data.labels]) == pytest.approx(plain)


def test_what_is_missing_is_named():
    with pytest.raises(DataError, match="no validation label is checked"):
        check_labels([0], [NOT_CHECKED], [[0.5, 0.5]])
    with pytest.raises(DataError, match="one a sample"):
        CheckedLabels(np.eye(2), np.eye(2)).value([0, 1, 1])
    with pytest.raises(DataError, match="it needs"):
        tempered_average([[0.5, 0.5]])
