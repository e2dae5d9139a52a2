"""Trials that are stopped early, run again, or diverge."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna import S2ESampler
from s2e_optuna.sampler import generations, recommended_trial
from s2e_optuna.sampler.codec import Codec
from s2e_optuna.sampler.ledger import Ledger
from s2e_optuna.sampler.surrogate import Surrogate
from s2e_optuna.sampler.tags import RULE
from s2e_optuna.sampler.values import batch_values

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert caplog.records == []


def training(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
    error = (x - 0.3) ** 2 + (y - 0.6) ** 2
    for step in range(1, 10):
        value = error + 1.0 / step
        if x > 0.7 and step > 4:  # diverges, and late
            value = (float("nan"), float("inf"), float("-inf"))[trial.number % 3]
        trial.report(value, step)
        if trial.should_prune() or not np.isfinite(value):
            raise optuna.TrialPruned
    return error


@pytest.mark.parametrize(
    "pruner",
    [
        HyperbandPruner(min_resource=1, max_resource=9),
        SuccessiveHalvingPruner(min_resource=1),
        MedianPruner(n_startup_trials=2),
    ],
    ids=lambda pruner: type(pruner).__name__,
)
@pytest.mark.parametrize("estimator", ["surrogate", "score"])
def test_what_diverges_is_worst_and_nothing_is_sorted_with_nan(
    pruner: BasePruner, estimator: Any
) -> None:
    sampler = S2ESampler(seed=0, estimator=estimator)
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    study.optimize(training, n_trials=50)
    assert any(trial.state == TrialState.PRUNED for trial in study.trials)
    assert len(generations(study)) > 5 and sampler.audit(study) == []
    assert recommended_trial(study).params["x"] < 0.7
    if estimator == "surrogate":
        # 0.3 at random; 0.07 over twelve seeds, of which one has 0.2.
        assert np.mean([trial.params["x"] > 0.7 for trial in study.trials[25:]]) < 0.25


def test_under_hyperband_every_trial_is_seen_in_every_bracket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Optuna hands its samplers a study that hides the other brackets from `get_trials`."""
    pruner = HyperbandPruner(min_resource=1, max_resource=9)
    study = optuna.create_study(sampler=S2ESampler(seed=0), pruner=pruner)
    study.optimize(training, n_trials=30)
    seen: list[set[int]] = []
    fit = Surrogate.fit.__func__  # type: ignore[attr-defined]

    def noting(
        cls: type[Surrogate], codec: Codec, trials: Sequence[FrozenTrial], *rest: Any
    ) -> Surrogate:
        seen.append({trial.number for trial in trials})
        return fit(cls, codec, trials, *rest)

    monkeypatch.setattr(Surrogate, "fit", classmethod(noting))
    brackets = set()
    while len(brackets) < 3:
        seen.clear()
        trial = study.ask()
        number = trial.number
        brackets.add(pruner._get_bracket_id(study, study.trials[number]))
        trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
        study.tell(trial, 1.0)
        in_commit = {n for g in generations(study) for n in g.batch}
        assert seen[-1] >= in_commit and len(seen[-1]) == number  # for the draw: all before it


def test_a_trial_that_is_run_again_counts_once() -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    study.optimize(training, n_trials=6)
    lost = study.ask()
    params = [lost.suggest_float(name, 0.0, 1.0) for name in ("x", "y")]
    lost.report(0.1, 1)
    running = copy.deepcopy(study.trials)
    study.tell(lost, state=TrialState.FAIL)
    retry = RetryHeartbeatStaleTrialCallback()
    retry(study, study.trials[lost.number])
    study.optimize(training, n_trials=4)
    again = study.trials[lost.number + 1]
    assert list(again.params.values()) == params
    batches = [number for generation in generations(study) for number in generation.batch]
    assert batches.count(again.number) == 1 and lost.number not in batches
    for first in ([], [*running, *study.trials[len(running) :]]):  # a lagging read, and none
        ledger = Ledger()
        ledger.update(first)
        ledger.update(study.trials)
        assert ledger.space is not None
        assert ledger.chain("any", ledger.space).failed == {}


def stored(
    values: dict[int, float], state: str = "PRUNED", x: float = 0.5, **more: Any
) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=TrialState[state],
        value=values[max(values)] if state == "COMPLETE" else None,
        intermediate_values=values,
        params={"x": x},
        distributions={"x": optuna.distributions.FloatDistribution(0.0, 1.0)},
        **more,
    )


