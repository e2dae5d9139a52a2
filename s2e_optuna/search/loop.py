"""One worker: ask for trials, train them as a stack, tell; until the study has its N trials.

The budget N is the study's, not a worker's, and it is exact: N trials end as COMPLETE or PRUNED,
whoever runs them. After a worker has got trial n it goes on with it only if fewer than N of the
trials before n are finished, running or waiting; otherwise it fails the trial as surplus. Take
the highest-numbered trial that went on: all others that went on are among those before it, so
there are never more than N. A worker that finds no work waits, because a running trial may fail.

N may change while workers run (`set_target`). They look at it before each trial, and, where they
give signs of life, as often as they do that: work that a smaller N has made needless is handed
back.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeGuard

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from s2e_optuna.search.progress import SURPLUS, RunningTally, WorkerStatus, tally
from s2e_optuna.storages.cached import SharedStorage, batch_of, one_read_of
from s2e_optuna.storages.leased import LeasedStorage
from s2e_optuna.storages.leases import ERROR_ATTR, Heartbeat, Reaper, queue_again, release
from s2e_optuna.storages.rows import OWNER_ATTR
from s2e_optuna.stored_names import CHECKPOINT_ATTR, TARGET_ATTR

SAME_ERRORS = 3
"""How often in a row the same error may happen; the last one ends the worker."""

NOTIFY_EVERY = 0.2
"""Seconds between two messages about epochs."""

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING)

_logger = logging.getLogger(__name__)


class StopWork(BaseException):
    """The worker is asked to stop; not an `Exception`, so that nothing catches it by mistake."""


class NotNeeded(BaseException):
    """The study has its trials already, because it is to have fewer."""


class RepeatedError(RuntimeError):
    """The same error happened several times in a row; its message is that of the error."""


class Outcome(Protocol):
    """How one trial ended; `s2e_optuna.objective.Outcome` is one. This module needs no torch."""

    @property
    def state(self) -> TrialState:
        """``COMPLETE``, ``PRUNED`` or ``FAIL``."""

    @property
    def value(self) -> float | None:
        """None unless the state is ``COMPLETE``."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """User attributes to store with the trial."""

    @property
    def error(self) -> str | None:
        """One sentence, if it failed."""


@dataclass(frozen=True)
class Failure:
    """A trial that failed."""

    error: str
    state: TrialState = TrialState.FAIL
    value: None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)


class Evaluator(Protocol):
    """Trains trials; `CoTeachingObjective.evaluate` is one."""

    def __call__(
        self, trials: Sequence[Trial], on_epoch: Callable[[int], None]
    ) -> Sequence[Outcome]:
        """Evaluate the trials and return an outcome for each."""


class StopSwitch:
    """Says whether the worker is asked to stop; `throw` may be called by a signal handler."""

    def __init__(self) -> None:
        self.requested = False
        self._interruptible = False

    def throw(self, *_: Any) -> None:
        """Ask the worker to stop: now if it trains, else before it starts something new."""
        self.requested = True
        if self._interruptible:
            self._interruptible = False
            raise StopWork

    def check(self) -> None:
        """Raise `StopWork` if the worker is asked to stop."""
        if self.requested:
            raise StopWork

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Let a request interrupt what is inside; tells and asks are never interrupted."""
        self._interruptible = True  # first: a request after the check must not be lost
        try:
            self.check()
            yield
        finally:
            self._interruptible = False


def read_target(study: optuna.Study) -> int:
    """Read the budget N."""
    return int(study.user_attrs[TARGET_ATTR])


def set_target(study: optuna.Study, trials: int) -> int:
    """Set the budget N, and say so if the study is to have fewer trials than before.

    Parameters
    ----------
    study
        With a budget.
    trials
        The new one.

    Returns
    -------
    int
        The new budget.
    """
    before = read_target(study)
    if trials != before:
        study.set_user_attr(TARGET_ATTR, trials)
    if trials < before:
        finished = tally(study.get_trials(deepcopy=False)).finished
        _logger.warning(
            "The search was to have %s trials, and is to have %s now; %s have finished%s.",
            f"{before:,}",
            f"{trials:,}",
            f"{finished:,}",
            ", so no new ones are started" if finished >= trials else "",
        )
    return trials


