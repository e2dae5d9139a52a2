"""When to stop a training: rules on hand-made curves, and the rule that the product has."""

import numpy as np
import pytest

from s2e_optuna.scores import best_epoch, stopped_accuracy
from studies.stopping import (
    LAST,
    PAGE,
    PRODUCT,
    RULES,
    Trainings,
    chances_to_win,
    chosen,
    moving_average,
    outcome,
    page,
    read_tables,
    trailing_mean,
)

CURVES = np.array([[0.2, 0.9, 0.3, 0.6, 0.6, 0.5], [0.1, 0.2, 0.3, 0.4, 0.5, 0.5]])


def test_smoothed_curves_know_no_later_epoch():
    assert trailing_mean(CURVES[:1], 2)[0] == pytest.approx([0.2, 0.55, 0.6, 0.45, 0.6, 0.55])
    assert moving_average(CURVES[:1], 0.5)[0, :2] == pytest.approx([0.2, 0.2 / 3 + 0.9 * 2 / 3])
    for smoothed in (trailing_mean(CURVES, 3), moving_average(CURVES, 0.3)):
        assert smoothed.shape == CURVES.shape
        assert smoothed[:, 0] == pytest.approx(CURVES[:, 0])


def test_the_rule_of_the_product_is_the_one_that_was_compared():
    trainings = Trainings("hand-made", "tune", CURVES, CURVES - 0.1)
    value, test = PRODUCT.judge(trainings)
    assert value == pytest.approx([stopped_accuracy(curve) for curve in CURVES])
    epochs = [best_epoch(curve) for curve in CURVES]
    assert epochs == [1, 4]
    assert test == pytest.approx([CURVES[i, e] - 0.1 for i, e in enumerate(epochs)])


def test_the_product_has_the_rule_that_the_tuning_tables_choose():
    tuning = [table for table in read_tables() if table.use == "tune"]
    assert len(tuning) == 3
    assert chosen({rule: [outcome(rule, t) for t in tuning] for rule in RULES}) is PRODUCT


def test_chances_to_be_the_best_of_a_draw():
    assert chances_to_win(4, 1) == pytest.approx([0.25] * 4)
    assert chances_to_win(4, 2) == pytest.approx([3 / 6, 2 / 6, 1 / 6, 0])
    assert chances_to_win(672, 48).sum() == pytest.approx(1.0)


def test_the_last_epochs_are_averaged():
    value, test = LAST.judge(Trainings("hand-made", "tune", CURVES, CURVES - 0.1))
    assert value == pytest.approx(CURVES[:, -5:].mean(axis=1))
    assert test == pytest.approx(value - 0.1)


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(read_tables())
