"""What is said of labels as a whole, on drawn ones of which everything is known."""

import numpy as np
import pytest
from drawn_labels import drawn, even, pair, softmax
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from s2e_optuna.errors import DataError
from s2e_optuna.labels.quality import BY_CLEAN, BY_SUREST, CleanPart, assess_labels

MATRICES = {"pair": pair(0.45, 4), "symmetric": even(0.3, 4), "few": even(0.05, 4)}


def clean_part(n, n_classes, strength=3.0, seed=100):
    data = drawn(n, np.eye(n_classes), strength, seed)
    return CleanPart(data.true, data.pred_probs)


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("n_clean", [60, 500])
def test_with_clean_samples_rates_matrix_and_list_are_right(kind, n_clean):
    data = drawn(2000, MATRICES[kind])
    found = assess_labels(data.labels, data.pred_probs, clean_part(n_clean, 4))
    low, high = found.noise.interval
    assert low <= data.wrong.mean() <= high and high - low < 0.25
    np.testing.assert_allclose(found.noise.matrix, MATRICES[kind], atol=0.1)
    assert average_precision_score(data.wrong, found.wrong_probability) > 0.9
    precision = data.wrong[found.listed].mean()
    assert precision > 0.85 and found.expected_precision == pytest.approx(precision, abs=0.12)
    assert data.wrong[found.listed].sum() > 0.5 * data.wrong.sum()
    assert (found.posterior.argmax(axis=1) == data.true).mean() > 0.9
    assert found.assumption == BY_CLEAN


def test_twenty_checked_labels_see_through_networks_that_have_learnt_pair_noise():
    matrix = pair(0.45, 10)
    data = drawn(1000, matrix)
    learnt = data.calibrated @ matrix
    checked = CleanPart(data.true[:20], learnt[:20], data.labels[:20])
    found = assess_labels(data.labels[20:], learnt[20:], checked, draws=2)
    right = found.posterior.argmax(axis=1) == data.true[20:]
    assert right.mean() > 0.93  # calibrated by the checked ones alone .89


def test_labels_that_go_wrong_where_predictions_do_are_not_counted_too_low():
    rng = np.random.default_rng(0)
    true, rows = rng.integers(0, 6, 2400), np.arange(2400)
    centres = 1.6 * (np.eye(6) + 0.6 * np.eye(6)[[1, 0, 3, 2, 5, 4]])  # pairs of classes are alike
    seen = centres[true] + 0.6 * rng.standard_normal((2400, 6))
    pred_probs = softmax(-((seen[:, None] - centres) ** 2).sum(axis=2) / 0.72)
    others = np.sqrt(pred_probs)
    others[rows, true] = 0.0
    others /= others.sum(axis=1, keepdims=True)
    taken_for = (rng.random((2400, 1)) > np.cumsum(others, axis=1)).sum(axis=1)
    wrong = rng.random(2400) < 0.6 * np.sqrt(1.0 - pred_probs[rows, true])
    labels = np.where(wrong, taken_for, true)[:2000]
    clean = CleanPart(true[2000:], pred_probs[2000:])
    rate = assess_labels(labels, pred_probs[:2000], clean, draws=50).noise.overall
    assert rate == pytest.approx(wrong[:2000].mean(), abs=0.12)  # without h: .18 less


@pytest.mark.parametrize("kind", ["symmetric", "few"])
def test_without_clean_samples_the_surest_predictions_say_as_much(kind):
    data = drawn(2000, MATRICES[kind])
    found = assess_labels(data.labels, data.pred_probs)
    assert found.noise.overall == pytest.approx(data.wrong.mean(), abs=0.03)
    assert data.wrong[found.listed].mean() > 0.85
    assert found.assumption == BY_SUREST