def test_a_stopped_trial_counts_with_what_it_would_have_ended_with() -> None:
    trials = [
        stored({1: 0.9, 5: 0.5, 9: 0.3}, "COMPLETE"),
        stored({1: 0.8, 5: 0.6, 9: 0.4}, "COMPLETE"),
        stored({1: 0.8, 5: 0.7, 9: 0.2}, "COMPLETE"),
        stored({1: 0.9, 5: 0.55}),  # those at step 5 went on by -0.2, -0.2 and -0.5
        stored({1: 1.0}),  # those at step 1 by -0.4, -0.2, -0.1, -0.35 and -0.15 to step 5
        stored({1: 0.45, 5: 0.3}),  # would be better than any that ended: nobody has seen it
        stored({3: 0.5}),  # nobody else has reported at step 3
    ]
    found = batch_values(trials, 1)
    assert found == pytest.approx([0.3, 0.4, 0.2, 0.35, 1.0 - 0.2 - 0.2, 0.2, 0.5])
    assert batch_values(trials, 1, finals=False) == pytest.approx(
        [0.3, 0.4, 0.2, 0.55, 1.0, 0.4, 0.5]
    )


def test_what_stopped_trials_would_have_ended_with_knows_the_direction() -> None:
    trials = [
        stored({1: 0.1, 5: 0.7}, "COMPLETE"),
        stored({1: 0.3, 5: 0.8}, "COMPLETE"),
        stored({1: 0.05}),
    ]
    assert batch_values(trials, -1) == pytest.approx([-0.7, -0.8, -0.6])


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf"), 1e300])
def test_reports_that_are_not_finite_tell_nothing(odd: float) -> None:
    trials = [
        stored({1: 0.9, 5: 0.3}, "COMPLETE"),
        stored({1: odd, 5: 0.4}, "COMPLETE"),
        stored({1: 0.8}),
        stored({1: odd}),
    ]
    found = batch_values(trials, 1)
    assert np.all(np.isfinite(found))
    assert found[3] == np.max(found)


def test_stopped_trials_tell_of_their_neighbours_but_are_not_recommended() -> None:
    study = optuna.create_study()
    rng = np.random.default_rng(0)
    for x in (0.2, 0.25, 0.8):  # two lucky ones beside many bad neighbours, and a sound one
        study.add_trial(stored({1: 0.5, 5: 0.2 if x < 0.5 else 0.22}, "COMPLETE", x))
    for x in rng.uniform(0.1, 0.4, 12):
        study.add_trial(stored({1: 0.9}, x=float(x)))
    for x in rng.uniform(0.7, 0.9, 4):
        study.add_trial(stored({1: 0.51}, x=float(x)))
    assert recommended_trial(study).params["x"] == 0.8
    assert recommended_trial(study, "observed").params["x"] in (0.2, 0.25)


@pytest.mark.parametrize(("key", "value"), [("pruned", "final"), ("rule", RULE)])
def test_a_search_of_an_earlier_version_goes_on_by_its_own_rules(key: str, value: object) -> None:
    study = optuna.create_study(
        sampler=S2ESampler(seed=0), pruner=SuccessiveHalvingPruner(min_resource=1)
    )
    study.optimize(training, n_trials=12)
    (first,) = (g for g in generations(study) if g.m == 2)
    assert first.trial_number is not None
    trials = copy.deepcopy(study.trials)
    commit = trials[first.trial_number].system_attrs["s2e:tag"]["commit"]
    assert commit.pop(key) == value
    study = optuna.create_study(
        sampler=S2ESampler(seed=0), pruner=SuccessiveHalvingPruner(min_resource=1)
    )
    study.add_trials(trials)
    assert S2ESampler(seed=0).audit(study)  # its thetas were computed by the other rule
    before = len(generations(study))
    study.optimize(training, n_trials=9)
    assert len(generations(study)) > before
    ledger = Ledger()
    ledger.update(study.trials)
    assert ledger.space is not None
    sig = S2ESampler(seed=0).signature(ledger.space)
    chain = ledger.chain(sig, ledger.space)
    assert (chain.finals, chain.rule) == ((False, RULE) if key == "pruned" else (True, 1))
    # The thetas that it has added since are by its own rules: an audit finds the first ones only.
    for problem in S2ESampler(seed=0).audit(study):
        assert int(problem.removeprefix("The theta in trial ").split()[0]) < 12
