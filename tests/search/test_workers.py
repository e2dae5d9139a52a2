"""Real worker processes on real databases (long: every way in which they can end)."""

import os
import signal
import threading

import optuna
import pytest
import worker_jobs
from optuna.trial import TrialState
from threadpoolctl import threadpool_limits

from s2e_optuna.commands.stop import stop_search
from s2e_optuna.sampler.ledger import LOST_KEY
from s2e_optuna.search import pool as pool_module
from s2e_optuna.search import watch as watch_module
from s2e_optuna.search.loop import (
    SURPLUS,
    StopSwitch,
    StopWork,
    read_target,
    set_target,
    work,
)
from s2e_optuna.search.pool import LocalPool, SearchError
from s2e_optuna.search.worker import run_worker
from s2e_optuna.storages.leases import Reaper, release
from s2e_optuna.storages.rows import OWNER_ATTR
from s2e_optuna.stored_names import TARGET_ATTR

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def run_pool(study, url, target, job, workers=2, stack=1, on_progress=lambda p: None):
    pool = LocalPool(
        study, url, workers=workers, stack=stack, make_job=job, on_progress=on_progress
    )
    pool.run(target)
    return pool


def states(study):
    return [trial.state for trial in study.get_trials(deepcopy=False)]


def assert_budget(study, target):
    seen = states(study)
    assert sum(state in FINISHED for state in seen) == target
    assert TrialState.RUNNING not in seen


def assert_every_commit_can_be_recomputed(study):
    with threadpool_limits(1, user_api="blas"):  # as in the workers: sums in the same order
        assert study.sampler.audit(study) == []


def test_two_processes_keep_an_exact_budget(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 100)
    run_pool(study, sqlite_url, 100, worker_jobs.together)
    assert_budget(study, 100)
    assert_every_commit_can_be_recomputed(study)
    owners = {trial.user_attrs[OWNER_ATTR] for trial in study.trials}
    assert len(owners) == 2


def test_stacks_do_not_overshoot(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 20)
    run_pool(study, sqlite_url, 20, worker_jobs.quick, workers=2, stack=8)
    assert_budget(study, 20)


def test_postgres(opened, postgres_url):
    study = worker_jobs.new_study(opened(postgres_url), 60)
    run_pool(study, postgres_url, 60, worker_jobs.quick)
    assert_budget(study, 60)
    assert_every_commit_can_be_recomputed(study)


def test_a_server_may_be_away_while_workers_start(
    opened, postgres, postgres_url, monkeypatch, caplog
):
    study = worker_jobs.new_study(opened(postgres_url), 6)
    start, stopped = LocalPool._start, []

    def come_back():
        worker_jobs.wait_until(lambda: "does not answer" in caplog.text)
        postgres.ensure_postgres_running()

    def without_a_server(self, place):
        if not stopped:
            stopped.append(threading.Thread(target=come_back))
            postgres.stop()
            stopped[0].start()
        start(self, place)

    monkeypatch.setattr(LocalPool, "_start", without_a_server)
    run_pool(study, postgres_url, 6, worker_jobs.quick)
    stopped[0].join()
    assert_budget(study, 6)


def test_journal(opened, tmp_path):
    url = f"journal:///{tmp_path}/study.log"
    study = worker_jobs.new_study(opened(url), 20)
    run_pool(study, url, 20, worker_jobs.quick)
    assert_budget(study, 20)


HANDED_BACK = "handed back: the worker was asked to stop"
STOPPED = "its worker was stopped"  # what a pool says of one that took too long to stop
KILLED = "its worker was killed by SIGKILL"


def errors(study):
    """Why trials failed, by number."""
    failed = study.get_trials(states=(TrialState.FAIL,))
    return {trial.number: trial.user_attrs.get("error") for trial in failed}


def repeated(study):
    """Numbers of trials that were queued again."""
    attrs = [trial.system_attrs for trial in study.trials]
    return {attr["failed_trial"] for attr in attrs if "failed_trial" in attr}


def test_workers_that_kill_themselves_cost_only_their_trials(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 12)
    run_pool(study, sqlite_url, 12, worker_jobs.suicidal)
    assert_budget(study, 12)
    killed = {number for number, error in errors(study).items() if error == KILLED}
    assert 3 in killed
    assert repeated(study) == killed
    # Two workers may both ask for the last trial.
    assert set(errors(study).values()) <= {KILLED, SURPLUS}


