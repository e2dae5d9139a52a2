"""What decisions say: intervals, calibration, advice."""

import numpy as np
import pytest

from s2e_optuna.review.evidence import (
    WITHIN,
    more_checks,
    more_words,
    rest_words,
    seen_words,
    share_wrong,
    shift,
    shifted,
)


def test_the_interval_is_that_of_wilson() -> None:
    """Literals of scipy.stats.binomtest(...).proportion_ci(0.95, method="wilson")."""
    assert share_wrong(3, 20) == pytest.approx((0.0523687, 0.3604192), abs=1e-6)
    assert share_wrong(0, 20) == pytest.approx((0.0, 0.1611252), abs=1e-6)
    assert share_wrong(20, 20) == pytest.approx((0.8388748, 1.0), abs=1e-6)
    assert seen_words(1, 1) == "1 of 1 was wrong: between 21 and 100%."


@pytest.mark.parametrize(("wrong", "checked"), [(0, 5), (3, 20), (9, 20), (20, 20)])
def test_so_many_more_checks_make_the_interval_narrow_and_one_fewer_does_not(
    wrong: int, checked: int
) -> None:
    more, share = more_checks(wrong, checked), wrong / checked

    def furthest(size: int) -> float:
        low, high = share_wrong(share * size, size)
        return max(share - low, high - share)

    assert furthest(checked + more) <= WITHIN < furthest(checked + more - 1)


def test_what_more_checks_would_say() -> None:
    assert more_words(3, 20, 25, 200).startswith("53 more (-n 78), ")
    assert "15 more (-n 40), wrong as often, would narrow it to between 7 and 30%" in (
        more_words(3, 20, 25, 40)  # no more than there are
    )
    assert more_words(0, 40, 40, 200).startswith("That is known to 10 points")
    assert more_words(3, 20, 40, 40) == "No more can be drawn."


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
