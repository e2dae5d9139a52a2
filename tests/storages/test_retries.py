import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna import open_storage
from s2e_optuna.storages.leases import queue_again

HALVING = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)


def lose(study: optuna.Study) -> FrozenTrial:
    """Begin a trial whose worker dies after it has set a constraint."""
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    trial.set_constraint("memory", 3.0)
    study.tell(trial, state=TrialState.FAIL)
    return study.trials[trial.number]


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
@pytest.mark.parametrize("by", ["beats", "leases"])
def test_a_trial_that_is_run_again_sets_its_constraints_anew(by: str, tmp_path: object) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/s.db", heartbeat=10)
    study = optuna.create_study(storage=storage)
    lost = lose(study)
    if by == "beats":
        callback = storage.get_heartbeat_stale_trial_callback()  # type: ignore[attr-defined]
        callback(study, lost)
    else:
        queue_again(study, lost)
    again = study.ask()
    assert again.params == lost.params
    again.set_constraint("memory", -1.0)
    study.tell(again, 0.5)
    assert study.trials[again.number].constraints == {"memory": -1.0}
    assert study.trials[lost.number].constraints == {"memory": 3.0}


@pytest.mark.parametrize(
    "pruner", [HALVING, optuna.pruners.HyperbandPruner(1, 8, reduction_factor=2)]
)
def test_a_trial_that_is_run_again_is_judged_anew(pruner: optuna.pruners.BasePruner) -> None:
    study = optuna.create_study(pruner=pruner)
    lost = study.ask()
    for step in (1, 2, 4, 8):
        lost.report(0.5, step)
        lost.should_prune()
    study.tell(lost, state=TrialState.FAIL)
    rungs = [key for key in study.trials[0].system_attrs if key.startswith("completed_rung_")]
    assert rungs  # the names are Optuna's
    queue_again(study, study.trials[0])
    again = study.ask()
    assert not [key for key in study.trials[again.number].system_attrs if "rung" in key]
    assert study.trials[again.number].system_attrs["retry_history"] == [0]
