import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna import open_storage
from s2e_optuna.storages.leases import queue_again


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
