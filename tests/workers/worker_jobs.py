"""Cheap jobs for worker processes; in a module of their own, so that processes can import them."""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from s2e_optuna.sampler import S2ESampler
from s2e_optuna.workers.loop import TARGET_ATTR
from s2e_optuna.workers.worker import Job


@dataclass(frozen=True)
class Outcome:
    """Not that of `objective`: its import needs torch, which takes seconds."""

    state: TrialState
    value: float | None = None
    attrs: dict = field(default_factory=dict)
    error: str | None = None


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


def suicidal(study, device, number):
    """Every seventh trial kills its process, unless it is run again."""

    def evaluate(trials, on_epoch):
        outcomes = _quadratic(trials)
        for trial in trials:
            if trial.number % 7 == 3 and not study.trials[trial.number].system_attrs.get(
                "retry_history"
            ):
                os.kill(os.getpid(), 9)
        return outcomes

    return Job(evaluate, S2ESampler(seed=0), 1)


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


def stubborn(study, device, number):
    """Does not stop when it is asked to."""

    def evaluate(trials, on_epoch):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        on_epoch(1)
        time.sleep(600.0)

    return Job(evaluate, S2ESampler(seed=0), 10)
