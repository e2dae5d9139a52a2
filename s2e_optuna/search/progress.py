"""What a running search tells whoever watches it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.sampler.ledger import LOST_KEY
from s2e_optuna.storages.leases import ERROR_ATTR

SURPLUS = "surplus: the study had its number of trials already"
"""Why a trial was not run that a worker had asked for at the very end."""

INTERRUPTED = "interrupted"
"""How a trial ended that says nothing of its parameters: in Optuna's words it has failed."""

_STATES = (*(state.name.lower() for state in TrialState), INTERRUPTED)


@dataclass(frozen=True)
class WorkerStatus:
    """What one worker does at the moment.

    Attributes
    ----------
    state
        ``"starting"``, ``"training"``, ``"waiting"`` (others still run; it takes over if one of
        them fails), ``"done"``, ``"stopped"`` or ``"failed"``.
    trials
        Numbers of the trials it trains, as one stack.
    epoch, epochs
        Finished epochs, and epochs in all; 0 if it trains nothing.
    message
        What it waits for, or why it failed.
    """

    state: Literal["starting", "training", "waiting", "done", "stopped", "failed"]
    trials: tuple[int, ...] = ()
    epoch: int = 0
    epochs: int = 0
    message: str = ""


@dataclass(frozen=True)
class WorkerProgress:
    """A local worker process.

    Attributes
    ----------
    pid
        Its process.
    alive
        Whether it runs.
    device
        What it trains on.
    status
        What it said last.
    restarts
        How many processes died in this place before.
    """

    pid: int
    alive: bool
    device: str
    status: WorkerStatus
    restarts: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes
    ----------
    phase
        ``"search"``, then ``"retrain"``: the final comparison over several seeds.
    counts
        Trials of the study by state, as `state_name` says it.
    finished, target
        Trials that count towards the budget, and the budget; in the phase ``"retrain"`` epochs.
    best_value
        Lowest value so far; None while there is none.
    workers
        Local worker processes.
    elapsed
        Seconds since the phase began.
    seconds_left
        Estimate; None while there is nothing to estimate it from.
    message
        What happens, if it is worth saying.
    """

    phase: Literal["search", "retrain"]
    counts: Mapping[str, int]
    finished: int
    target: int
    best_value: float | None = None
    workers: tuple[WorkerProgress, ...] = ()
    elapsed: float = 0.0
    seconds_left: float | None = None
    message: str = ""


@dataclass(frozen=True)
class Tally:
    """Trials of a study by state."""

    counts: Mapping[str, int] = field(default_factory=dict)
    best_value: float | None = None

    @property
    def finished(self) -> int:
        """Trials that count towards the budget."""
        return self.counts["complete"] + self.counts["pruned"]

    @property
    def running(self) -> int:
        """Trials that some worker trains."""
        return self.counts["running"]


def state_name(trial: FrozenTrial) -> str:
    """Name the state of a trial.

    Returns
    -------
    str
        ``complete``, ``pruned``, ``running``, ``waiting``, ``fail``; ``interrupted`` for a failed
        trial that was handed back, lost with its worker, or surplus.
    """
    if trial.state == TrialState.FAIL and (
        LOST_KEY in trial.system_attrs or trial.user_attrs.get(ERROR_ATTR) == SURPLUS
    ):
        return INTERRUPTED
    return trial.state.name.lower()


class RunningTally:
    """Counts a study's trials again and again; the work grows with new and open trials only."""

    def __init__(self) -> None:
        self._finished = Tally(dict.fromkeys(_STATES, 0))
        self._seen = 0
        self._open: list[int] = []

    def update(self, trials: Sequence[FrozenTrial]) -> Tally:
        """Count; ``trials`` are all trials of the study, in order."""
        looked_at = [trials[number] for number in (*self._open, *range(self._seen, len(trials)))]
        self._seen = len(trials)
        still_open = [trial for trial in looked_at if not trial.state.is_finished()]
        self._open = [trial.number for trial in still_open]
        ended = tally(trial for trial in looked_at if trial.state.is_finished())
        self._finished = _sum(self._finished, ended)
        return _sum(self._finished, tally(still_open))


def tally(trials: Iterable[FrozenTrial]) -> Tally:
    """Count trials by state and find the lowest value of the complete ones."""
    counts = dict.fromkeys(_STATES, 0)
    best: float | None = None
    for trial in trials:
        counts[state_name(trial)] += 1
        if trial.state == TrialState.COMPLETE and trial.values:
            best = trial.values[0] if best is None else min(best, trial.values[0])
    return Tally(counts, best)


def _sum(one: Tally, other: Tally) -> Tally:
    values = [t.best_value for t in (one, other) if t.best_value is not None]
    counts = {state: one.counts[state] + other.counts[state] for state in _STATES}
    return Tally(counts, min(values, default=None))