@pytest.mark.parametrize("strength", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("n_clean", [0, 30, 300])
def test_where_all_labels_are_right_next_to_none_is_listed(strength, n_clean):
    for seed in range(3):
        data = drawn(1000, np.eye(5), strength, seed)
        clean = clean_part(n_clean, 5, strength) if n_clean else None
        found = assess_labels(data.labels, data.pred_probs, clean, draws=100)
        assert found.listed.mean() <= 0.01
        assert found.noise.interval[0] < 0.01


def test_labels_that_say_nothing_make_no_list():
    rng = np.random.default_rng(0)
    pred_probs, labels = softmax(rng.standard_normal((800, 4))), rng.integers(0, 4, 800)
    assert not assess_labels(labels, pred_probs).listed.any()


def test_no_label_is_listed_that_predictions_agree_with():
    data = drawn(1500, even(0.6, 10), 1.5)
    found = assess_labels(data.labels, data.pred_probs, clean_part(300, 10, 1.5))
    assert found.listed.sum() > 100
    assert (found.proposed != data.labels)[found.listed].all()


def test_one_to_a_hundred_floods_no_class_and_forgets_none():
    shares = np.array([0.7, 0.2, 0.093, 0.007])
    data = drawn(3000, even(0.1, 4), 4.0, shares=shares)
    clean = drawn(500, np.eye(4), 4.0, 1, shares)
    found = assess_labels(data.labels, data.pred_probs, CleanPart(clean.true, clean.pred_probs))
    for k in range(4):
        of_class = data.labels == k
        listed, wrong = found.listed[of_class], data.wrong[of_class]
        assert listed.sum() == pytest.approx(wrong.sum(), rel=0.35)
        assert wrong[listed].mean() > 0.75


def test_a_hundred_classes_of_twenty_samples():
    right = drawn(2000, np.eye(100), 6.0)
    assert assess_labels(right.labels, right.pred_probs, draws=2).listed.mean() <= 0.01
    data = drawn(2000, even(0.2, 100), 6.0)
    found = assess_labels(data.labels, data.pred_probs, draws=2)
    assert found.noise.overall == pytest.approx(data.wrong.mean(), abs=0.03)
    assert data.wrong[found.listed].mean() > 0.9
    assert data.wrong[found.listed].sum() > 0.8 * data.wrong.sum()
    assert found.not_judged == ()


def test_classes_of_one_and_three_samples_are_named_and_not_listed():
    data = drawn(600, np.eye(3), 4.0)
    # Networks have seen so little of classes 3 and 4 that they take them for others.
    pred_probs = np.hstack([data.pred_probs, np.full((600, 2), 1e-6)])
    labels = data.labels.copy()
    labels[:1], labels[1:4] = 3, 4
    clean = clean_part(200, 3, 4.0)
    wide = CleanPart(clean.labels, np.hstack([clean.pred_probs, np.full((200, 2), 1e-6)]))
    for part in (None, wide):
        found = assess_labels(labels, pred_probs / pred_probs.sum(axis=1, keepdims=True), part)
        assert found.not_judged == (3, 4)
        assert not found.listed[:4].any()
        assert (found.posterior.argmax(axis=1)[:4] == labels[:4]).all()


def test_a_class_that_the_clean_part_lacks_is_judged_by_the_others():
    data = drawn(2000, even(0.2, 4))
    clean = drawn(300, np.eye(4), seed=9)
    there = clean.true != 2
    part = CleanPart(clean.true[there], clean.pred_probs[there])
    found = assess_labels(data.labels, data.pred_probs, part)
    of_class = data.labels == 2
    assert data.wrong[of_class & found.listed].mean() > 0.8
    assert data.wrong[of_class & found.listed].sum() > 0.5 * data.wrong[of_class].sum()


def test_few_clean_samples_leave_the_word_to_the_surest_predictions():
    data = drawn(2000, even(0.05, 4))
    found = assess_labels(data.labels, data.pred_probs, clean_part(10, 4))
    assert found.noise.least == 0.0 and found.assumption == BY_SUREST
    assert data.wrong[found.listed].mean() > 0.85


def test_pairs_of_checked_labels_count():
    # Human noise is as frequent as it is, and looks less wrong than drawn noise.
    data = drawn(3000, pair(0.3, 4), 1.0)
    checked = drawn(200, pair(0.3, 4), 1.0, 7)
    part = CleanPart(checked.true, checked.pred_probs, checked.labels)
    found = assess_labels(data.labels, data.pred_probs, part)
    plain = assess_labels(data.labels, data.pred_probs, CleanPart(part.labels, part.pred_probs))
    truth = data.wrong.mean()
    assert abs(found.noise.overall - truth) < 0.05
    assert np.ptp(found.noise.interval) < np.ptp(plain.noise.interval)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    inside = 0
    for seed in range(12):
        data = drawn(400, even(0.2, 3), 2.0, seed)
        clean = drawn(100, np.eye(3), 2.0, 1000 + seed)
        part = CleanPart(clean.true, clean.pred_probs)
        low, high = assess_labels(data.labels, data.pred_probs, part, draws=50).noise.interval
        inside += low <= data.wrong.mean() <= high
    assert inside >= 10


def test_permuted_classes_are_judged_alike():
    data, clean = drawn(800, pair(0.3, 4)), drawn(200, np.eye(4), seed=5)
    order = np.array([2, 0, 3, 1])
    new = np.argsort(order)
    plain = assess_labels(data.labels, data.pred_probs, CleanPart(clean.true, clean.pred_probs))
    moved = assess_labels(
        new[data.labels],
        data.pred_probs[:, order],
        CleanPart(new[clean.true], clean.pred_probs[:, order]),
    )
    assert moved.noise.overall == pytest.approx(plain.noise.overall, abs=0.01)
    np.testing.assert_allclose(
        moved.noise.matrix, plain.noise.matrix[np.ix_(order, order)], atol=0.02
    )
    assert (moved.listed != plain.listed).mean() < 0.02


def test_the_same_seed_says_the_same():
    data, part = drawn(300, even(0.2, 3)), clean_part(50, 3)
    first, again = (assess_labels(data.labels, data.pred_probs, part, seed=3) for _ in range(2))
    assert first.noise.interval == again.noise.interval
    np.testing.assert_array_equal(first.wrong_probability, again.wrong_probability)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.sampled_from([1, 2, 4]), st.integers(0, 8), st.integers(0, 2**31))
def test_any_labels_are_judged(n, n_classes, n_clean, seed):
    rng = np.random.default_rng(seed)

    def sure(count):
        return np.eye(n_classes, dtype=np.float32)[rng.integers(0, n_classes, count)]

    clean = CleanPart(rng.integers(0, n_classes, n_clean), sure(n_clean)) if n_clean else None
    found = assess_labels(rng.integers(0, n_classes, n), sure(n), clean, draws=5)
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1.0, atol=1e-5)
    assert np.isfinite(found.wrong_probability).all()
    assert found.posterior.dtype == np.float32
    low, high = found.noise.interval
    assert 0 <= low <= found.noise.overall <= high <= 1


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="with a sample or more"):
        assess_labels([], np.zeros((0, 3)))
    with pytest.raises(DataError, match="give all of them"):
        assess_labels([0], [[0.5, 0.5]], CleanPart([0], [[0.2, 0.3, 0.5]]))
