"""Callers that ask `S2ESampler` for another space than it has named, or for it in parts."""

from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import PartialFixedSampler
from optuna.trial import FrozenTrial

from s2e_optuna import S2ESampler, suggest_simplex

optuna.logging.set_verbosity(optuna.logging.WARNING)

UNIT = FloatDistribution(0.0, 1.0)


def valley(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
    return (x - 0.5) ** 2 + (y - 0.2 - x) ** 2


def bowl(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
    return (x - 0.5) ** 2 + (y - 0.8) ** 2


@pytest.mark.parametrize("free_trials", [0, 10])
@pytest.mark.parametrize(("objective", "best"), [(bowl, 0.8), (valley, 0.4)])
def test_the_others_of_a_fixed_parameter_are_chosen_where_it_is(
    objective: Callable[[optuna.Trial], float], best: float, free_trials: int
) -> None:
    misses, at_the_edge = [], 0
    for seed in range(3):
        study = optuna.create_study(sampler=S2ESampler(seed=seed))
        study.optimize(objective, n_trials=free_trials)
        study.sampler = PartialFixedSampler({"x": 0.2}, study.sampler)
        study.optimize(objective, n_trials=20)
        y = np.array([trial.params["y"] for trial in study.trials[-10:]])
        misses.append(np.median(np.abs(y - best)))
        at_the_edge += int(np.sum((y < 0.01) | (y > 0.99)))
    assert np.mean(misses) < 0.06 and at_the_edge <= 4


class InParts(PartialFixedSampler):
    """Asks for a space parameter by parameter."""

    def __init__(self, base: S2ESampler) -> None:
        super().__init__({}, base)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, float]:
        drawn = {}
        for name, distribution in search_space.items():
            drawn |= self._base_sampler.sample_relative(study, trial, {name: distribution})
        return drawn


def test_a_space_that_is_asked_for_in_parts() -> None:
    found = []
    for seed in range(4):
        study = optuna.create_study(sampler=InParts(S2ESampler(seed=seed)))
        study.optimize(valley, n_trials=25)
        found.append(study.best_value)
    assert np.mean(found) < 2e-3  # of Random 7e-3


def test_a_trial_that_is_asked_for_some_of_the_parameters() -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    study.optimize(bowl, n_trials=10)
    for _ in range(12):
        trial = study.ask(fixed_distributions={"y": UNIT})
        study.tell(trial, (trial.params["y"] - 0.8) ** 2)
    assert np.median([abs(trial.params["y"] - 0.8) for trial in study.trials[-6:]]) < 0.05


def test_a_trial_that_is_asked_for_a_part_of_the_range() -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    study.optimize(bowl, n_trials=10)
    narrow = {"x": FloatDistribution(0.0, 0.2), "y": UNIT}
    for _ in range(12):
        trial = study.ask(fixed_distributions=narrow)
        x, y = trial.params["x"], trial.params["y"]
        assert 0.0 <= x <= 0.2
        study.tell(trial, (x - 0.5) ** 2 + (y - 0.8) ** 2)
    assert np.median([trial.params["x"] for trial in study.trials[-6:]]) > 0.15


SPACES: list[dict[str, BaseDistribution]] = [
    {"y": UNIT},
    {"w_u2of2": UNIT},
    {"x": FloatDistribution(0.0, 2.0)},
    {"x": IntDistribution(0, 3), "c": CategoricalDistribution(["a", "b"])},
    {"c": CategoricalDistribution(["a", "z"]), "new": UNIT, "w_u1of2": UNIT},
    {"x": FloatDistribution(0.5, 0.5)},
    {"x": FloatDistribution(float("-inf"), float("inf"))},
    {},
]


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("options", [{}, {"estimator": "score"}, {"candidates": 1}], ids=str)
def test_spaces_that_were_not_named(
    space: dict[str, BaseDistribution], options: dict[str, object]
) -> None:
    def objective(trial: optuna.Trial) -> float:
        weights = suggest_simplex(trial, "w", 3)
        return (
            bowl(trial) + float(weights[0]) + (trial.suggest_categorical("c", ["a", "b"]) == "a")
        )

    study = optuna.create_study(sampler=S2ESampler(seed=0, **options))  # type: ignore[arg-type]
    for n in (0, 1, 20):
        study.optimize(objective, n_trials=n)
        trial = study.ask()
        frozen = study.get_trials()[trial.number]
        drawn = study.sampler.sample_relative(study, frozen, dict(space))
        for name, value in drawn.items():
            assert space[name]._contains(space[name].to_internal_repr(value))
        searched = [n for n, d in space.items() if n != "x" or d in (UNIT, *TWO_ENDS)]
        assert list(drawn) == searched
        again = study.sampler.sample_relative(study, frozen, dict(space))
        assert again == drawn


TWO_ENDS = (FloatDistribution(0.0, 2.0), IntDistribution(0, 3))
