import numpy as np
import pytest
from drawn_labels import drawn, even
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna.labels.ranking import alarm_ratio, evened, not_recognised, rank_labels


def test_false_alarms_divide_the_odds():
    labels, pred_probs = np.array([0, 0]), np.array([[0.02, 0.98], [0.2, 0.8]])
    matrix = even(0.1, 2)
    odds = np.array([0.98 * 0.1 / (0.02 * 0.9), 0.8 * 0.1 / (0.2 * 0.9)])
    plain = rank_labels(labels, pred_probs, matrix)
    np.testing.assert_allclose(plain.wrong_probability, odds / (1 + odds))
    np.testing.assert_array_equal(plain.listed, [True, False])
    thrice = rank_labels(labels, pred_probs, matrix, alarms=6.0)
    np.testing.assert_allclose(thrice.wrong_probability, odds / 6 / (1 + odds / 6))
    assert not thrice.listed.any()


def test_no_label_is_listed_that_predictions_agree_with():
    # The given class is the most probable one, though others together are more probable.
    pred_probs = np.array([[0.40, 0.31, 0.29]])
    found = rank_labels(np.array([0]), pred_probs, np.full((3, 3), 1 / 3))
    assert found.wrong_probability[0] > 0.5 and not found.listed[0]


def test_classes_that_predictions_do_not_recognise_are_not_judged():
    pred_probs = np.array([[0.9, 0.1, 0.0]] * 3 + [[0.1, 0.9, 0.0]] * 3)
    labels = np.array([0, 0, 2, 1, 1, 2])
    unknown = not_recognised(labels, pred_probs)
    np.testing.assert_array_equal(unknown, [False, False, True])
    found = rank_labels(labels, pred_probs, even(0.3, 3), judged=~unknown, rate=0.07)
    np.testing.assert_array_equal(found.listed, False)
    np.testing.assert_allclose(found.wrong_probability[[2, 5]], 0.07)


def test_nothing_is_listed_where_nothing_may_be():
    found = rank_labels(np.array([0]), np.array([[0.01, 0.99]]), even(0.3, 2), lists=False)
    assert found.wrong_probability[0] > 0.9 and not found.listed[0]


def test_false_alarms_of_calibrated_predictions_are_as_many_as_expected():
    data = drawn(4000, np.eye(3), 1.0)
    assert alarm_ratio(data.true, data.calibrated[None], even(0.3, 3)) < 1.2
    sure = data.calibrated**3
    sure /= sure.sum(axis=1, keepdims=True)
    assert alarm_ratio(data.true, sure[None], even(0.3, 3)) > 2


def test_what_predictions_know_is_not_said_twice():
    matrix = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    np.testing.assert_allclose(evened(matrix, 0.0), matrix)
    roots = np.sqrt([0.2, 0.1])
    np.testing.assert_allclose(evened(matrix, 1.0)[0, 1:], 0.3 * roots / roots.sum())
    np.testing.assert_allclose(evened(matrix, 1.0)[1:], matrix[1:])


def test_networks_are_averaged():
    data = drawn(50, np.eye(3), 1.0)
    pred_probs = np.stack([data.calibrated, data.calibrated])
    one = alarm_ratio(data.true, data.calibrated[None], even(0.3, 3))
    assert alarm_ratio(data.true, pred_probs, even(0.3, 3)) == pytest.approx(one)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.sampled_from([1, 2, 100]), st.integers(0, 2**31))
def test_listed_labels_are_improbable_and_not_predicted(n, n_classes, seed):
    rng = np.random.default_rng(seed)
    pred_probs = np.eye(n_classes)[rng.integers(0, n_classes, n)] * 0.9 + 0.1 / n_classes
    labels = rng.integers(0, n_classes, n)
    found = rank_labels(labels, pred_probs, np.full((n_classes, n_classes), 1 / n_classes))
    assert (found.wrong_probability[found.listed] > 0.5).all()
    assert (pred_probs.argmax(axis=1) != labels)[found.listed].all()
    assert (found.proposed != labels)[found.listed].all()
    assert ((found.wrong_probability >= 0) & (found.wrong_probability <= 1)).all()
