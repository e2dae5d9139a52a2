"""What decisions say: intervals, calibration, advice."""

import numpy as np
import pytest

from s2e_optuna.review.evidence import rest_words, seen_words, share_wrong, shift, shifted


def test_the_interval_is_that_of_wilson() -> None:
    """Literals of scipy.stats.binomtest(...).proportion_ci(0.95, method="wilson")."""
    assert share_wrong(3, 20) == pytest.approx((0.0523687, 0.3604192), abs=1e-6)
    assert share_wrong(0, 20) == pytest.approx((0.0, 0.1611252), abs=1e-6)
    assert share_wrong(20, 20) == pytest.approx((0.8388748, 1.0), abs=1e-6)
    assert seen_words(1, 1) == "1 of 1 was wrong: between 21 and 100%."


def test_decisions_calibrate_scores_as_far_as_they_are_many() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.95, 4000)
    wrong = rng.random(4000) < shifted(scores, -1.2)
    assert shift(scores, wrong) == pytest.approx(-1.2, abs=0.15)
    assert 0 > shift([0.9], [False]) > shift([0.9] * 10, [False] * 10)
    assert shift([], []) == 0.0
    assert np.all(np.diff(shifted(np.sort(scores), -1.2)) >= 0)  # the order stays


def test_advice() -> None:
    some = np.full(150, 0.4)
    assert rest_words(some, 3) == "Of 150 cards left about 60 are expected to be wrong."
    assert "Less is to be found now: of the next 100 about 40" in rest_words(some, 20)
    assert "Go on: of the next 100 about 80" in rest_words(2 * some, 20)
    stop = rest_words(some / 5, 20)
    assert "You can stop: the next 100 are probably right in nine of ten." in stop
    assert "the next one" in rest_words(np.array([0.01]), 20)
