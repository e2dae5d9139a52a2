"""Weight sharing: theta takes natural-gradient steps, all schedules train one set of weights."""

import numpy as np
import pytest

from s2e_optuna.data import NoisyData, load_data
from s2e_optuna.errors import DataError
from s2e_optuna.relaxation import Block, Family
from s2e_optuna.training import TrainConfig, train
from studies.weight_sharing import (
    Adaptive,
    ScheduleFamily,
    Shared,
    Turns,
    natural_step,
    ranked,
    search_shared,
)

FAMILY = Family((Block("dirichlet", 3), Block("dirichlet", 2)))
BY_EPOCH = Turns(samples=3, by_batch=False)


@pytest.fixture(scope="module")
def data() -> NoisyData:
    return load_data("digits", noise="symmetric", noise_rate=0.5, seed=0, train_size=600)


@pytest.fixture(scope="module")
def found(data: NoisyData) -> Shared:
    return search_shared(data, TrainConfig(epochs=12, seed=3), BY_EPOCH)


def test_a_step_is_the_natural_gradient_and_delta_long() -> None:
    rng = np.random.default_rng(0)
    theta = np.array([4.0, 5.0, 6.0, 3.0, 7.0])
    x = FAMILY.sample(theta, 8, rng)
    losses = rng.random(8)
    state = Adaptive(theta, np.zeros(5), length=0.1)
    step = natural_step(FAMILY, state, x, losses).theta - theta
    gradient = ranked(losses) @ FAMILY.score(x, theta) / 8
    fisher = FAMILY.fisher(theta)
    natural = -np.linalg.solve(fisher, gradient)
    assert step / np.linalg.norm(step) == pytest.approx(natural / np.linalg.norm(natural))
    assert np.sqrt(step @ fisher @ step) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("losses", "utilities"),
    [
        ([0.3, 0.1], [1, -1]),
        ([5.0, 1.0, 2.0, 9.0], [0, -1, 0, 1]),
        ([1.0, 1.0, 2.0, 3.0], [-0.5, -0.5, 0, 1]),
        ([2.0, 2.0, 2.0], [0, 0, 0]),
    ],
)
def test_only_ranks_count_and_equals_share(losses: list[float], utilities: list[float]) -> None:
    assert ranked(losses).tolist() == utilities
    assert ranked(np.exp(losses)).tolist() == utilities


def test_equal_losses_leave_theta_where_it_is() -> None:
    state = Adaptive.start(FAMILY)
    x = FAMILY.sample(state.theta, 2, np.random.default_rng(0))
    assert natural_step(FAMILY, state, x, [1.0, 1.0]) is state


def search(noise: float, steps: int = 300) -> tuple[Adaptive, Family]:
    rng = np.random.default_rng(1)
    family = Family((Block("dirichlet", 2),) * 4)
    state = Adaptive.start(family)
    for _ in range(steps):
        x = family.sample(state.theta, 2, rng)
        losses = np.sum((x[:, ::2] - 0.8) ** 2, axis=1) + noise * rng.standard_normal(2)
        state = natural_step(family, state, x, losses)
    return state, family


def test_it_finds_a_minimum() -> None:
    state, family = search(noise=0.0)
    means = [state.theta[s][0] / state.theta[s].sum() for s in family.theta_slices]
    assert means == pytest.approx([0.8] * 4, abs=0.08)


def test_steps_become_short_where_losses_say_nothing() -> None:
    assert search(noise=1e6)[0].length < 0.3


def test_the_mean_schedule_is_that_of_the_mean_point() -> None:
    schedules = ScheduleFamily.of("coteaching")
    theta = np.array([6.0, 2.0, 1.0, 1.0, 3.0, 1.0])  # Betas of c, t_k and tau
    rates = schedules.mean(theta, 40).rates
    params = schedules.codec.decode(np.array([0.75, 0.25, 0.5, 0.5, 0.75, 0.25]))
    assert rates == pytest.approx(schedules.space.schedule(params, 40).rates)
    assert rates[0] == 1.0


def test_the_weights_are_those_of_one_training_with_the_first_draws(
    data: NoisyData, found: Shared
) -> None:
    """Also: what trains here is the product's trainer, bit for bit."""
    (one,) = train("coteaching", [found.followed], data, TrainConfig(epochs=12, seed=3))
    assert found.test_accuracy == pytest.approx(one.test_accuracy, abs=1e-9)
    assert found.validation_accuracy == pytest.approx(one.validation_accuracy, abs=1e-9)


def test_it_learns_and_concentrates(found: Shared) -> None:
    assert found.test_accuracy[-1] > max(0.6, found.test_accuracy[0] + 0.2)
    assert found.entropy[-1] < found.entropy[0]
    assert 5 <= found.updates <= 12


@pytest.mark.parametrize("turns", [BY_EPOCH, Turns()], ids=["epochs", "batches"])
def test_a_seed_decides_everything(data: NoisyData, turns: Turns) -> None:
    first, again, other = (
        search_shared(data, TrainConfig(epochs=2, seed=seed), turns) for seed in (5, 5, 6)
    )
    assert first.theta.tolist() == again.theta.tolist()
    assert first.test_accuracy == again.test_accuracy
    assert first.theta.tolist() != other.theta.tolist()


def test_comparing_needs_two_schedules() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        Turns(samples=1)


def test_what_training_refuses_is_refused(data: NoisyData) -> None:
    with pytest.raises(DataError):
        search_shared(data, TrainConfig(epochs=2, network="nonsense"))
