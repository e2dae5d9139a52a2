"""Objectives that fail, stop early, punish, or leave attributes of their own."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import optuna
import pytest
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from s2e_optuna import S2ESampler, Schedule, best_schedule, suggest_schedule
from s2e_optuna.sampler import generations, recommended_trial
from s2e_optuna.sampler.features import N_COMPONENTS
from s2e_optuna.sampler.ledger import LOST_KEY, Ledger
from s2e_optuna.sampler.recommend import _finished, _modelled
from s2e_optuna.sampler.surrogate import worth_fitting
from s2e_optuna.sampler.values import Reported
from s2e_optuna.schedules import SCHEDULE_ATTR, trial_schedule

optuna.logging.set_verbosity(optuna.logging.WARNING)

Objective = Callable[[optuna.Trial], float]


@pytest.fixture(autouse=True)
def _nothing_goes_wrong(caplog: pytest.LogCaptureFixture) -> object:
    """The sampler logs what it could not do and goes on: here it has to be able to."""
    yield
    assert "could not be tagged" not in caplog.text


def run(objective: Objective, n: int, seed: int = 0, **options: object) -> optuna.Study:
    pruner = options.pop("pruner", optuna.pruners.NopPruner())
    study = optuna.create_study(
        sampler=S2ESampler(seed=seed, **options),  # type: ignore[arg-type]
        pruner=pruner,  # type: ignore[arg-type]
    )
    study.optimize(objective, n_trials=n, catch=ValueError)
    return study


def bowl(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", -1.0, 1.0), trial.suggest_float("y", -1.0, 1.0)
    return (x - 0.3) ** 2 + (y + 0.4) ** 2


def curve_error(trial: optuna.Trial) -> float:
    rates = suggest_schedule(trial, 50).rates
    return float(np.mean((rates - Schedule.coteaching(50, 0.6).rates) ** 2))


def test_trials_that_are_stopped_while_their_costs_are_low_are_not_good_ones() -> None:
    """Costs that add up by step: the last report of a stopped trial is lower than any end."""

    def cumulative(trial: optuna.Trial) -> float:
        cost, step_cost = 0.0, 0.2 + bowl(trial)
        for step in range(1, 11):
            cost += step_cost
            trial.report(cost, step)
            if step < 10 and trial.should_prune():
                raise optuna.TrialPruned
        return cost

    found = []
    for seed in range(4):
        pruner = optuna.pruners.SuccessiveHalvingPruner()
        study = run(cumulative, 50, seed, pruner=pruner)
        assert any(trial.state == TrialState.PRUNED for trial in study.trials)
        found.append(study.best_value / 10 - 0.2)
    assert np.mean(found) < 0.01


def test_a_stopped_trial_is_not_better_than_what_finished_in_any_batch() -> None:
    complete = Reported(np.array([1.0, 3.0]), np.array([True, True]))
    stopped = Reported(np.array([0.1, 5.0, np.nan]), np.array([False, False, False]))
    values = complete.followed_by(stopped).comparable()
    assert values.tolist() == [1.0, 3.0, 3.0, 5.0, 5.0]


@pytest.mark.parametrize("penalty", [1e6, 1e30, 1e155, 1e308, float("inf")])
def test_a_penalty_leaves_differences_between_the_others(penalty: float) -> None:
    def punished(trial: optuna.Trial) -> float:
        return penalty if bowl(trial) > 0.8 else bowl(trial)

    found = [run(punished, 40, seed).best_value for seed in range(3)]
    assert np.mean(found) < 1e-3


def test_many_equal_values_are_no_penalties() -> None:
    values = np.array([0.0, 0.0, 0.0, 0.0, 5.0])
    assert Reported(values, np.ones(5, dtype=bool)).comparable().tolist() == values.tolist()


def test_a_region_that_fails_is_left() -> None:
    def half_failing(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
        if x > 0.6:
            raise ValueError("diverged")
        return -x + (y - 0.5) ** 2

    study = run(half_failing, 60)
    states = [trial.state for trial in study.trials[10:]]
    assert states.count(TrialState.COMPLETE) > 25
    assert study.best_value < -0.55


def test_trials_that_are_lost_with_their_worker_say_nothing_of_their_parameters() -> None:
    study = run(bowl, 6)
    lost, failed, repeated = (study.ask() for _ in range(3))
    for trial in (lost, failed, repeated):
        bowl(trial)
    study._storage.set_trial_system_attr(lost._trial_id, LOST_KEY, True)
    for trial in (lost, failed):
        study.tell(trial, state=TrialState.FAIL)
    for _ in range(2):  # as Optuna does with a trial that has no heartbeats any more
        study.tell(repeated, state=TrialState.FAIL)
        RetryHeartbeatStaleTrialCallback()(study, study.trials[repeated.number])
        repeated = study.ask()
    ledger = Ledger()
    ledger.update(study.trials)
    assert ledger.space is not None
    assert list(ledger.chain("any", ledger.space).failed) == [failed.number]


def test_of_many_trials_old_failures_do_not_take_the_places_of_new_values() -> None:
    study = run(bowl, 6)
    distributions = study.trials[0].distributions
    for number in range(6, 300):
        failed = number < 60
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.FAIL if failed else TrialState.COMPLETE,
                params={"x": number / 300, "y": 0.9},
                distributions=distributions,
                value=None if failed else 2.0 + number,
            )
        )
    sampler = study.sampler
    assert isinstance(sampler, S2ESampler)
    study.ask()
    trial = study.trials[-1]
    view = sampler._view(study)
    chain = view.chain_of(trial)
    assert chain is not None
    surrogate = view._surrogate_for(trial, chain, None)
    assert surrogate is not None and len(surrogate.process.y) == 200
    newest = chain.codec.encode([other.params for other in study.trials[200:300]])
    known = {tuple(row) for row in surrogate.process.z}
    assert all(tuple(row) in known for row in surrogate.features.of(newest))


def test_a_trial_stopped_between_two_suggestions_leaves_the_space_as_it_is() -> None:
    def sometimes_infeasible(trial: optuna.Trial) -> float:
        value = bowl(trial)
        if value > 0.9:
            raise optuna.TrialPruned
        return value + trial.suggest_float("z", 0.0, 1.0)

    study = run(sometimes_infeasible, 20)
    assert any("z" not in trial.params for trial in study.trials)
    assert set(generations(study)[-1].codec.space) == {"x", "y", "z"}


def test_one_trial_without_attributes_does_not_hide_the_curves_of_all() -> None:
    study = run(curve_error, 12)
    params, distributions = study.trials[7].params, study.trials[7].distributions
    study.add_trial(
        optuna.trial.create_trial(params=params, distributions=distributions, value=0.2)
    )
    surrogate = _modelled(*_finished(study))[2]
    assert surrogate is not None and surrogate.process.z.shape[1] == N_COMPONENTS


@pytest.mark.parametrize("value", ["cosine", 3, {"space": "mine"}, {"space": "s2e"}, None])
def test_a_users_own_attribute_of_that_name(value: object) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr(SCHEDULE_ATTR, value)
        return bowl(trial)

    study = run(objective, 12)
    assert len(generations(study)) > 1
    assert trial_schedule(study.trials[0]) is None
    assert recommended_trial(study).state == TrialState.COMPLETE
    with pytest.raises(ValueError, match="holds no schedule"):
        best_schedule(study)


def test_a_start_from_an_earlier_study_that_had_other_parameters_too() -> None:
    def with_epochs(trial: optuna.Trial) -> float:
        return bowl(trial) + 0.0 * trial.suggest_int("epochs", 10, 10)

    def with_momentum(trial: optuna.Trial) -> float:
        return bowl(trial) + trial.suggest_float("momentum", 0.0, 1.0)

    for before, after in ((with_epochs, bowl), (bowl, with_epochs), (with_momentum, bowl)):
        earlier = run(before, 20)
        study = run(after, 8, seed=1, prior=earlier)
        known = {(trial.params["x"], trial.params["y"]) for trial in earlier.trials}
        assert {(t.params["x"], t.params["y"]) for t in study.trials[:6]} <= known


def constrained(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", -5.0, 10.0), trial.suggest_float("y", -5.0, 10.0)
    trial.set_constraint("x", 4.0 - x)
    return x**2 + y**2


def test_infeasible_trials_are_bad_ones() -> None:
    study = run(constrained, 40)
    assert sum(trial.params["x"] >= 4.0 for trial in study.trials[15:]) > 15
    assert study.best_value < 25.0  # at best 16
    assert S2ESampler(seed=0).audit(study) == []


@pytest.mark.parametrize("by", ["model", "observed"])
def test_no_infeasible_trial_is_recommended(by: Literal["model", "observed"]) -> None:
    study = run(constrained, 20)
    assert recommended_trial(study, by).params["x"] >= 4.0


def test_while_all_are_infeasible_the_nearest_is_best() -> None:
    reported = Reported(np.array([1.0, 2.0]), np.ones(2, dtype=bool), np.array([3.0, 0.5]))
    assert reported.comparable().tolist() == [3.0, 0.5]


def test_parameters_that_are_given_choose_the_others() -> None:
    def valley(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", -5.0, 10.0), trial.suggest_float("y", -5.0, 10.0)
        return (x - 1.0) ** 2 + (y - x) ** 2

    study = run(valley, 25, seed=1)  # of 24 seeds 19 come to 25.01, by either rule
    for _ in range(5):
        study.enqueue_trial({"x": -4.0})
    study.optimize(valley, n_trials=5)
    assert min(trial.values[0] for trial in study.trials[25:]) < 25.5  # at best 25


def test_an_added_trial_without_parameters_leaves_the_space_as_it_is() -> None:
    study = run(bowl, 6)
    study.add_trial(optuna.trial.create_trial(value=0.1))
    study.optimize(bowl, n_trials=6)
    assert set(generations(study)[-1].codec.space) == {"x", "y"}


def test_of_many_trials_the_better_half_by_value_and_the_newest_are_fitted() -> None:
    f = np.random.default_rng(0).integers(0, 60, 1000).astype(float)  # equal values: the earlier
    best = sorted(range(1000), key=lambda i: (f[i], i))[:100]
    newest = [i for i in range(1000) if i not in best][-100:]
    assert worth_fitting(f).tolist() == sorted([*best, *newest])
    assert worth_fitting(f[:200]).tolist() == list(range(200))
