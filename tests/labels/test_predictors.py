import numpy as np

from s2e_optuna.labels import Unseen
from s2e_optuna.labels.predictors import best_predictor, geometric_mean, together

RNG = np.random.default_rng(0)
TRUTH = np.arange(300) % 3


def predictor(strength, networks=1):
    scores = strength * np.eye(3)[TRUTH] + RNG.standard_normal((networks, 300, 3))
    found = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    return Unseen(found[0].astype(np.float32), found.astype(np.float32))


def test_the_most_telling_predictor_is_taken_and_two_tell_more_than_one():
    weak, strong, other = predictor(0.5), predictor(2.0), predictor(2.0)
    assert best_predictor({"weak": weak, "strong": strong}, TRUTH) == "strong"
    both = together(strong, other)
    candidates = {"strong": strong, "other": other, "both": both}
    assert best_predictor(candidates, TRUTH) == "both"


def test_a_simple_predictor_is_taken_where_it_is_the_best():
    simple, noise = predictor(2.0), predictor(0.0)
    candidates = {"simple": simple, "noise": noise, "both": together(simple, noise)}
    assert best_predictor(candidates, TRUTH) == "simple"


def test_overconfidence_alone_loses_nothing():
    right, sure = predictor(2.0), predictor(2.0)
    powers = sure.clean**5
    sure = Unseen(sure.training, powers / powers.sum(axis=-1, keepdims=True))
    losses = [best_predictor({"a": one, "b": predictor(1.0)}, TRUTH) for one in (right, sure)]
    assert losses == ["a", "a"]


def test_one_network_goes_with_each_of_several():
    assert together(predictor(1.0, 5), predictor(1.0)).clean.shape == (5, 300, 3)
    assert together(predictor(1.0, 5), predictor(1.0, 2)).clean.shape == (2, 300, 3)


def test_what_one_excludes_the_other_can_hardly_bring_back():
    first, second = np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 0.5, 0.5]])
    found = geometric_mean(first, second)
    assert np.isfinite(found).all() and abs(found.sum() - 1.0) < 1e-6
