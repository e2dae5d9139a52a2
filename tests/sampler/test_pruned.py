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
        assert np.mean([trial.params["x"] > 0.7 for trial in study.trials[25:]]) < 0.2


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
