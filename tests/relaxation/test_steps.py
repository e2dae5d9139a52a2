import numpy as np
import pytest

from s2e_optuna.relaxation import (
    DIRECTIONS,
    Block,
    Estimate,
    Family,
    limited_step,
    natural_direction,
    newton_direction,
)
from s2e_optuna.relaxation.steps import MAX_LOGIT, MAX_THETA

FAMILY = Family((Block("dirichlet", 3), Block("categorical", 3)))
THETA = np.array([1.0, 2.0, 0.7, 0.3, -0.2])
FISHER = FAMILY.fisher(THETA)
GRADIENT = np.array([0.3, -0.2, 0.5, 0.1, -0.4])


def test_newton_with_a_positive_hessian_is_newton() -> None:
    hessian = FISHER @ np.diag([1.0, 2.0, 3.0, 4.0, 5.0]) @ FISHER
    direction = newton_direction(Estimate(GRADIENT, hessian), FISHER, floor=0.0)
    np.testing.assert_allclose(direction, -np.linalg.solve(hessian, GRADIENT), rtol=1e-8)


def test_newton_with_the_fisher_matrix_is_the_natural_gradient() -> None:
    estimate = Estimate(GRADIENT, FISHER)
    np.testing.assert_allclose(
        newton_direction(estimate, FISHER, floor=0.0), natural_direction(estimate, FISHER, 0.0)
    )


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("seed", range(5))
def test_every_direction_descends_whatever_the_hessian(name: str, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(5, 5))
    estimate = Estimate(GRADIENT, matrix + matrix.T)  # of either sign
    assert GRADIENT @ DIRECTIONS[name](estimate, FISHER, 0.1) < 0


def test_newton_does_not_depend_on_the_units_of_theta() -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    hessian, scale = matrix + matrix.T, np.diag([1.0, 10.0, 0.1, 3.0, 5.0])
    direction = newton_direction(Estimate(GRADIENT, hessian), FISHER, floor=0.1)
    scaled = newton_direction(
        Estimate(scale @ GRADIENT, scale @ hessian @ scale), scale @ FISHER @ scale, floor=0.1
    )
    np.testing.assert_allclose(scale @ scaled, direction, rtol=1e-8)


@pytest.mark.parametrize("seed", range(20))
def test_a_step_respects_all_limits(seed: int) -> None:
    direction = np.random.default_rng(seed).normal(size=5) * 50.0
    new = limited_step(FAMILY, THETA, direction, step_size=1.0, max_kl=0.5, min_theta=0.3)
    assert FAMILY.kl(new, THETA) <= 0.5
    assert np.all(new[:3] >= 0.3) and np.all(np.abs(new[3:]) <= MAX_LOGIT)
    # And it goes as far as it may, where bisection ends.
    low, high = 0.0, 1.0
    for _ in range(20):
        at = np.where(
            FAMILY.positive,
            np.maximum(THETA + 0.5 * (low + high) * direction, 0.3),
            np.clip(THETA + 0.5 * (low + high) * direction, -MAX_LOGIT, MAX_LOGIT),
        )
        middle = 0.5 * (low + high)
        low, high = (middle, high) if FAMILY.kl(at, THETA) <= 0.5 else (low, middle)
    np.testing.assert_array_equal(new[:3], np.maximum(THETA + low * direction, 0.3)[:3])


def test_a_short_step_is_taken_whole() -> None:
    direction = np.array([0.1, 0.0, -0.1, 0.05, 0.0])
    new = limited_step(FAMILY, THETA, direction, step_size=0.5, max_kl=1.0, min_theta=0.3)
    np.testing.assert_allclose(new, THETA + 0.5 * direction)


def test_theta_stays_where_its_digits_say_something() -> None:
    direction = np.full(5, 1e15)
    new = limited_step(FAMILY, THETA, direction, step_size=1.0, max_kl=np.inf, min_theta=0.3)
    assert np.all(new[:3] == MAX_THETA) and FAMILY.kl(new, new) < 1e-6


def test_a_direction_that_is_not_finite_moves_nothing() -> None:
    direction = np.array([np.nan, 0.0, 0.0, 0.0, 0.0])
    new = limited_step(FAMILY, THETA, direction, step_size=1.0, max_kl=1.0, min_theta=0.3)
    np.testing.assert_array_equal(new, THETA)


def test_iterated_newton_steps_minimise_a_known_objective() -> None:
    """J(theta) = E[(a - 0.8)^2] for a Beta: the mass must gather at 0.8."""
    beta, rng = Family((Block("dirichlet", 2),)), np.random.default_rng(0)
    from s2e_optuna.relaxation import score_estimate

    theta = beta.uniform()
    for _ in range(15):
        x = beta.sample(theta, 200, rng)
        f = (x[:, 0] - 0.8) ** 2
        estimate = score_estimate(beta, theta, x, f / f.std())
        direction = newton_direction(estimate, beta.fisher(theta), 0.1)
        theta = limited_step(beta, theta, direction, step_size=1.0, max_kl=1.0, min_theta=0.3)
    assert theta[0] / theta.sum() == pytest.approx(0.8, abs=0.03)
    assert np.mean((beta.sample(theta, 1000, rng)[:, 0] - 0.8) ** 2) < 0.005
