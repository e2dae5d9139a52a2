"""Which trials leave early: at which epochs, and by which comparison."""

import itertools
import math

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from test_reporter import report

from s2e_optuna import CoTeachingObjective, S2ESampler
from s2e_optuna.data import load_data
from s2e_optuna.objective.leaving import leaving, rungs, values_at
from s2e_optuna.objective.reporter import Reporter
from s2e_optuna.training import TrainConfig

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", noise="symmetric", noise_rate=0.5, seed=0)


@pytest.mark.parametrize(
    ("epochs", "every", "expected"),
    [
        (60, 1, (11, 23, 41)),
        (200, 1, (39, 79, 139)),
        (10, 1, (2, 3, 6)),  # the first has its three evaluations
        (60, 5, (14, 24, 44)),  # where something has been measured
        (6, 1, (2, 4)),  # two rungs are one
        (3, 1, ()),
        (1, 1, ()),
    ],
)
def test_rungs_are_evaluated_epochs_before_the_end(epochs, every, expected):
    assert rungs(epochs, every) == expected


def test_the_best_third_of_a_first_stack_stays():
    now = {0: 0.3, 1: 0.1, 2: 0.2, 3: 0.4}
    assert leaving(now, []) == {0, 3}
    assert leaving(dict(enumerate(np.arange(9) / 10)), []) == set(range(3, 9))
    assert leaving({7: 0.9}, []) == set()
    assert leaving({}, [0.1]) == set()


def test_a_stack_is_judged_whole_whatever_the_order():
    now = {0: 0.3, 1: 0.1, 2: 0.2, 3: 0.4, 4: 0.35}
    found = {
        frozenset(leaving(dict(order), [0.15])) for order in itertools.permutations(now.items())
    }
    assert found == {frozenset({0, 2, 3, 4})}


def test_all_values_at_the_rung_count():
    assert leaving({0: 0.1, 1: 0.12}, [0.3, 0.4, 0.5, 0.6]) == set()  # a good stack stays whole
    assert leaving({0: 0.5, 1: 0.6}, [0.1, 0.2]) == {0, 1}  # a bad one leaves whole


def test_who_cannot_become_the_best_any_more_leaves():
    # Finished trials gained 0.1 or less from here, and the best of them ended with 0.2.
    finished = [(0.3, 0.2), (0.35, 0.3), (0.4, 0.35), (0.45, 0.4)]
    now = {0: 0.28, 1: 0.32, 2: 0.25}
    others = [here for here, _ in finished] + [0.9] * 9
    assert leaving(now, others) == set()
    assert leaving(now, others, finished) == {1}
    assert leaving(now, others, finished[:3]) == set()  # too few to know
    assert leaving({0: 0.2}, others, [(0.2, 0.2)] * 4) == set()  # as good as the best


def test_equals_are_treated_alike():
    assert leaving(dict.fromkeys(range(4), 0.2), [0.2, 0.3]) == set()


def test_what_diverged_leaves_and_makes_no_room():
    now = {0: math.nan, 1: math.inf, 2: 0.2, 3: 0.3}
    assert leaving(now, []) == {0, 1}
    assert leaving(now, [math.nan, math.nan]) == {0, 1}
    assert leaving({0: math.nan, 1: math.nan}, []) == set()  # the training ends them itself


def test_only_the_same_epoch_of_feasible_trials_that_did_not_fail_is_compared():
    study = optuna.create_study()
    for value, state in [(0.1, "COMPLETE"), (0.2, "PRUNED"), (0.3, "FAIL"), (0.4, "COMPLETE")]:
        trial = study.ask()
        trial.report(value, 5)
        trial.report(value / 2, 9)
        if value == 0.4:
            trial.set_constraint("size", 1.0)
        result = value if state == "COMPLETE" else None
        study.tell(trial, result, state=TrialState[state])
    mine, late = study.ask(), study.ask()
    mine.report(0.7, 5)
    late.report(0.6, 9)
    assert values_at(study, 5, {mine.number}) == ([0.1, 0.2], [(0.1, 0.1)])
    assert values_at(study, 5, set()) == ([0.1, 0.2, 0.7], [(0.1, 0.1)])


def test_a_reporter_reports_and_judges_at_rungs_only():
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    trials = [study.ask() for _ in range(4)]
    config = TrainConfig(epochs=20)  # rungs after 4, 8 and 14 epochs
    reporter = Reporter(trials, 100, config, leave_early=True)
    accuracies = (0.1, 0.2, 0.3, 0.4)
    left = {}
    for epoch in range(20):
        for i in reporter(
            epoch, [report(i, a) for i, a in enumerate(accuracies) if i not in left]
        ):
            left[i] = epoch
    reporter.flush()
    assert left == {0: 3, 1: 3, 2: 7}
    steps = [list(trial.intermediate_values) for trial in study.trials]
    assert steps == [[3], [3], [3, 7], [3, 7, 13, 19]]


def test_with_the_last_epochs_as_value_nobody_leaves():
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    trials = [study.ask() for _ in range(2)]
    reporter = Reporter(trials, 1, TrainConfig(epochs=20, stop="last"), leave_early=True)
    for epoch in range(20):
        assert reporter(epoch, [report(0, 0.1), report(1, 0.9)]) == set()


def test_a_training_that_goes_on_remembers_its_best_epochs():
    study = optuna.create_study()
    reporter = Reporter([study.ask()], 1, TrainConfig(epochs=20))
    reporter.restore([report(0, 0.9)] * 3)
    reporter(3, [report(0, 0.5)])
    assert study.trials[0].intermediate_values[3] == pytest.approx(0.1)


def test_trials_leave_and_the_search_goes_on_with_what_is_known_of_them(digits):
    objective = CoTeachingObjective(digits, epochs=10, leave_early=True, report_every=10)
    study = optuna.create_study(sampler=S2ESampler(seed=0), pruner=optuna.pruners.NopPruner())
    for _ in range(3):
        trials = [study.ask() for _ in range(6)]
        for trial, outcome in zip(trials, objective.evaluate(trials), strict=True):
            for name, value in outcome.attrs.items():
                trial.set_user_attr(name, value)
            study.tell(trial, outcome.value, state=outcome.state)
    states = [trial.state for trial in study.trials]
    assert states[:6].count(TrialState.COMPLETE) in (1, 2)
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in study.trials:
        steps = sorted(trial.intermediate_values)
        assert steps in ([2], [2, 3], [2, 3, 6], [2, 3, 6, 9])
        assert (len(steps) == 4) == (trial.state == TrialState.COMPLETE)
        assert np.all(np.diff([trial.intermediate_values[step] for step in steps]) <= 0)
        assert trial.user_attrs["stopped_epoch"] <= steps[-1]
    assert S2ESampler(seed=0).audit(study) == []


def test_alone_every_trial_is_judged_by_those_before_it(digits):
    objective = CoTeachingObjective(digits, epochs=6, leave_early=True)
    study = optuna.create_study(sampler=S2ESampler(seed=0), pruner=optuna.pruners.NopPruner())
    study.optimize(objective, n_trials=6)
    counts = [t.state for t in study.trials]
    assert counts[0] == TrialState.COMPLETE and TrialState.PRUNED in counts