def work(
    study: optuna.Study,
    evaluate: Evaluator,
    *,
    stack: int = 1,
    epochs: int = 0,
    max_trials: int | None = None,
    notify: Callable[[WorkerStatus], None] = lambda status: None,
    switch: StopSwitch | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run trials until the study has as many as its budget says.

    Parameters
    ----------
    study
        With the budget as its user attribute `TARGET_ATTR`.
    evaluate
        What to do with a stack of trials.
    stack
        Trials to train at once, at most.
    epochs
        Epochs of a trial; only passed on to ``notify``.
    max_trials
        Stop after so many trials of this worker, too.
    notify
        Told what the worker does.
    switch
        Asks the worker to stop.
    clock
        Seconds since some moment, by which other workers are taken for dead; replaced in tests.

    Returns
    -------
    int
        Trials that this worker has completed.

    Raises
    ------
    StopWork
        If asked to; running trials have been told as failed.
    RepeatedError
        If the same error happened three times in a row.
    """
    switch = switch or StopSwitch()
    worker = _Worker(study, evaluate, epochs, notify, switch, Reaper(study, clock=clock))
    with warnings.catch_warnings():
        # Beats come from a thread of ours (`leases.Heartbeat`).
        warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used")
        done, pauses = 0, iter(_PAUSES)
        while max_trials is None or done < max_trials:
            switch.check()
            with one_read_of(study._storage):
                worker.reaper.look()
                target = read_target(study)
                seen = worker.tally.update(study.get_trials(deepcopy=False))
                if seen.finished >= target:
                    break
                free = target - seen.finished - seen.running
                limit = stack if max_trials is None else min(stack, max_trials - done)
                trials = worker.ask(min(limit, free), target) if free > 0 else []
            if free <= 0:
                notify(WorkerStatus("waiting", message=worker.waits_for()))
                pause = next(pauses, _PAUSES[-1])
                time.sleep(pause * random.uniform(0.8, 1.2))
                continue
            pauses = iter(_PAUSES)
            done += worker.run(trials, target)
    return done


class _Worker:
    """What a worker keeps between stacks."""

    def __init__(
        self,
        study: optuna.Study,
        evaluate: Evaluator,
        epochs: int,
        notify: Callable[[WorkerStatus], None],
        switch: StopSwitch,
        reaper: Reaper,
    ) -> None:
        self.study = study
        self.reaper = reaper
        self.tally = RunningTally()
        self._evaluate = evaluate
        self._epochs = epochs
        self._notify = notify
        self._switch = switch
        self._notified = 0.0
        self._needless = False
        self._last_error = ""
        self._same_errors = 0

    def waits_for(self) -> str:
        """Say which running trials could still fail."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        names = [
            str(trial.number)
            if OWNER_ATTR in trial.user_attrs
            else f"{trial.number} (of another program)"
            for trial in running[:3]
        ]
        more = f" and {len(running) - 3} more" if len(running) > 3 else ""
        return f"waiting for the running trials {', '.join(names)}{more}" if names else "waiting"

    def ask(self, count: int, target: int) -> list[Trial]:
        """Start up to ``count`` trials, fewer if the study turns out to have enough."""
        trials: list[Trial] = []
        for _ in range(count):
            trial = self.study.ask()
            if self._is_surplus(trial.number, target):
                tell(self.study, {trial: _failure(SURPLUS)})
                break
            trials.append(trial)
        return trials

    def run(self, trials: Sequence[Trial], target: int) -> int:
        """Run trials as one stack; return how many were completed or pruned."""
        if not trials:
            return 0
        outcomes: Sequence[Outcome]
        try:
            numbers = tuple(trial.number for trial in trials)
            self._notify(WorkerStatus("training", numbers, 0, self._epochs))
            self._notified = time.monotonic()
            ids = [trial._trial_id for trial in trials]
            beats = Heartbeat(self.study._storage, ids, lambda: self._look(target))
            with beats, self._switch.training():
                outcomes = self._evaluate(trials, lambda epoch: self._on_epoch(numbers, epoch))
        except StopWork:
            for trial in self._give_up(trials, "handed back: the worker was asked to stop"):
                if CHECKPOINT_ATTR in trial.user_attrs:  # much work: whoever comes next goes on
                    queue_again(self.study, trial, at_most=None)
            raise
        except NotNeeded:
            self._give_up(trials, "handed back: the search is to have fewer trials")
            return 0
        except UpdateFinishedTrialError as error:
            # Not an error of the training: somebody took this worker for dead.
            _logger.warning("Trials %s came late: %s", [t.number for t in trials], error)
            self._give_up(trials, "given up by another worker")
            return 0
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            _logger.warning("Trials %s failed: %s", [t.number for t in trials], message)
            _logger.debug("The traceback:", exc_info=True)
            outcomes = [_failure(message)]
            tell(self.study, dict.fromkeys(trials, outcomes[0]))
        else:
            tell(self.study, dict(zip(trials, outcomes, strict=True)))
        for outcome in outcomes:
            self._count_error(outcome)
        return sum(outcome.state != TrialState.FAIL for outcome in outcomes)

    def _give_up(self, trials: Sequence[Trial], reason: str) -> list[FrozenTrial]:
        """Fail trials that say nothing of their parameters; return those that still ran."""
        storage = self.study._storage
        stored = [storage.get_trial(trial._trial_id) for trial in trials]
        return [trial for trial in stored if release(self.study, trial, reason, retry=False)]

    def _is_surplus(self, number: int, target: int) -> bool:
        if number < target:
            return False
        before = self.study.get_trials(deepcopy=False)[:number]
        return sum(trial.state in _COUNTED for trial in before) >= target

    def _look(self, target: int) -> None:
        """Look, beside the training, whether it is still needed."""
        if (now := read_target(self.study)) < target:
            self._needless = tally(self.study.get_trials(deepcopy=False)).finished >= now

    def _on_epoch(self, numbers: tuple[int, ...], epoch: int) -> None:
        self._switch.check()
        if self._needless:
            raise NotNeeded
        now = time.monotonic()
        if now - self._notified >= NOTIFY_EVERY or epoch == self._epochs:
            self._notified = now
            self._notify(WorkerStatus("training", numbers, epoch, self._epochs))

    def _count_error(self, outcome: Outcome) -> None:
        if outcome.state != TrialState.FAIL:
            self._same_errors = 0
            return
        message = outcome.error or "unknown error"
        kind = re.sub(r"[\d.]+", "#", message)  # "in epoch 3" and "in epoch 4" are the same
        self._same_errors = self._same_errors + 1 if kind == self._last_error else 1
        self._last_error = kind
        if self._same_errors >= SAME_ERRORS:
            raise RepeatedError(message)


