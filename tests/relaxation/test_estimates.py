"""Score estimates against derivatives of J known in closed form."""

import numpy as np
import pytest
from scipy.special import expit

from s2e_optuna.relaxation import Block, Family, score_estimate

BETA = Family((Block("dirichlet", 2),))
THETA = np.array([2.0, 3.0])


def mean_of_beta(theta: np.ndarray) -> float:
    return float(theta[0] / theta.sum())  # J(theta) for f(x) = x


def derivatives_of_the_mean() -> tuple[np.ndarray, np.ndarray]:
    (a, b), total = THETA, THETA.sum()
    gradient = np.array([b, -a]) / total**2
    hessian = np.array([[-2 * b, a - b], [a - b, 2 * a]]) / total**3
    return gradient, hessian


@pytest.mark.parametrize("baseline", [False, True])
def test_estimates_converge_to_the_derivatives(baseline: bool) -> None:
    n = 400_000
    x = BETA.sample(THETA, n, np.random.default_rng(0))
    estimate = score_estimate(BETA, THETA, x, x[:, 0] + 1.0, baseline=baseline)
    gradient, hessian = derivatives_of_the_mean()
    # Without a baseline f s has variance of about 1: five standard errors are 0.008.
    np.testing.assert_allclose(estimate.gradient, gradient, atol=2e-3 if baseline else 8e-3)
    np.testing.assert_allclose(estimate.hessian, hessian, atol=5e-3 if baseline else 2e-2)


def test_categorical_estimate() -> None:
    family, theta = Family((Block("categorical", 2),)), np.array([0.4])
    x = family.sample(theta, 200_000, np.random.default_rng(0))
    estimate = score_estimate(family, theta, x, x[:, 0])  # J = sigmoid(theta)
    p = expit(theta[0])
    assert estimate.gradient[0] == pytest.approx(p * (1 - p), abs=5e-3)
    assert estimate.hessian[0, 0] == pytest.approx(p * (1 - p) * (1 - 2 * p), abs=5e-3)


def test_estimates_of_small_batches_are_unbiased() -> None:
    rng = np.random.default_rng(1)
    estimates = []
    for _ in range(20_000):
        x = BETA.sample(THETA, 3, rng)
        estimates.append(score_estimate(BETA, THETA, x, x[:, 0]).gradient)
    standard_error = np.std(estimates, axis=0) / 20_000**0.5
    error = np.mean(estimates, axis=0) - derivatives_of_the_mean()[0]
    assert np.all(np.abs(error) < 5 * standard_error)


def test_the_baseline_removes_the_effect_of_a_constant() -> None:
    x = BETA.sample(THETA, 6, np.random.default_rng(0))
    plain = score_estimate(BETA, THETA, x, x[:, 0])
    shifted = score_estimate(BETA, THETA, x, x[:, 0] + 100.0)
    np.testing.assert_allclose(plain.gradient, shifted.gradient, atol=1e-10)
    np.testing.assert_allclose(plain.hessian, shifted.hessian, atol=1e-10)


def test_the_baseline_reduces_the_variance() -> None:
    rng = np.random.default_rng(2)
    norms: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(2000):
        x = BETA.sample(THETA, 6, rng)
        for baseline, found in norms.items():
            estimate = score_estimate(BETA, THETA, x, x[:, 0] + 1.0, baseline=baseline)
            found.append(float(estimate.gradient[0]))
    assert np.var(norms[True]) < 0.2 * np.var(norms[False])


def test_importance_weights_correct_for_another_theta() -> None:
    old = np.array([1.0, 1.0])
    x = BETA.sample(old, 400_000, np.random.default_rng(0))
    weights = np.exp(BETA.log_density(x, THETA) - BETA.log_density(x, old))
    estimate = score_estimate(BETA, THETA, x, x[:, 0], weights=weights)
    np.testing.assert_allclose(estimate.gradient, derivatives_of_the_mean()[0], atol=3e-3)


def test_too_few_points() -> None:
    with pytest.raises(ValueError, match="too few"):
        score_estimate(BETA, THETA, np.array([[0.5, 0.5]]), np.array([1.0]))
