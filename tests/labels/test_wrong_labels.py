"""Probabilities of true labels on drawn predictions, for which the truth is known."""

import numpy as np
import pytest

from s2e_optuna.labels.wrong_labels import LEAST_OF_A_CLASS, true_label_probabilities

CLASSES = 4


def predictions(labels, strength, rng, turned=0.0):
    """Softmax of noise and of evidence for the label; a share of it is for the next class."""
    signs = np.eye(CLASSES)[labels] * (1 - turned) + np.eye(CLASSES)[(labels + 1) % 4] * turned
    values = np.exp(rng.standard_normal((len(labels), CLASSES)) + strength * signs)
    return values / values.sum(axis=1, keepdims=True)


def drawn(strength, rate, kind="symmetric", turned=0.0, n_clean=800, seed=0):
    rng = np.random.default_rng(seed)
    true, labels = rng.integers(0, CLASSES, 1500), rng.integers(0, CLASSES, n_clean)
    step = rng.integers(1, CLASSES, len(true)) if kind == "symmetric" else 1
    given = np.where(rng.random(len(true)) < rate, (true + step) % CLASSES, true)
    clean = np.stack([predictions(labels, strength, rng, turned) for _ in range(2)])
    found = true_label_probabilities(
        predictions(true, strength, rng, turned), given, clean, labels
    )
    return found, given, true


@pytest.mark.parametrize("strength", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("rate", [0.1, 0.4])
@pytest.mark.parametrize("kind", ["symmetric", "pair"])
def test_as_many_are_wrong_as_it_says(strength, rate, kind):
    found, given, true = drawn(strength, rate, kind)
    wrong = 1 - found[np.arange(len(given)), given]
    assert found.sum(axis=1) == pytest.approx(np.ones(len(given)))
    assert wrong.mean() == pytest.approx((given != true).mean(), abs=0.05)
    listed = wrong > 0.5
    if listed.sum() > 50:
        precision = (given != true)[listed].mean()
        assert wrong[listed].mean() == pytest.approx(precision, abs=0.1)


def test_networks_that_have_learnt_the_noise_are_corrected():
    found, given, true = drawn(6.0, 0.45, "pair", turned=0.55)  # mostly for the wrong class
    listed = found[np.arange(len(given)), given] < 0.5
    assert (given != true)[listed].mean() > 0.8
    assert (found.argmax(axis=1) == true).mean() > 0.8


def test_right_labels_and_networks_that_know_nothing_make_no_list():
    for strength, rate in ((6.0, 0.0), (0.0, 0.3)):
        found, given, _ = drawn(strength, rate)
        assert (found[np.arange(len(given)), given] < 0.5).mean() < 0.01


def test_a_class_with_few_clean_samples_is_not_judged():
    n_enough = CLASSES * LEAST_OF_A_CLASS * 2
    assert drawn(3.0, 0.3, n_clean=n_enough)[0] is not None
    assert drawn(3.0, 0.3, n_clean=CLASSES * LEAST_OF_A_CLASS - 1)[0] is None