def test_a_worker_killed_in_the_middle_is_replaced(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 10)
    killed = []
    seen = []

    def interfere(progress):
        seen.append(progress)
        stuck = [w for w in progress.workers if w.status.trials == (3,) and w.status.epoch == 4]
        if stuck and not killed and progress.finished >= 2:
            assert stuck[0].alive and stuck[0].status.epochs == 10
            assert progress.seconds_left > 0
            killed.append(stuck[0].pid)
            os.kill(stuck[0].pid, signal.SIGKILL)

    run_pool(study, sqlite_url, 10, worker_jobs.stuck, on_progress=interfere)
    assert killed
    assert_budget(study, 10)
    failed = errors(study)
    assert failed.pop(3) == KILLED and repeated(study) == {3}
    assert set(failed.values()) <= {SURPLUS}  # two workers may both ask for the last trial
    assert len({trial.user_attrs[OWNER_ATTR] for trial in study.trials}) == 3
    assert seen[-1].finished == seen[-1].target == 10


def test_interrupting_the_search_hands_trials_back(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 5000)

    def interrupt(progress):
        if progress.finished >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pool(study, sqlite_url, 5000, worker_jobs.slow, on_progress=interrupt)
    assert TrialState.RUNNING not in states(study)
    assert sum(state in FINISHED for state in states(study)) < 5000
    assert set(errors(study).values()) <= {HANDED_BACK, STOPPED}
    study.set_user_attr(TARGET_ATTR, 6)
    run_pool(study, sqlite_url, 6, worker_jobs.quick)
    assert_budget(study, max(6, sum(state in FINISHED for state in states(study))))


def test_a_trial_may_start_processes(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 2)
    run_pool(study, sqlite_url, 2, worker_jobs.with_processes, workers=1)
    assert states(study) == [TrialState.COMPLETE] * 2


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_that_do_not_stop_are_killed_however_the_search_ends(
    opened, sqlite_url, monkeypatch
):
    monkeypatch.setattr(pool_module, "STOP_PATIENCE", 0.5)
    study = worker_jobs.new_study(opened(sqlite_url), 9)
    pids = []

    def fail(progress):
        if sum(worker.status.epoch == 10 for worker in progress.workers) == 2:
            pids.extend(worker.pid for worker in progress.workers)
            raise ZeroDivisionError

    def broken(self, slot, reason, *, retry):
        raise RuntimeError("no storage")

    monkeypatch.setattr(LocalPool, "_release", broken)
    with pytest.raises(RuntimeError, match="no storage"):
        run_pool(study, sqlite_url, 9, worker_jobs.stubborn, on_progress=fail)
    assert len(pids) == 2 and not any(is_running(pid) for pid in pids)


def test_a_worker_that_cannot_be_started_leaves_no_others(opened, sqlite_url, monkeypatch):
    study = worker_jobs.new_study(opened(sqlite_url), 9)
    start, seen = LocalPool._start, []

    def only_one(self, slot):
        if self.pids:
            seen.extend(self.pids)
            raise OSError("too many processes")
        start(self, slot)

    monkeypatch.setattr(LocalPool, "_start", only_one)
    with pytest.raises(OSError, match="too many"):
        run_pool(study, sqlite_url, 9, worker_jobs.slow)
    assert len(seen) == 1 and not is_running(seen[0])


def test_the_same_error_three_times_ends_the_search(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 50)
    with pytest.raises(SearchError, match="RuntimeError: no luck in trial"):
        run_pool(study, sqlite_url, 50, worker_jobs.failing, workers=1)
    assert states(study) == [TrialState.FAIL] * 3


def test_a_worker_that_does_not_move_is_ended_once_nothing_is_left(
    opened, sqlite_url, monkeypatch, caplog
):
    monkeypatch.setattr(pool_module, "STOP_PATIENCE", 0.2)
    monkeypatch.setattr(watch_module, "GRACE", 0.2)
    study = worker_jobs.new_study(opened(sqlite_url), 6)
    run_pool(study, sqlite_url, 6, worker_jobs.frozen)
    assert_budget(study, 6)
    assert "workers that have not ended are ended (1)" in caplog.text


