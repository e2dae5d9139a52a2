import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from s2e_optuna import suggest_simplex
from s2e_optuna.schedules import (
    simplex_from_uniform,
    simplex_groups,
    simplex_parameter_names,
    uniform_from_simplex,
)

cubes = st.integers(1, 7).flatmap(lambda k: arrays(np.float64, k, elements=st.floats(0.0, 1.0)))


@given(cubes)
def test_images_are_weights(u: np.ndarray) -> None:
    alpha = simplex_from_uniform(u)
    assert alpha.shape == (len(u) + 1,) and np.all(alpha >= 0)
    assert alpha.sum() == pytest.approx(1.0)


@given(st.integers(2, 8), st.integers(0, 1000))
def test_inverse(k: int, seed: int) -> None:
    alpha = np.random.default_rng(seed).dirichlet(np.ones(k), size=5)
    np.testing.assert_allclose(
        simplex_from_uniform(uniform_from_simplex(alpha)), alpha, atol=1e-12
    )


def test_uniform_cube_gives_the_uniform_dirichlet() -> None:
    alpha = simplex_from_uniform(np.random.default_rng(0).random((20_000, 3)))
    for i in range(4):  # each weight of Dirichlet(1, 1, 1, 1) is Beta(1, 3)
        assert stats.kstest(alpha[:, i], stats.beta(1, 3).cdf).pvalue > 1e-3
    np.testing.assert_allclose(np.corrcoef(alpha.T)[0, 1:], -1 / 3, atol=0.02)


def test_corners() -> None:
    np.testing.assert_array_equal(simplex_from_uniform([1.0, 0.3]), [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(simplex_from_uniform([0.0, 0.0]), [0.0, 0.0, 1.0])
    np.testing.assert_allclose(uniform_from_simplex([1.0, 0.0, 0.0])[0], 1.0)


def test_groups_are_recognised_by_name_when_complete() -> None:
    names = [*simplex_parameter_names("w", 3), "w_u1of4", "lr", *simplex_parameter_names("x_y", 2)]
    assert simplex_groups(names) == {"w": ["w_u1of2", "w_u2of2"], "x_y": ["x_y_u1of1"]}


def test_random_sampler_draws_uniform_weights() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: float(suggest_simplex(trial, "w", 3)[0]), n_trials=300)
    assert stats.kstest([t.value for t in study.trials], stats.beta(1, 2).cdf).pvalue > 1e-3
    assert sum(study.trials[0].user_attrs["w"]) == pytest.approx(1.0)


def test_a_simplex_needs_two_weights() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        suggest_simplex(optuna.trial.FixedTrial({}), "w", 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0000001, [1.0, 0.0, 0.0]), (1.5, [1.0, 0.0, 0.0]), (-0.2, [0.0, 0.5, 0.5])],
)
def test_an_enqueued_value_outside_counts_as_the_nearer_end(
    value: float, expected: list[float]
) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({"w_u1of2": value, "w_u2of2": 0.5})
    with pytest.warns(UserWarning, match="out of range"):  # Optuna's
        weights = suggest_simplex(study.ask(), "w", 3)
    np.testing.assert_allclose(weights, expected)


def test_a_name_has_one_size_in_a_trial() -> None:
    trial = optuna.create_study().ask()
    first = suggest_simplex(trial, "w", 3)
    np.testing.assert_array_equal(suggest_simplex(trial, "w", 3), first)
    with pytest.raises(ValueError, match="'w' has 3 weights in this trial, not 4"):
        suggest_simplex(trial, "w", 4)
    assert len(suggest_simplex(trial, "v", 4)) == 4
