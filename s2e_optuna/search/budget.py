"""When a search ends before it has all its trials: after some time, or some epochs of training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState


@dataclass(frozen=True)
class Budget:
    """What a search may cost besides a number of trials.

    Attributes
    ----------
    epochs
        Epochs of a trial that is trained to its end.
    minutes
        For which trials are trained, in this run; None sets no limit.
    epochs_total
        Epochs of all trials of the study together; None sets no limit.
    """

    epochs: int
    minutes: float | None = None
    epochs_total: int | None = None

    def spent(self, trials: Iterable[FrozenTrial], elapsed: float) -> str | None:
        """Say what has been used up, a sentence; None while there is something left.

        Parameters
        ----------
        trials
            All trials of the study; only needed for `epochs_total`.
        elapsed
            Seconds since trials have been trained in this run.
        """
        if self.minutes is not None and elapsed >= 60.0 * self.minutes:
            return f"The {self.minutes:g} minutes of this search are over."
        if self.epochs_total is not None:
            trained = sum(self._trained(trial) for trial in trials)
            if trained >= self.epochs_total:
                return f"The {self.epochs_total:,} epochs of this search are trained."
        return None

    def _trained(self, trial: FrozenTrial) -> int:
        """Epochs that a trial has had, as far as it has reported."""
        if trial.state == TrialState.COMPLETE:
            return self.epochs
        return 0 if trial.last_step is None else trial.last_step + 1
