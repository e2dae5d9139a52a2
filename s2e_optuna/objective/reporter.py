"""Writes what a running stack of trials reports, in few transactions."""

from __future__ import annotations

import time
from collections.abc import Sequence

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import NopPruner
from optuna.trial import Trial

from s2e_optuna.storages.cached import batch_of
from s2e_optuna.training import EpochReport

REPORT_SECONDS = 10.0
"""Seconds between two writings of reports, where no pruner waits for them."""


class Reporter:
    """Reports a stack's validation errors to its trials, and asks which of them to stop.

    A pruner is asked once for each report, and what it has stopped stays stopped: halving answers
    differently when it is asked again. The trials of a stack, which report side by side, are
    judged one after the other.

    Where nothing is pruned, reports only serve those who watch. They are then written together,
    those of `REPORT_SECONDS` in one transaction.

    Parameters
    ----------
    trials
        The stack's trials.
    every
        Epochs between two reports.
    epochs
        Epochs of a trial; the last one is always reported.
    """

    def __init__(self, trials: Sequence[Trial], every: int, epochs: int) -> None:
        self.lost: set[int] = set()
        """Positions of trials that another process has finished."""
        self._trials = trials
        self._every = every
        self._epochs = epochs
        self._prunes = any(_may_prune(trial) for trial in trials)
        self._stopped: set[int] = set()
        self._waiting: list[tuple[int, int, float]] = []
        self._written = time.monotonic()

    def __call__(self, epoch: int, reports: Sequence[EpochReport]) -> set[int]:
        """Report this epoch, if it is one to report; return the positions to stop."""
        if (epoch + 1) % self._every and epoch + 1 != self._epochs:
            return set()
        self._waiting += [(r.trial, epoch, 1.0 - r.validation_accuracy) for r in reports]
        if self._prunes or time.monotonic() - self._written >= REPORT_SECONDS:
            self.flush()
        reported = {r.trial for r in reports}
        if self._prunes:
            asked = sorted(reported - self.lost - self._stopped)
            self._stopped |= {i for i in asked if self._trials[i].should_prune()}
        return reported & (self.lost | self._stopped)

    def flush(self) -> None:
        """Write what waits."""
        with batch_of(self._trials[0]):
            for position, epoch, error in self._waiting:
                try:
                    self._trials[position].report(error, epoch)
                except UpdateFinishedTrialError:
                    self.lost.add(position)
        self._waiting = []
        self._written = time.monotonic()


def _may_prune(trial: Trial) -> bool:
    study = getattr(trial, "study", None)  # a FixedTrial has none
    return study is None or not isinstance(study.pruner, NopPruner)
