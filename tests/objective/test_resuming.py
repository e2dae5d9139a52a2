"""Trials whose worker went away go on where they were."""

import optuna
import pytest
import worker_jobs
from optuna.trial import TrialState

from s2e_optuna import CoTeachingObjective
from s2e_optuna.search.loop import StopSwitch, StopWork, work
from s2e_optuna.storages.leases import release
from s2e_optuna.stored_names import CHECKPOINT_ATTR

EPOCHS = 6


@pytest.fixture
def study(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 3)
    study.pruner = optuna.pruners.NopPruner()
    return study


@pytest.fixture
def objective(tmp_path):
    return CoTeachingObjective(
        "digits",
        noise="symmetric",
        noise_rate=0.4,
        train_size=200,
        epochs=EPOCHS,
        device="cpu",
        checkpoints=tmp_path / "kept",
        checkpoint_minutes=0.0,
    )


def values(study):
    return {t.params["f1_a1"]: t.value for t in study.trials if t.state == TrialState.COMPLETE}


def undisturbed(objective, opened, tmp_path):
    study = worker_jobs.new_study(opened(f"sqlite:///{tmp_path}/other.db"), 3)
    study.pruner = optuna.pruners.NopPruner()
    work(study, objective.evaluate, stack=3)
    return values(study)


def test_after_ctrl_c_the_next_worker_goes_on(study, objective, opened, tmp_path):
    switch = StopSwitch()

    def evaluate(trials, on_epoch):
        return objective.evaluate(trials, lambda n: switch.throw() if n == 5 else on_epoch(n))

    with pytest.raises(StopWork):
        work(study, evaluate, stack=3, switch=switch)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL] * 3 + [TrialState.WAITING] * 3
    files = [path.name for path in (tmp_path / "kept" / "s").iterdir()]
    assert files == ["0-0.safetensors"]
    epochs = []

    def count(trials, on_epoch):
        return objective.evaluate(trials, epochs.append)

    assert work(study, count, stack=2) == 3  # the last one goes on without the others
    assert epochs == [5, 6, 5, 6]
    # Bit for bit what they would have been.
    assert values(study) == undisturbed(objective, opened, tmp_path)
    done = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert len({t.user_attrs["training_seed"] for t in done}) == 1


def test_after_a_kill_too_and_beside_new_trials(study, objective):
    class Killed(BaseException):
        pass

    def die(n):
        if n == 5:
            raise Killed

    with pytest.raises(Killed):
        objective.evaluate([study.ask()], die)
    assert study.trials[0].user_attrs[CHECKPOINT_ATTR] == {
        "first": 0,
        "file": "0-0.safetensors",
    }
    release(study, study.trials[0], "its worker was killed")
    epochs = []

    def count(trials, on_epoch):
        return objective.evaluate(trials, epochs.append)

    assert work(study, count, stack=3) == 3
    assert epochs == [5, 6, *range(1, EPOCHS + 1)]


def test_nothing_is_kept_of_trials_that_finished(study, objective, tmp_path):
    work(study, objective.evaluate, stack=3)
    assert list((tmp_path / "kept" / "s").iterdir()) == []


def test_a_folder_that_is_out_of_reach_costs_no_trial(study, objective, tmp_path, caplog):
    """A search stores the folder's path, which on another machine may lead to something else."""
    (tmp_path / "file").touch()
    objective.checkpoints = tmp_path / "file" / "kept"
    assert work(study, objective.evaluate, stack=3) == 3
    assert "No checkpoint was written" in caplog.text