def test_a_search_that_is_to_have_fewer_trials_ends_at_once(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 5000)
    seen = []

    def stop(progress):
        seen.append(progress)
        if progress.finished >= 2 and progress.target == 5000:
            stop_search(study._storage, "s")

    run_pool(study, sqlite_url, 5000, worker_jobs.slow, on_progress=stop)
    assert TrialState.RUNNING not in states(study)
    assert seen[-1].target == read_target(study) <= seen[-1].finished < 1000


# In this process: the loop alone.


def run_here(study, job=worker_jobs.quick, **options):
    made = job(study, "cpu", 0)
    return work(study, made.evaluate, **options)


def test_single_errors_do_not_end_a_search(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 6)
    assert run_here(study, worker_jobs.sometimes_failing) == 6
    assert_budget(study, 6)
    assert sum(state == TrialState.FAIL for state in states(study)) == 3


def test_max_trials_is_a_limit_of_one_worker(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 10)
    assert run_here(study, max_trials=4, stack=3) == 4
    assert_budget(study, 4)


def test_a_raised_budget_is_seen_by_a_running_worker(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 3)
    made = worker_jobs.quick(study, "cpu", 0)

    def evaluate(trials, on_epoch):
        if trials[0].number == 2:
            study.set_user_attr(TARGET_ATTR, 5)
        return made.evaluate(trials, on_epoch)

    assert work(study, evaluate) == 5


def test_a_lowered_budget_is_seen_by_a_running_worker(opened, sqlite_url, caplog):
    study = worker_jobs.new_study(opened(sqlite_url), 1000)
    made = worker_jobs.quick(study, "cpu", 0)

    def evaluate(trials, on_epoch):
        if trials[0].number == 2:
            assert set_target(study, 3) == 3
        return made.evaluate(trials, on_epoch)

    assert work(study, evaluate) == 3
    assert "was to have 1,000 trials, and is to have 3 now; 2 have finished." in caplog.text
    set_target(study, 1)
    assert "3 have finished, so no new ones are started." in caplog.text
    assert set_target(study, 5) == read_target(study) == 5


def test_a_training_that_nobody_needs_any_more_is_handed_back(opened, tmp_path):
    study = worker_jobs.new_study(opened(f"journal:///{tmp_path}/study.log", heartbeat=10), 1000)
    study._storage.lease = 0.02
    study._storage.owner = "me"
    made = worker_jobs.quick(study, "cpu", 0)

    def evaluate(trials, on_epoch):
        if trials[0].number == 2:
            stop_search(study._storage, "s")
            worker_jobs.wait_until(lambda: on_epoch(1))  # until it is told
        return made.evaluate(trials, on_epoch)

    assert work(study, evaluate) == 2
    assert errors(study) == {2: "handed back: the search is to have fewer trials"}
    assert LOST_KEY in study.trials[2].system_attrs


def test_a_trial_beyond_the_budget_is_surplus(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 2)
    made = worker_jobs.quick(study, "cpu", 0)
    other = study.ask()  # somebody else's, running

    def evaluate(trials, on_epoch):
        # Between this worker's look and its next ask, others take what is left.
        if trials[0].number == 1:
            study.tell(other, state=TrialState.FAIL)
            study.set_user_attr(TARGET_ATTR, 2)
        return made.evaluate(trials, on_epoch)

    assert work(study, evaluate) == 2
    assert_budget(study, 2)


def test_surplus_trials_are_told_as_failed(opened, sqlite_url, monkeypatch):
    study = worker_jobs.new_study(opened(sqlite_url), 2)
    made = worker_jobs.quick(study, "cpu", 0)
    ask = study.ask
    first = []

    def late_ask():
        if not first:  # others come in between looking and asking
            first.extend([ask(), ask()])
            for trial in first:
                study.tell(trial, 0.5)
        return ask()

    monkeypatch.setattr(study, "ask", late_ask)
    assert work(study, made.evaluate) == 0
    assert_budget(study, 2)
    assert study.trials[2].user_attrs["error"] == SURPLUS


