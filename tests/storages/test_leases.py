"""Dead workers on storages without heartbeats, and what a journal and a proxy must survive."""

import os
import signal
import subprocess
import sys
import threading

import optuna
import pytest
import worker_jobs
from optuna.trial import TrialState

from s2e_optuna.search.loop import work
from s2e_optuna.storages.journal import SharedJournalFile
from s2e_optuna.storages.leases import LEASE_ATTR, Heartbeat, Reaper
from s2e_optuna.storages.rows import OWNER_ATTR


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def states(study):
    return [trial.state for trial in study.get_trials(deepcopy=False)]


@pytest.fixture
def journal_url(tmp_path):
    return f"journal:///{tmp_path}/study.log"


@pytest.fixture
def study(opened, journal_url):
    return worker_jobs.new_study(opened(journal_url, heartbeat=10), 5)


def ask_as(study, owner):
    study._storage.owner = owner
    return study.ask()


def test_trials_of_a_dead_worker_are_run_again(study):
    dead = [ask_as(study, "dead:1:0") for _ in range(2)]
    alive = ask_as(study, "alive:2:0")
    study._storage.owner = None
    foreign = study.ask()
    clock = Clock()
    reaper = Reaper(study, clock=clock)
    for count, clock.now in enumerate((0.0, 11.0, 31.0, 59.0, 75.0)):
        assert TrialState.FAIL not in states(study)
        study._storage.set_trial_system_attr(alive._trial_id, LEASE_ATTR, count)
        reaper.look()
    failed = [t.number for t in study.trials if t.state == TrialState.FAIL]
    assert failed == [trial.number for trial in dead]
    assert states(study)[alive.number] == states(study)[foreign.number] == TrialState.RUNNING
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [t.system_attrs["failed_trial"] for t in waiting] == failed
    assert all(OWNER_ATTR not in t.user_attrs for t in waiting)


def test_one_lease_keeps_a_whole_stack_alive(study, monkeypatch):
    study._storage.lease = 0.02
    trials = [ask_as(study, "me") for _ in range(3)]

    def leases():
        return [trial.system_attrs.get(LEASE_ATTR, 0) for trial in study.trials]

    with Heartbeat(study._storage, [trial._trial_id for trial in trials]):
        worker_jobs.wait_until(lambda: leases()[0] >= 2)
    given_up = leases()[0]
    assert leases()[1:] == [0, 0]
    study.tell(trials[0], state=TrialState.FAIL)  # somebody gave it up
    with Heartbeat(study._storage, [trial._trial_id for trial in trials]):
        worker_jobs.wait_until(lambda: leases()[1] >= 1)
    assert leases()[0] == given_up and leases()[2] == 0


def test_a_started_waiting_trial_gets_an_owner(study):
    study.enqueue_trial({"x0": 0.0})
    trial = ask_as(study, "me")
    assert study.trials[trial.number].user_attrs[OWNER_ATTR] == "me"


def test_an_idle_worker_takes_over_from_a_dead_one(study):
    ask_as(study, "dead:1:0")
    study.set_user_attr("s2e:trials", 1)
    study._storage.owner = "me"
    clock = Clock()
    waits = []

    def notify(status):
        if status.state == "waiting":
            waits.append(status.message)
            clock.now += 30.0

    made = worker_jobs.quick(study, "cpu", 0)
    assert work(study, made.evaluate, notify=notify, clock=clock) == 1
    assert "waiting for the running trials 0" in waits[0]
    assert states(study) == [TrialState.FAIL, TrialState.COMPLETE]


# Journals.


@pytest.mark.parametrize("tail", [b'{"op_code":4,"worker_id":"x', b"", b"x" * 200_000])
def test_a_part_of_a_line_is_taken_back(opened, journal_url, tmp_path, tail, caplog):
    study = worker_jobs.new_study(opened(journal_url), 5)
    study.ask()
    with open(tmp_path / "study.log", "ab") as file:
        file.write(tail)
    again = optuna.load_study(study_name="s", storage=opened(journal_url))
    again.ask()
    again.ask()
    assert len(optuna.load_study(study_name="s", storage=opened(journal_url)).trials) == 3
    assert ("part of a line" in caplog.text) == bool(tail)


def test_an_append_to_a_full_disk_leaves_the_journal_as_it_was(tmp_path):
    import resource

    path = tmp_path / "study.log"
    journal = SharedJournalFile(str(path))
    journal.append_logs([{"a": 1}])
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            journal.append_logs([{"b": "x" * 1000}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.stat().st_size == size
    journal.append_logs([{"c": 2}])
    assert list(journal.read_logs(0)) == [{"a": 1}, {"c": 2}]


# Proxies.


@pytest.fixture
def proxy(sqlite_url, free_port):
    pytest.importorskip("grpc", reason="needs the packages grpcio and protobuf")
    command = [sys.executable, "-m", "s2e_optuna.cli", "proxy", "--storage", sqlite_url]
    command += ["--port", str(free_port)]
    started = []

    def start():
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return started[-1]

    start()
    yield f"grpc://127.0.0.1:{free_port}", start, started
    for server in started:
        server.kill()
        server.wait()


def test_a_proxy_that_restarts_costs_nothing(opened, proxy):
    url, start, started = proxy
    study = worker_jobs.new_study(opened(url, heartbeat=10), 40)
    study._storage.owner = "me"

    def start_again():
        worker_jobs.wait_until(lambda: study._storage.lost_at is not None)
        start()

    missed = threading.Thread(target=start_again)
    made = worker_jobs.quick(study, "cpu", 0)

    def evaluate(trials, on_epoch):
        if trials[0].number == 5:
            started[0].kill()
            started[0].wait()
            missed.start()
        return made.evaluate(trials, on_epoch)

    assert work(study, evaluate) == 40
    missed.join()
    assert len(started) == 2 and study._storage.lost_at is not None
    finished = [state for state in states(study) if state == TrialState.COMPLETE]
    assert len(finished) == 40
    assert study.sampler.audit(study) == []
    study._storage.close()


def test_a_proxy_stops_on_a_signal(opened, proxy):
    url, _, started = proxy
    opened(url).close()
    os.kill(started[0].pid, signal.SIGINT)
    assert started[0].wait(120) == 130
