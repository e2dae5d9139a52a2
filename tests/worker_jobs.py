"""Cheap jobs for worker processes; in a module of their own, so that processes can import them."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from s2e_optuna.sampler import S2ESampler
from s2e_optuna.search.worker import Job
from s2e_optuna.storages.leases import release
from s2e_optuna.storages.rows import OWNER_ATTR
from s2e_optuna.stored_names import TARGET_ATTR


@dataclass(frozen=True)
class Outcome:
    """Not that of `objective`: its import needs torch, which takes seconds."""

    state: TrialState
    value: float | None = None
    attrs: dict = field(default_factory=dict)
    error: str | None = None


def wait_until(condition: Callable[[], bool], patience: float = 120.0) -> None:
    """Wait for what other threads or processes do, however slow the machine is."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "what was waited for never happened"
        time.sleep(0.02)


def new_study(storage, target, name="s"):
    study = optuna.create_study(study_name=name, storage=storage, sampler=S2ESampler(seed=0))
    study.set_user_attr(TARGET_ATTR, target)
    return study


def _quadratic(trials):
    return [
        Outcome(TrialState.COMPLETE, sum(t.suggest_float(f"x{i}", -1, 1) ** 2 for i in range(3)))
        for t in trials
    ]


def quick(study, device, number):
    return Job(lambda trials, on_epoch: _quadratic(trials), S2ESampler(seed=0), 1)


def brief(study, device, number):
    """A tenth of a second a trial."""
    return _lasting(0.01)


def slow(study, device, number):
    """Three tenths of a second a trial, so that a test can interfere."""
    return _lasting(0.03)


def _lasting(seconds):
    def evaluate(trials, on_epoch):
        outcomes = _quadratic(trials)
        for epoch in range(10):
            time.sleep(seconds)
            on_epoch(epoch + 1)
        return outcomes

    return Job(evaluate, S2ESampler(seed=0), 10)


def _is_repetition(study, trial):
    return bool(study.trials[trial.number].system_attrs.get("retry_history"))


def suicidal(study, device, number):
    """Every seventh trial kills its process, unless it is run again."""

    def evaluate(trials, on_epoch):
        outcomes = _quadratic(trials)
        for trial in trials:
            if trial.number % 7 == 3 and not _is_repetition(study, trial):
                os.kill(os.getpid(), 9)
        return outcomes

    return Job(evaluate, S2ESampler(seed=0), 1)


def _wait_for_owners(study, count):
    """Wait until so many workers have had a trial."""
    wait_until(lambda: len({t.user_attrs.get(OWNER_ATTR) for t in study.trials} - {None}) >= count)


def together(study, device, number):
    """No trial ends before two workers are at work."""

    def evaluate(trials, on_epoch):
        if trials[0].number < 2:
            _wait_for_owners(study, 2)
        return _quadratic(trials)

    return Job(evaluate, S2ESampler(seed=0), 1)


def stuck(study, device, number):
    """Trial 3 does not end, unless it is run again; 5 and on wait for a third worker."""

    def evaluate(trials, on_epoch):
        outcomes = _quadratic(trials)
        for trial in trials:
            while trial.number == 3:  # until its worker is killed, or nobody listens any more
                on_epoch(4)
                time.sleep(0.05)
            if trial.number >= 5:
                _wait_for_owners(study, 3)
        return outcomes

    return Job(evaluate, S2ESampler(seed=0), 10)


def failing(study, device, number):
    def evaluate(trials, on_epoch):
        _quadratic(trials)
        raise RuntimeError(f"no luck in trial {trials[0].number}")

    return Job(evaluate, S2ESampler(seed=0), 1)


def sometimes_failing(study, device, number):
    def evaluate(trials, on_epoch):
        if trials[0].number % 3 == 1:
            raise RuntimeError("no luck")
        return _quadratic(trials)

    return Job(evaluate, S2ESampler(seed=0), 1)


def with_processes(study, device, number):
    """Every trial starts a process of its own, as a DataLoader with workers does."""

    def evaluate(trials, on_epoch):
        child = multiprocessing.get_context("spawn").Process(target=abs, args=(1,))
        child.start()
        child.join()
        assert child.exitcode == 0
        return _quadratic(trials)

    return Job(evaluate, S2ESampler(seed=0), 1)


def frozen(study, device, number):
    """The worker of trial 1 hands it back, and does not move any more."""

    def evaluate(trials, on_epoch):
        for trial in trials:
            if trial.number == 1:
                release(study, study.trials[1], "a test says so")
                os.kill(os.getpid(), signal.SIGSTOP)
        return _quadratic(trials)

    return Job(evaluate, S2ESampler(seed=0), 1)


def stubborn(study, device, number):
    """Does not stop when it is asked to; its epoch is 10 once that is so."""

    def evaluate(trials, on_epoch):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:  # until nobody listens any more
            on_epoch(10)
            time.sleep(0.05)

    return Job(evaluate, S2ESampler(seed=0), 10)
