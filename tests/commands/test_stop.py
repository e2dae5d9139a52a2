"""Ending a search early."""

import pytest
import worker_jobs
from command_line import run
from optuna.trial import TrialState

from s2e_optuna import open_storage
from s2e_optuna.commands.stop import stop_search
from s2e_optuna.errors import InputError
from s2e_optuna.search.loop import read_target


@pytest.fixture
def study(tmp_path):
    made = worker_jobs.new_study(open_storage(f"sqlite:///{tmp_path}/study.db"), 100)
    yield made
    made._storage.dispose()


def test_a_search_ends_with_the_trials_that_have_finished(study):
    for value in (0.5, 0.25):
        study.tell(study.ask(), value)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.ask()
    stopped = stop_search(study._storage, "s")
    assert (stopped.finished, stopped.wanted) == (2, 100)
    assert read_target(study) == 2
    assert "s ends with 2 trials in place of 100" in str(stopped)
    assert "--trials 2 writes them" in str(stopped)
    with pytest.raises(InputError, match="has all of its 2 trials"):
        stop_search(study._storage, "s")


def test_what_cannot_be_stopped(study):
    with pytest.raises(InputError, match="there is no study 'x' in this storage; it holds s"):
        stop_search(study._storage, "x")
    with pytest.raises(InputError, match="no result to write"):
        stop_search(study._storage, "s")
    assert read_target(study) == 100


def test_a_study_of_another_program_is_left_alone(stored):
    with pytest.raises(InputError, match="not made by s2e search"):
        stop_search(open_storage(stored), "tiny")


def test_the_command_says_what_happens(study):
    study.tell(study.ask(), 0.5)
    url = study._storage._backend.engine.url
    stopped = run(f"stop --storage {url} --study s")
    assert (stopped.exit_code, stopped.stderr) == (0, "")
    assert stopped.stdout.startswith("The search s ends with 1 trials in place of 100:")
    assert run(f"stop --storage {url} --study s").exit_code == 2
