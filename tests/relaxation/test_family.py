"""p_theta against SciPy, numerical differentiation, and large samples."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import approx_fprime

from s2e_optuna.relaxation import Block, Family
from s2e_optuna.relaxation.family import MIN_THETA

Sample = Callable[[Family, np.ndarray, int, np.random.Generator], np.ndarray]

MIXED = Family((Block("dirichlet", 4), Block("categorical", 3), Block("dirichlet", 2)))


def random_theta(family: Family, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(
        family.positive, rng.uniform(0.4, 6.0, family.dimension), rng.normal(size=family.dimension)
    )


def test_dirichlet_density_and_entropy_are_scipys() -> None:
    family, theta = Family((Block("dirichlet", 3),)), np.array([0.5, 2.0, 3.5])
    x = family.sample(theta, 20, np.random.default_rng(0))
    np.testing.assert_allclose(
        family.log_density(x, theta), stats.dirichlet(theta).logpdf(x.T), rtol=1e-10
    )
    assert family.entropy(theta) == pytest.approx(stats.dirichlet(theta).entropy())


def test_beta_is_the_dirichlet_of_two() -> None:
    family, theta = Family((Block("dirichlet", 2),)), np.array([2.0, 5.0])
    x = np.array([[0.3, 0.7]])
    assert family.log_density(x, theta)[0] == pytest.approx(stats.beta(2, 5).logpdf(0.3))
    # digamma(2) - digamma(7) and trigamma(2) - trigamma(7)
    np.testing.assert_allclose(family.mean(theta)[0], 0.42278433509846713 - 1.8727843350984672)
    np.testing.assert_allclose(
        family.fisher(theta)[0, 0], 0.6449340668482264 - 0.15354517795933756, rtol=1e-12
    )


def test_categorical_probabilities() -> None:
    family, theta = Family((Block("categorical", 3),)), np.log([2.0, 5.0])  # against 1
    np.testing.assert_allclose(family.mean(theta), [2 / 8, 5 / 8])
    np.testing.assert_allclose(np.exp(family.log_density(np.eye(3), theta)), [2 / 8, 5 / 8, 1 / 8])
    assert family.entropy(theta) == pytest.approx(stats.entropy([2, 5, 1]))


def test_uniform_has_constant_density() -> None:
    x = MIXED.sample(MIXED.uniform(), 50, np.random.default_rng(0))
    density = MIXED.log_density(x, MIXED.uniform())
    np.testing.assert_allclose(density, np.log(6.0) + np.log(1 / 3), atol=1e-12)


@given(st.integers(0, 10_000))
def test_derivatives_of_the_log_partition(seed: int) -> None:
    theta = random_theta(MIXED, seed)
    gradient = approx_fprime(theta, MIXED.log_partition, 1e-6)
    hessian = np.array(
        [approx_fprime(theta, lambda t, i=i: MIXED.mean(t)[i], 1e-6) for i in range(len(theta))]
    )
    np.testing.assert_allclose(MIXED.mean(theta), gradient, atol=2e-4)
    np.testing.assert_allclose(MIXED.fisher(theta), hessian, atol=2e-4)


def test_score_is_the_gradient_of_the_log_density() -> None:
    theta = random_theta(MIXED, 3)
    x = MIXED.sample(theta, 5, np.random.default_rng(1))
    for row, score in zip(x, MIXED.score(x, theta), strict=True):
        numerical = approx_fprime(theta, lambda t, r=row: MIXED.log_density(r[None], t)[0], 1e-6)
        np.testing.assert_allclose(score, numerical, atol=2e-4)


ways = pytest.mark.parametrize("sample", [Family.sample, Family.sample_many])


@ways
@pytest.mark.parametrize("seed", range(3))
def test_scores_of_a_sample_have_mean_zero_and_covariance_fisher(
    sample: Sample, seed: int
) -> None:
    theta, n = random_theta(MIXED, seed), 200_000
    s = MIXED.score(sample(MIXED, theta, n, np.random.default_rng(seed)), theta)
    standard_error = np.sqrt(np.diag(MIXED.fisher(theta)) / n)
    assert np.all(np.abs(s.mean(axis=0)) < 5 * standard_error)
    fisher = MIXED.fisher(theta)
    np.testing.assert_allclose(s.T @ s / n, fisher, atol=0.03 * fisher.max())


def test_kl_is_the_mean_log_ratio() -> None:
    new, old = random_theta(MIXED, 1), random_theta(MIXED, 2)
    x = MIXED.sample(new, 200_000, np.random.default_rng(0))
    ratio = MIXED.log_density(x, new) - MIXED.log_density(x, old)
    assert MIXED.kl(new, old) == pytest.approx(ratio.mean(), abs=5 * ratio.std() / 200_000**0.5)
    assert MIXED.kl(old, old) == 0.0


@ways
@pytest.mark.parametrize("size", [1e-3, MIN_THETA])
def test_samples_of_tiny_parameters_are_finite(sample: Sample, size: float) -> None:
    family = Family((Block("dirichlet", 3),))
    x = sample(family, np.full(3, size), 1000, np.random.default_rng(0))
    assert np.isfinite(family.statistics(x)).all()
    np.testing.assert_allclose(x.sum(axis=1), 1.0, atol=1e-6)


@ways
def test_sample_follows_the_beta_law(sample: Sample) -> None:
    family, theta = Family((Block("dirichlet", 2),)), np.array([0.6, 3.0])
    x = sample(family, theta, 5000, np.random.default_rng(0))[:, 0]
    assert stats.kstest(x, stats.beta(*theta).cdf).pvalue > 1e-3


def test_uniform_samples_follow_the_law_of_theta_1() -> None:
    x = MIXED.sample_uniform(4000, np.random.default_rng(0))
    np.testing.assert_allclose(
        MIXED.score(x, MIXED.uniform()).mean(axis=0), 0.0, atol=4 * 1.3 / np.sqrt(4000)
    )
    assert stats.kstest(x[:, 0], stats.beta(1, 3).cdf).pvalue > 0.01
    assert stats.kstest(x[:, 7], stats.uniform().cdf).pvalue > 0.01
    assert set(x[:, 4:7].sum(axis=1)) == {1.0} and set(x[:, 4:7].ravel()) == {0.0, 1.0}


def test_a_block_of_one_part_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        Block("dirichlet", 1)
