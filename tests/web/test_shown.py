import optuna
import pytest

from s2e_optuna.web import shown as module
from s2e_optuna.web.shown import as_shown


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    """Twenty trials; the best one is the first."""
    monkeypatch.setattr(module, "FROM", 10)
    monkeypatch.setattr(module, "KEPT", 3)
    study = optuna.create_study(study_name="many")
    for number in range(20):
        study.add_trial(
            optuna.create_trial(value=float(number), intermediate_values={0: 1.0, 1: 2.0})
        )
    return study


def test_the_best_and_the_newest_keep_their_curves(study: optuna.Study) -> None:
    trials = as_shown(study._storage).get_all_trials(study._study_id)
    assert len(trials) == 20
    shown = [trial.number for trial in trials if trial.intermediate_values]
    assert shown == [0, 1, 2, 17, 18, 19]


def test_the_study_itself_is_not_touched(study: optuna.Study) -> None:
    as_shown(study._storage).get_all_trials(study._study_id, deepcopy=False)
    assert all(trial.intermediate_values for trial in study.trials)


def test_a_small_study_is_shown_as_it_is(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FROM", 20)
    trials = as_shown(study._storage).get_all_trials(study._study_id)
    assert all(trial.intermediate_values for trial in trials)


def test_everything_else_is_passed_on(study: optuna.Study) -> None:
    storage = as_shown(study._storage)
    storage.set_study_user_attr(study._study_id, "seen", True)
    assert study.user_attrs == {"seen": True}
    assert [found.study_name for found in storage.get_all_studies()] == ["many"]
    assert optuna.load_study(study_name="many", storage=storage).best_value == 0.0


def test_constraints_are_shown_as_the_dashboard_reads_them() -> None:
    from optuna_dashboard._serializer import serialize_frozen_trial

    study = optuna.create_study()
    trial = study.ask()
    trial.set_constraint("memory", 3.0)
    trial.set_constraint("time", -1.0)
    study.tell(trial, 0.5)
    (trial_shown,) = as_shown(study._storage).get_all_trials(study._study_id)
    assert serialize_frozen_trial(0, trial_shown, {})["constraints"] == [3.0, -1.0]
    (stored,) = study.get_trials(deepcopy=False)
    assert serialize_frozen_trial(0, stored, {})["constraints"] == []
    assert "constraints" not in stored.system_attrs


def test_what_another_program_calls_constraints_is_left_alone() -> None:
    study = optuna.create_study()
    study.add_trial(optuna.create_trial(value=0.0, system_attrs={"constraints": 3}))
    (trial,) = as_shown(study._storage).get_all_trials(study._study_id)
    assert trial.system_attrs == {"constraints": 3}
