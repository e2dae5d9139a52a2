import numpy as np
import pytest
from scipy.optimize import check_grad

from s2e_optuna.relaxation.gaussian_process import GaussianProcess, Prior, _kernel, _loss

RNG = np.random.default_rng(0)


def function(z: np.ndarray) -> np.ndarray:
    return np.sin(2.0 * z[:, 0]) + 0.3 * z[:, 1]


def test_the_gradient_of_the_posterior() -> None:
    z = RNG.normal(size=(12, 3))
    y = RNG.normal(size=12)
    mean, spread = Prior().of(3)
    for _ in range(5):
        h = mean + 0.5 * RNG.normal(size=5)
        error = check_grad(
            lambda h: _loss(h, z, y, mean, spread)[0],
            lambda h: _loss(h, z, y, mean, spread)[1],
            h,
        )
        assert error < 1e-4


def test_the_kernel_is_scikit_learns_matern() -> None:
    kernels = pytest.importorskip("sklearn.gaussian_process.kernels")
    z, lengths = RNG.normal(size=(6, 2)), np.array([0.7, 2.0])
    h = np.log([*lengths, 1.3, 0.1])
    expected = 1.3**2 * kernels.Matern(lengths, nu=2.5)(z)
    np.testing.assert_allclose(_kernel(h, z, z)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("noise", [0.01, 0.2])
def test_it_learns_a_function_and_its_noise(noise: float) -> None:
    z = RNG.uniform(-2, 2, size=(150, 2))
    process = GaussianProcess.fit(z, function(z) + noise * RNG.normal(size=150))
    new = RNG.uniform(-1.8, 1.8, size=(200, 2))
    mean, deviation = process.predict(new)
    assert np.sqrt(np.mean((mean - function(new)) ** 2)) < max(0.05, 0.5 * noise)
    assert process.noise == pytest.approx(noise, rel=0.5)
    z_scores = (mean - function(new)) / deviation
    assert 0.3 < np.std(z_scores) < 2.0  # it knows how well it knows


def test_far_from_the_data_it_knows_nothing() -> None:
    z = RNG.normal(size=(20, 2))
    process = GaussianProcess.fit(z, function(z))
    mean, deviation = process.predict(np.array([[100.0, 100.0]]))
    assert mean[0] == pytest.approx(process.mean, abs=1e-3)
    assert deviation[0] == pytest.approx(np.exp(process.h[-2]) * process.scale)


def test_two_points_and_constant_values_are_enough() -> None:
    process = GaussianProcess.fit(np.array([[0.0], [1.0]]), np.array([3.0, 3.0]))
    mean, deviation = process.predict(np.array([[0.5]]))
    assert mean[0] == pytest.approx(3.0) and np.isfinite(deviation[0])


def test_repeated_points() -> None:
    z = np.zeros((30, 2))
    process = GaussianProcess.fit(z, RNG.normal(size=30))
    assert np.isfinite(process.predict(z)[0]).all()


def test_known_hyperparameters_give_the_same_process() -> None:
    z = RNG.normal(size=(25, 2))
    y = 5.0 + 3.0 * function(z)
    process = GaussianProcess.fit(z, y)
    again = GaussianProcess.given(process.hyperparameters, z, y)
    new = RNG.normal(size=(10, 2))
    for ours, theirs in zip(again.predict(new), process.predict(new), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_fantasies_change_what_is_certain_and_not_what_is_expected() -> None:
    z = RNG.normal(size=(25, 2))
    process = GaussianProcess.fit(z, function(z))
    there = np.array([[3.0, 3.0]])
    new = np.concatenate([RNG.normal(size=(10, 2)), there])
    mean, deviation = process.predict(new)
    fantasised_mean, fantasised_deviation = process.with_fantasies(there).predict(new)
    np.testing.assert_allclose(fantasised_mean, mean, atol=1e-6)
    assert np.all(fantasised_deviation <= deviation + 1e-9)
    assert fantasised_deviation[-1] < 0.5 * deviation[-1]


def test_length_scales_have_their_own_medians() -> None:
    mean, _ = Prior(lengths=(0.5, 2.0)).of(3)
    np.testing.assert_allclose(np.exp(mean[:3]), [0.5, 2.0, 2.0])
