"""Final trainings in several processes: the same results, and nothing left behind."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from s2e_optuna.commands.running import with_workers_early
from s2e_optuna.data import load_data
from s2e_optuna.errors import DataError
from s2e_optuna.schedules import Schedule
from s2e_optuna.search.final import comparison_entries, train_final
from s2e_optuna.search.processes import process_context
from s2e_optuna.search.trainings import Processes, final_trainings
from s2e_optuna.search.watch import SearchError
from s2e_optuna.training import TrainConfig
from s2e_optuna.training.jobs import in_turn


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", noise="symmetric", noise_rate=0.5, seed=0)


@dataclass(frozen=True)
class Odd:
    """A job that does what its name says."""

    does: str
    file: Path | None = None

    def __call__(self, data, tell):
        tell(1, False)
        if self.does == "refuse":
            raise DataError("there is nothing to learn")
        if self.does == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does == "die once" and not self.file.exists():
            self.file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does == "train for ever":
            self.file.write_text(str(os.getpid()))
            for epoch in itertools.count():
                tell(epoch, False)
                time.sleep(0.02)
        return self.does, os.getpid(), len(data.y_train)


def ignore(*told):
    pass


@pytest.fixture
def processes():
    found = Processes(2)
    yield found
    found.close()


def test_everything_is_the_same_as_in_one_process(digits):
    entries = comparison_entries(Schedule.coteaching(3, 0.5), noise_rate=0.5)
    config, told = TrainConfig(epochs=3), []
    with final_trainings(2, "cpu") as run:
        there = train_final(
            entries, digits, config, seeds=2, folds=3, progress=told.append, run=run
        )
    here = train_final(entries, digits, config, seeds=2, folds=3)
    assert there.kept == here.kept
    for name, runs in here.results.items():
        for ours, theirs in zip(runs, there.results[name], strict=True):
            assert ours.seed == theirs.seed and ours.samples == theirs.samples
            np.testing.assert_allclose(
                ours.validation_accuracy, theirs.validation_accuracy, atol=0.02
            )
    assert there.unseen.training.shape == here.unseen.training.shape
    np.testing.assert_allclose(there.unseen.training, here.unseen.training, atol=0.05)
    done = [progress.done for progress in told]
    assert done == sorted(done) and done[-1] == told[-1].total == (3 * 2 + 3) * 3


def test_one_process_or_a_gpu_needs_no_others():
    for workers, device in [(1, "cpu"), (4, "cuda:0")]:
        with final_trainings(workers, device) as run:
            assert run is in_turn


def test_jobs_are_spread_and_processes_kept(digits, processes):
    first = processes([Odd("a"), Odd("b"), Odd("c")], digits, ignore)
    again = processes([Odd("d")], digits, ignore)
    assert [found[0] for found in first] == ["a", "b", "c"]
    pids = {found[1] for found in first}
    assert len(pids) == 2 and os.getpid() not in pids
    assert again[0][1] in pids


def test_a_refusal_is_the_one_of_the_job(digits, processes):
    with pytest.raises(DataError, match="nothing to learn"):
        processes([Odd("refuse")], digits, ignore)


def test_a_killed_training_starts_over_once(digits, processes, tmp_path, caplog):
    found = processes([Odd("die once", tmp_path / "died"), Odd("a")], digits, ignore)
    assert [one[0] for one in found] == ["die once", "a"]
    assert "was killed by SIGKILL; its training starts over" in caplog.text
    with pytest.raises(SearchError, match=r"killed by SIGKILL, again.*same command again"):
        processes([Odd("die")], digits, ignore)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_trainings import Odd, ignore
from s2e_optuna.commands.running import with_workers_early
from s2e_optuna.data import load_data
from s2e_optuna.search.trainings import Processes
if __name__ == "__main__":
    Processes(2)([Odd("train for ever", Path(sys.argv[1]))], load_data("digits"), ignore)
"""


def test_nobody_stays_when_the_parent_is_killed(tmp_path):
    script, file = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, script, file, Path(__file__).parent])
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text()):
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    child = Path("/proc", file.read_text(), "stat")
    while child.exists() and " Z " not in child.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_processes_are_forked_from_one_that_has_torch():
    code = "import sys; assert {'torch', 'optuna', 'alembic'} <= set(sys.modules)"
    process = process_context().Process(target=exec, args=(code,))
    process.start()
    process.join()
    assert process.exitcode == 0


def test_what_starts_processes_imports_nothing_that_takes_long():
    code = (
        "import sys, s2e_optuna.search.processes; "
        "assert not {'torch', 'numpy', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


EARLY = """
import os, signal, sys
from multiprocessing import active_children, current_process
from s2e_optuna.search.processes import processes_early, start_process

def say(what, pipe):
    ready = {"torch", "optuna", "alembic"} <= set(sys.modules)
    pipe.send((what, current_process().name, os.getpid(), ready, signal.getsignal(signal.SIGINT)))

with processes_early(4):
    early = {process.pid: process for process in active_children()}
    killed = early.pop(min(early))
    killed.kill()
    killed.join()
    for number in range(2):
        process, pipe = start_process(say, number, name=f"named-{number}")
        said = (number, f"named-{number}", process.pid, True, signal.SIG_IGN)
        assert pipe.recv() == said and early.pop(process.pid).name == said[1]
        pipe.close()
        process.join()
        assert process.exitcode == 0
    assert len(early) == len(active_children()) == 1
assert not active_children()
with processes_early(1):  # torch is imported: this process may hold threads by now
    assert not active_children()
del sys.modules["torch"]
with processes_early(2):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_that_are_forked_early_end_with_what_they_are_for():
    """Also when their parent is killed: who still waits for work holds what is read here."""
    done = subprocess.run(
        [sys.executable, "-c", EARLY], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")


@pytest.mark.parametrize(
    ("launcher", "workers", "expected"), [("local", 1, 1), ("local", 2, 4), ("ray", 2, 0)]
)
def test_as_many_are_forked_as_a_search_may_need(launcher, workers, expected, monkeypatch):
    made = []
    monkeypatch.setattr("s2e_optuna.search.processes.available_cores", lambda: 2)
    monkeypatch.setattr(
        "s2e_optuna.search.processes.processes_early",
        lambda count: made.append(count) or contextlib.nullcontext(),
    )
    given = {"launcher": launcher, "workers": workers}
    assert with_workers_early(lambda **same: same)(**given) == given
    assert sum(made) == expected
