"""Whatever a storage holds, of whatever origin: the sampler goes on, without what does not fit.

Optuna stores what is enqueued or added, and another version or another program may have written
anything.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from s2e_optuna import S2ESampler, best_schedule, suggest_schedule, suggest_simplex
from s2e_optuna.sampler import generations, recommended_trial
from s2e_optuna.sampler.tags import TAG_KEY

optuna.logging.set_verbosity(optuna.logging.WARNING)

UNIT = FloatDistribution(0.0, 1.0)


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert caplog.records == []


def mixture(trial: optuna.Trial) -> float:
    weights = suggest_simplex(trial, "w", 3)
    return float(np.sum((weights - [0.6, 0.3, 0.1]) ** 2)) + trial.suggest_float("x", 0.0, 1.0)


def curve(trial: optuna.Trial) -> float:
    return float(suggest_schedule(trial, 20).rates.mean())


def in_batches(study: optuna.Study) -> set[int]:
    return {number for generation in generations(study) for number in generation.batch}


@pytest.mark.parametrize("objective", [mixture, curve])
@pytest.mark.parametrize("estimator", ["surrogate", "score"])
@pytest.mark.parametrize("value", [1.0000001, -0.2, float("inf")])
@pytest.mark.filterwarnings("ignore:Fixed parameter")
def test_enqueued_values_outside_the_space_stop_nothing(
    objective: Any, estimator: Any, value: float
) -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0, estimator=estimator))
    study.optimize(objective, n_trials=2)
    outside = dict.fromkeys(["w_u1of2", "x", "alpha_u2of3", "f1_a1"], value)
    study.enqueue_trial(outside)
    study.optimize(objective, n_trials=16)
    study.enqueue_trial(outside)  # the others of its parameters are chosen beside these
    study.optimize(objective, n_trials=2)
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert len(generations(study)) > 2
    assert study.trials[2].params.keys() == study.trials[0].params.keys()
    assert 2 not in in_batches(study)
    if objective is curve:
        assert best_schedule(study).epochs == 20


@pytest.mark.filterwarnings("ignore:Fixed parameter")
def test_conditional_parameters_too() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("branch", ["a", "b"]) == "a":
            return trial.suggest_float("y", 0.0, 1.0)
        return 0.5

    study = optuna.create_study(sampler=S2ESampler(seed=0))
    study.enqueue_trial({"branch": "a", "y": float("inf")})
    study.optimize(objective, n_trials=16)
    assert all(0.0 <= t.params["y"] <= 1.0 for t in study.trials[1:] if "y" in t.params)


TAGS: list[Any] = [
    "tag",
    [],
    {},
    {"n": "seven", "m": 1},
    {"n": 6, "m": None},
    {"n": 6, "m": 1, "sig": 3},
    {"n": 6, "m": 1, "src": "two"},
    {"n": 6, "m": 1, "sig": "abc", "src": 10**9},
    {"n": 6, "m": 2, "commit": "theta"},
    {"n": 6, "m": 2, "commit": {}},
    {"n": 6, "m": 2, "commit": {"parent": None, "batch": [0, "1"], "theta": [1.0]}},
    {"n": 6, "m": 2, "commit": {"parent": None, "batch": [], "theta": [1.0] * 5}},
    {"n": 6, "m": 2, "commit": {"parent": None, "batch": [0], "theta": [1.0, "x"]}},
    {"n": 6, "m": 2, "commit": {"parent": None, "batch": [0], "theta": [1.0, 1.0]}},
    {"n": 6, "m": 2, "commit": {"parent": None, "batch": [0], "theta": [-1.0] * 5}},
    {"n": 6, "m": 2, "commit": {"parent": None, "batch": [0], "theta": [float("nan")] * 5}},
    {"n": 6, "m": 2, "commit": {"parent": None, "batch": [0], "theta": [10**400] * 5}},
    {"n": 6, "m": 2, "commit": {"parent": "0", "batch": [0], "theta": [1.0] * 5}},
    {"n": 6, "m": 9, "commit": {"parent": None, "batch": [0], "theta": [1.0] * 5}},
    {
        "n": 6,
        "m": 2,
        "commit": {"parent": None, "batch": [0], "theta": [2.0] * 5, "kernel": [1e300] * 5},
    },
]


@pytest.mark.parametrize("tag", TAGS, ids=str)
def test_tags_that_no_sampler_has_written(tag: Any) -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    study.optimize(mixture, n_trials=3)
    if isinstance(tag, dict) and "commit" in tag:
        space = {name: UNIT for name in study.trials[0].params}
        tag = {"sig": S2ESampler().signature(space), **tag}
    first = study.trials[0]
    for state in (TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED, TrialState.FAIL):
        study.add_trial(
            create_trial(
                state=state,
                value=0.5 if state == TrialState.COMPLETE else None,
                params=first.params,
                distributions=first.distributions,
                system_attrs={TAG_KEY: tag, "retry_history": tag, "fixed_params": tag},
            )
        )
    study.optimize(mixture, n_trials=9)
    study.tell(4, 1.0)
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials[7:])
    assert len(generations(study)) > 2
    assert recommended_trial(study).state == TrialState.COMPLETE


@pytest.mark.filterwarnings("ignore:Choices for a categorical")
def test_lists_as_choices_of_a_conditional_parameter() -> None:
    layers = [[8], [8, 8], [16, 8]]

    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("network", ["small", "large"]) == "small":
            return 1.0
        return 1.0 / len(trial.suggest_categorical("layers", layers))  # type: ignore[arg-type]

    study = optuna.create_study(sampler=S2ESampler(seed=0))
    study.optimize(objective, n_trials=20)
    assert study.best_value == 0.5
