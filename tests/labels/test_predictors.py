from dataclasses import replace

import numpy as np
import pytest

from s2e_optuna.labels import Unseen
from s2e_optuna.labels.predictors import (
    agreeing,
    clean_log_loss,
    geometric_mean,
    helpful,
    together,
)

RNG = np.random.default_rng(0)
TRUTH = np.arange(300) % 3


def predictor(strength, networks=1):
    scores = strength * np.eye(3)[TRUTH] + RNG.standard_normal((networks, 300, 3))
    found = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    return Unseen(found[0].astype(np.float32), found.astype(np.float32))


def test_several_tell_more_than_one_and_only_who_hinders_is_left_out():
    strong, other, noise = predictor(2.0), predictor(2.0), predictor(0.0)
    alone, both = (clean_log_loss(TRUTH, one.clean) for one in (strong, together([strong, other])))
    assert both < alone
    candidates = {"strong": strong, "noise": noise, "other": other}
    assert helpful(candidates, TRUTH) == ("strong", "other")
    assert helpful({"weak": predictor(1.5), **candidates}, TRUTH) == ("weak", "strong", "other")
    assert helpful({"noise": noise}, TRUTH) == ("noise",)


def test_overconfidence_alone_loses_nothing():
    right = predictor(2.0)
    powers = right.clean**5
    losses = [
        clean_log_loss(TRUTH, clean)
        for clean in (right.clean, powers / powers.sum(axis=-1, keepdims=True))
    ]
    assert losses[1] == pytest.approx(losses[0], abs=0.03)


def test_one_network_goes_with_each_of_several():
    assert together([predictor(1.0, 5), predictor(1.0)]).clean.shape == (5, 300, 3)
    assert together([predictor(1.0, 5), predictor(1.0), predictor(1.0, 2)]).clean.shape[0] == 2


def test_where_no_part_is_clean_all_that_have_learnt_something_are_one():
    candidates = {"strong": predictor(4.0), "weak": predictor(2.0), "noise": predictor(0.0)}
    assert agreeing(candidates, TRUTH) == ("strong", "weak")
    held_out = [replace(one, clean=None, held_out=one.training) for one in candidates.values()]
    both = together(held_out)
    assert both.clean is None and np.array_equal(both.held_out, both.training)
    assert together([held_out[0], predictor(1.0)]).held_out is None


def test_what_one_excludes_the_other_can_hardly_bring_back():
    first, second = np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 0.5, 0.5]])
    found = geometric_mean([first, second])
    assert np.isfinite(found).all() and abs(found.sum() - 1.0) < 1e-6
    assert geometric_mean([first] * 3) == pytest.approx(first, abs=1e-6)
