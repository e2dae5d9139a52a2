"""Writes what a running stack of trials reports, in few transactions."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import NopPruner
from optuna.study import Study
from optuna.trial import Trial

from s2e_optuna.objective.leaving import leaving, rungs, values_at
from s2e_optuna.scores import BEST_EPOCHS
from s2e_optuna.storages.cached import batch_of
from s2e_optuna.training import EpochReport, TrainConfig

REPORT_SECONDS = 10.0
"""Seconds between two writings of reports, where no pruner waits for them."""


class Reporter:
    """Reports a stack's validation errors to its trials, and asks which of them to stop.

    A pruner is asked once for each report, and what it has stopped stays stopped: halving answers
    differently when it is asked again. It judges the trials of a stack, which report side by
    side, one after the other; what leaves early by our own rule (`leaving`) is decided for the
    whole stack at once.

    Where nothing is pruned, reports only serve those who watch. They are then written together,
    those of `REPORT_SECONDS` in one transaction.

    Parameters
    ----------
    trials
        The stack's trials.
    every
        Epochs between two reports.
    config
        How they train. With ``stop="best"`` a report is the error of the best epochs so far (see
        `s2e_optuna.scores.judged`), so that it never rises; as long as there are fewer of them,
        the others count as all wrong.
    leave_early
        Whether trials that will not win leave; only with ``stop="best"``.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        every: int,
        config: TrainConfig,
        *,
        leave_early: bool = False,
    ) -> None:
        self.lost: set[int] = set()
        """Positions of trials that another process has finished."""
        self._trials = trials
        self._every = every
        self._epochs = config.epochs
        evaluations = -(-config.epochs // config.evaluate_every)
        best = min(BEST_EPOCHS, evaluations) if config.stop == "best" else 0
        self._best = [[0.0] * best for _ in trials]
        study = getattr(trials[0], "study", None)  # a FixedTrial has none
        self._study: Study | None = study if leave_early and config.stop == "best" else None
        self._rungs = () if self._study is None else rungs(config.epochs, config.evaluate_every)
        self._prunes = any(_may_prune(trial) for trial in trials)
        self._stopped: set[int] = set()
        self._waiting: list[tuple[int, int, float]] = []
        self._written = time.monotonic()

    def __call__(self, epoch: int, reports: Sequence[EpochReport]) -> set[int]:
        """Report this epoch, if it is one to report; return the positions to stop."""
        errors = {r.trial: self._error(r) for r in reports}
        rung = epoch in self._rungs
        if (epoch + 1) % self._every and epoch + 1 != self._epochs and not rung:
            return set()
        self._waiting += [(trial, epoch, error) for trial, error in errors.items()]
        if rung or self._prunes or time.monotonic() - self._written >= REPORT_SECONDS:
            self.flush()
        reported = {r.trial for r in reports}
        if self._prunes:
            asked = sorted(reported - self.lost - self._stopped)
            self._stopped |= {i for i in asked if self._trials[i].should_prune()}
        if rung and self._study is not None:
            # What was judged at an earlier rung, or lost its worker, is not there any more.
            mine = {trial.number for trial in self._trials}
            now = {i: error for i, error in errors.items() if i not in self.lost}
            self._stopped |= leaving(now, *values_at(self._study, epoch, mine))
        return reported & (self.lost | self._stopped)

    def restore(self, reports: Sequence[EpochReport]) -> None:
        """Take in the reports of a training that goes on, those before it was interrupted."""
        for report in reports:
            self._error(report)

    def _error(self, report: EpochReport) -> float:
        best = self._best[report.trial]
        if not best:
            return 1.0 - report.validation_value
        if not math.isnan(report.validation_value):
            best[0] = max(best[0], report.validation_value)
            best.sort()
        return 1.0 - sum(best) / len(best)

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