def _failure(message: str) -> Failure:
    return Failure(message, attrs={ERROR_ATTR: message})


def tell(study: optuna.Study, outcomes: Mapping[Trial, Outcome]) -> None:
    """Write attributes and results, in one transaction where the storage offers that.

    A trial that somebody has marked as failed meanwhile stays as it is; that is logged.
    """
    late = set()
    with one_read_of(study._storage), batch_of(study._storage) as left_out:
        for trial, outcome in outcomes.items():
            try:
                for key, value in outcome.attrs.items():
                    trial.set_user_attr(key, value)
                told = study.tell(trial, outcome.value, state=outcome.state, skip_if_finished=True)
            except UpdateFinishedTrialError:
                late.add(trial._trial_id)
            else:
                if told.state.is_finished() and told.state != outcome.state:
                    late.add(trial._trial_id)
    for trial, outcome in outcomes.items():
        if trial._trial_id in late | left_out and outcome.state != TrialState.FAIL:
            _logger.warning(
                "The result of trial %d came late: it had been given up and marked as failed.",
                trial.number,
            )


def names_owners(storage: BaseStorage) -> TypeGuard[SharedStorage | LeasedStorage]:
    """Whether trials say who runs them: in all storages that `open_storage` has opened."""
    return isinstance(storage, SharedStorage | LeasedStorage)
