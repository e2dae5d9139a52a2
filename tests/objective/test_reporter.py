"""What pruners are asked, and how often."""

from types import SimpleNamespace

import optuna
import pytest

from s2e_optuna.objective.reporter import Reporter
from s2e_optuna.training import TrainConfig


class Once(optuna.pruners.BasePruner):
    """Stops each trial when it is asked first, and never again, as halving does."""

    def __init__(self):
        self.asked = []

    def prune(self, study, trial):
        self.asked.append((trial.number, trial.last_step))
        return len(self.asked) <= 2


def report(trial, validation_accuracy=0.5):
    return SimpleNamespace(trial=trial, validation_value=validation_accuracy)


@pytest.fixture
def pruner():
    return Once()


def test_a_pruner_is_asked_once_for_a_report_and_its_answer_stays(pruner):
    study = optuna.create_study(pruner=pruner)
    reporter = Reporter([study.ask(), study.ask()], every=2, config=TrainConfig(epochs=10))
    assert reporter(0, [report(0), report(1)]) == set()
    assert reporter(1, [report(0), report(1)]) == {0, 1}
    assert reporter(3, [report(0), report(1)]) == {0, 1}
    assert pruner.asked == [(0, 1), (1, 1)]


def test_a_trial_that_somebody_has_finished_is_not_asked_for(pruner):
    study = optuna.create_study(pruner=pruner)
    trials = [study.ask(), study.ask()]
    study.tell(study.trials[0].number, state=optuna.trial.TrialState.FAIL)
    reporter = Reporter(trials, every=1, config=TrainConfig(epochs=10))
    assert reporter(0, [report(0), report(1)]) == {0, 1}
    assert reporter.lost == {0}
    assert pruner.asked == [(1, 0)]
