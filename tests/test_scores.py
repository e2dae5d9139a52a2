import math

import pytest

from s2e_optuna.scores import (
    MethodScore,
    best_epoch,
    cross_judged,
    last_epochs,
    mean_of_last,
    number_or_none,
    stopped_accuracy,
)


@pytest.mark.parametrize(("epochs", "last"), [(1, 1), (3, 3), (20, 5), (50, 5), (200, 20)])
def test_last_epochs(epochs, last):
    assert last_epochs(epochs) == last


def test_the_mean_of_the_last_epochs():
    assert mean_of_last([9.0, 1.0, 3.0], 2) == 2.0
    assert math.isnan(mean_of_last([], 5))


def test_a_training_is_stopped_at_its_first_best_epoch_and_worth_its_three_best():
    curve = [math.nan, 0.5, 0.8, math.nan, 0.8, 0.2]
    assert best_epoch(curve) == 2
    assert stopped_accuracy(curve) == pytest.approx((0.5 + 0.8 + 0.8) / 3)
    assert stopped_accuracy(curve[:2]) == 0.5
    assert best_epoch(curve[:1]) is None and math.isnan(stopped_accuracy(curve[:1]))


def test_an_epoch_that_one_half_has_chosen_is_judged_by_the_other():
    first, second = [0.5, 0.9, 0.6, 0.7], [0.4, 0.6, 0.8, 0.5]
    assert cross_judged(first, second, "best") == pytest.approx((0.6 + 0.6) / 2)
    assert cross_judged(first, second, "last") == pytest.approx((0.675 + 0.575) / 2)
    assert math.isnan(cross_judged(first, [math.nan] * 4, "best"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_number_for_it(value):
    assert number_or_none(value) is None and number_or_none(0.5) == 0.5


def test_a_score_is_read_back_as_it_was_written():
    score = MethodScore(
        method="coteaching",
        schedule=(1.0, 0.5),
        test_accuracy=(0.75, 0.25),
        validation_accuracy=(0.5, 0.5),
        label_precision=(0.9, 0.9),
        seconds=1.5,
        curves={"test_accuracy": ((0.5, 0.75), (0.25, 0.25))},
    )
    row = score.to_dict()
    assert MethodScore.from_dict(row) == score
    assert row["test_accuracy_mean"] == 0.5
    assert row["test_accuracy_std"] == pytest.approx(math.sqrt(0.125))
