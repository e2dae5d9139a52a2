import numpy as np
import pytest
from drawn_labels import drawn, even, softmax
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna.errors import DataError
from s2e_optuna.labels.calibration import (
    MOST_CLASSES_MIXED,
    Calibration,
    cross_fitted,
    fit_calibration,
)


def test_a_calibration_is_a_scale_a_matrix_and_a_bias():
    matrix = np.array([[0.0, 1.0], [0.0, 0.0]])
    found = Calibration(2.0, np.array([0.5, 0.0]), matrix, 1.0).apply([[0.8, 0.2]])
    first, second = np.log(0.8) / 2 - np.log(0.2) / 2, np.log(0.2) / 2 - np.log(0.8) / 2
    scores = np.array([2 * first + 0.5, 2 * second + first])
    np.testing.assert_allclose(found, [np.exp(scores) / np.exp(scores).sum()], rtol=1e-12)


@pytest.mark.parametrize("strength", [1.5, 3.0])
def test_the_scale_of_the_evidence_is_found(strength):
    data = drawn(3000, np.eye(4), strength)
    fitted = fit_calibration(data.true, data.pred_probs)
    effect = fitted.scale + np.diag(fitted.matrix).mean()
    assert effect == pytest.approx(strength, rel=0.1)
    np.testing.assert_allclose(fitted.apply(data.pred_probs), data.calibrated, atol=0.1)


def test_networks_that_have_learnt_another_class_are_corrected():
    data = drawn(1000, np.eye(3))
    turned = np.roll(data.pred_probs, 1, axis=1)
    found = fit_calibration(data.true, turned).apply(turned)
    assert (turned.argmax(axis=1) == data.true).mean() < 0.1
    assert (found.argmax(axis=1) == data.true).mean() > 0.95


def test_networks_that_know_nothing_become_class_shares():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    found = fit_calibration(labels, softmax(rng.standard_normal((100, 3))))
    assert found.strength == 0.0
    np.testing.assert_allclose(found.apply([[0.1, 0.1, 0.8]]), [[0.6, 0.3, 0.1]], atol=0.01)


def test_a_class_that_the_clean_part_lacks_is_neither_punished_nor_lost():
    data = drawn(600, np.eye(4))
    there = data.true < 3
    found = fit_calibration(data.true[there], data.pred_probs[there]).apply(data.pred_probs)
    assert (found.argmax(axis=1) == data.true)[~there].mean() > 0.9
    assert found.min() > 0


def test_one_sample_fewer_of_a_class_changes_little():
    data = drawn(200, np.eye(4))
    less = np.delete(np.arange(200), np.flatnonzero(data.true == 2)[0])
    both = [fit_calibration(data.true[i], data.pred_probs[i]) for i in (np.arange(200), less)]
    before, after = (fitted.apply(data.pred_probs) for fitted in both)
    assert np.abs(before - after).max() < 0.1


def test_few_samples_keep_to_what_is_known_of_the_scale():
    data = drawn(20, np.eye(3), 4.0)
    free = fit_calibration(data.true, data.pred_probs, (1.0, 0.05))
    near = fit_calibration(data.true, data.pred_probs, (4.0, 0.1))
    assert abs(free.scale - 1) < 0.1 and abs(near.scale - 4) < 0.1


def test_several_networks_count_as_one_sample():
    data = drawn(60, np.eye(3))
    once = fit_calibration(data.true, data.pred_probs)
    thrice = fit_calibration(data.true, np.stack([data.pred_probs] * 3))
    assert thrice.scale == pytest.approx(once.scale, rel=1e-3)
    np.testing.assert_allclose(thrice.matrix, once.matrix, atol=1e-3)


def test_cross_fitting_leaves_each_sample_out():
    data = drawn(100, np.eye(3))
    fitted = fit_calibration(data.true, data.pred_probs)
    held_out = cross_fitted(data.true, data.pred_probs, fitted)[0]
    other = data.true.copy()
    other[7] = (other[7] + 1) % 3  # a sample's own label does not change what is said of it
    np.testing.assert_array_equal(cross_fitted(other, data.pred_probs, fitted)[0, 7], held_out[7])
    np.testing.assert_allclose(held_out, fitted.apply(data.pred_probs), atol=0.3)


def test_permuted_classes_are_calibrated_alike():
    data = drawn(300, even(0.2, 4))
    order = np.array([2, 0, 3, 1])  # new class i is old class order[i]
    new = np.argsort(order)
    plain = fit_calibration(data.true, data.pred_probs).apply(data.pred_probs)
    moved = fit_calibration(new[data.true], data.pred_probs[:, order])
    again = moved.apply(data.pred_probs[:, order])
    np.testing.assert_allclose(again, plain[:, order], atol=2e-3)


def test_float32_stays_float32_and_many_classes_do_without_the_matrix():
    n_classes = MOST_CLASSES_MIXED + 1
    data = drawn(300, np.eye(n_classes), 5.0)
    fitted = fit_calibration(data.true, data.pred_probs.astype(np.float32))
    assert fitted.apply(data.pred_probs.astype(np.float32)).dtype == np.float32
    assert not fitted.matrix.any()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 2**31), st.booleans())
def test_any_clean_part_gives_probabilities_above_zero(n, n_classes, seed, sure):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    pred_probs = np.eye(n_classes)[rng.integers(0, n_classes, n)] if sure else None
    if pred_probs is None:  # with ties and zeros
        pred_probs = rng.integers(0, 3, (n, n_classes)) + 1e-9
        pred_probs = pred_probs / pred_probs.sum(axis=1, keepdims=True)
    fitted = fit_calibration(labels, pred_probs)
    for found in (fitted.apply(pred_probs), cross_fitted(labels, pred_probs, fitted)[0]):
        assert found.min() > 0
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-9)


@pytest.mark.parametrize(
    ("labels", "pred_probs", "message"),
    [
        ([0, 1], [[0.5, 0.5]], "give one label for each row"),
        ([2], [[0.5, 0.5]], "number the classes 0 .. 1"),
        ([0.5], [[0.5, 0.5]], "must be integers"),
        ([0], [[0.2, 0.2]], "must sum to 1"),
        ([0], [[1.5, -0.5]], "below 0 or not finite"),
        ([0], [[np.nan, 1.0]], "below 0 or not finite"),
        ([], np.zeros((0, 2)), "or .F, V, C. of F networks"),
        ([0], [0.5, 0.5], "a row a sample and a column a class"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(labels, pred_probs, message):
    with pytest.raises(DataError, match=message):
        fit_calibration(labels, pred_probs)