def test_an_idle_worker_takes_over_when_a_running_trial_fails(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 1)
    other = study.ask()
    said = []

    def notify(status):
        said.append(status)
        if status.state == "waiting":
            study.tell(other, state=TrialState.FAIL)

    assert run_here(study, notify=notify) == 1
    assert "waiting for the running trials 0" in next(
        s.message for s in said if s.state == "waiting"
    )
    assert_budget(study, 1)


def test_enqueued_trials_are_run_first_and_count(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 3)
    study.enqueue_trial({"x0": 0.0, "x1": 0.0, "x2": 0.0})
    assert run_here(study) == 3
    assert study.trials[0].value == 0.0
    assert_budget(study, 3)


def test_a_late_result_is_logged(opened, sqlite_url, caplog):
    study = worker_jobs.new_study(opened(sqlite_url), 1)
    made = worker_jobs.quick(study, "cpu", 0)

    def evaluate(trials, on_epoch):
        outcomes = made.evaluate(trials, on_epoch)
        if trials[0].number == 0:
            release(study, study.trials[0], "a test says so")
        return outcomes

    work(study, evaluate)
    assert "came late" in caplog.text
    assert states(study) == [TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[1].system_attrs["failed_trial"] == 0


def test_stopping_hands_a_stack_back(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 10)
    switch = StopSwitch()

    def evaluate(trials, on_epoch):
        switch.throw()

    with pytest.raises(StopWork):
        work(study, evaluate, stack=3, switch=switch)
    assert states(study) == [TrialState.FAIL] * 3
    # They say nothing of their parameters.
    assert all(LOST_KEY in trial.system_attrs for trial in study.trials)


def test_a_request_at_the_very_start_of_a_training_is_not_lost(monkeypatch):
    switch = StopSwitch()
    check = switch.check

    def check_and_be_asked():
        check()
        switch.throw()

    monkeypatch.setattr(switch, "check", check_and_be_asked)
    with pytest.raises(StopWork), switch.training():
        pytest.fail("the training began")


def test_run_worker_stops_on_a_signal(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 1000)
    before = signal.getsignal(signal.SIGINT)

    def interrupt(status):
        if status.trials == (2,) and status.epoch == 10:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_worker(sqlite_url, "s", make_job=worker_jobs.brief, threads=1, notify=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert states(study) == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
    assert errors(study) == {2: HANDED_BACK}


# Dead workers on other machines.


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_trial_without_any_beat_is_released_after_the_grace_period(opened, sqlite_url):
    storage = opened(sqlite_url, heartbeat=10)
    study = worker_jobs.new_study(storage, 5)
    foreign = optuna.storages.RDBStorage(sqlite_url)
    other_program = optuna.load_study(study_name="s", storage=foreign).ask()
    storage.owner = "dead:1:0"
    with pytest.warns(UserWarning, match="Heartbeat"):
        dead, alive = study.ask(), study.ask()
    clock = Clock()
    reaper = Reaper(study, clock=clock)
    for clock.now in (0.0, 11.0, 59.0):
        reaper.look(mine=[alive._trial_id])
        assert TrialState.FAIL not in states(study)
    clock.now = 75.0
    reaper.look(mine=[alive._trial_id])
    assert [t.number for t in study.trials if t.state == TrialState.FAIL] == [dead.number]
    assert study.trials[-1].state == TrialState.WAITING
    assert OWNER_ATTR not in study.trials[-1].user_attrs
    assert study.trials[other_program.number].state == TrialState.RUNNING
    foreign.engine.dispose()


def test_a_trial_that_stopped_beating_is_released(opened, sqlite_url):
    storage = opened(sqlite_url, heartbeat=10)
    study = worker_jobs.new_study(storage, 5)
    storage.owner = "dead:1:0"
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = study.ask()
    storage.record_heartbeat(trial._trial_id)
    with storage._backend.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-2 minutes')"
        )
    clock = Clock()
    reaper = Reaper(study, clock=clock)
    clock.now = 11.0
    reaper.look()
    assert states(study) == [TrialState.FAIL, TrialState.WAITING]


def test_a_trial_is_not_run_again_for_ever(opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 5)
    for _ in range(10):
        number = study.ask().number
        release(study, study.trials[number], "it kills its worker")
    retries = [t for t in study.trials if t.system_attrs.get("failed_trial") == 0]
    assert len(retries) == 3
