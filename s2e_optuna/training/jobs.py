"""Trainings that do not depend on each other, and who runs them: this process, or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from s2e_optuna.data.noisy_data import NoisyData

Tell = Callable[[int, bool], None]
"""Told after each epoch the number of finished epochs, and whether they only prepare."""

TellOf = Callable[[int, int, bool], None]
"""The same of one of several jobs, by its place."""


class Job(Protocol):
    """Some trainings; a value that can be pickled, as what it returns."""

    def __call__(self, data: NoisyData, tell: Tell) -> Any:
        """Train on the data; tell after each epoch."""


class Runner(Protocol):
    """Runs jobs on the same data.

    Attributes
    ----------
    processes
        Jobs that run at a time.
    """

    @property
    def processes(self) -> int:
        """Jobs that run at a time."""

    def __call__(
        self,
        jobs: Sequence[Job],
        data: NoisyData,
        tell: TellOf,
    ) -> list[Any]:
        """Return what the jobs return, in their order.

        Parameters
        ----------
        jobs
            What to do.
        data
            What every job gets.
        tell
            Called in this thread with the place of a job and what it tells.
        """


class InTurn:
    """Runs jobs in this process, one after the other: a `Runner`."""

    processes = 1

    def __call__(self, jobs: Sequence[Job], data: NoisyData, tell: TellOf) -> list[Any]:
        """See `Runner`."""
        return [job(data, partial(tell, place)) for place, job in enumerate(jobs)]


in_turn = InTurn()


@dataclass(eq=False)
class Beside:
    """Runs other jobs beside those that it is given first, so that no process waits: a `Runner`.

    Attributes
    ----------
    run
        Runs them all.
    jobs, tell
        The others, and whom they tell.
    found
        What they returned.
    """

    run: Runner
    jobs: Sequence[Job]
    tell: TellOf
    found: list[Any] = field(default_factory=list)

    @property
    def processes(self) -> int:
        """See `Runner`."""
        return self.run.processes

    def __call__(self, jobs: Sequence[Job], data: NoisyData, tell: TellOf) -> list[Any]:
        """See `Runner`."""
        first = len(jobs)

        def tell_whom(place: int, epoch: int, preparing: bool) -> None:
            whom, number = (tell, place) if place < first else (self.tell, place - first)
            whom(number, epoch, preparing)

        found = self.run([*jobs, *self.jobs], data, tell_whom)
        self.found = found[first:]
        return found[:first]


Item = TypeVar("Item")


def in_parts(items: Sequence[Item], parts: int) -> list[Sequence[Item]]:
    """Divide items, in their order, into so many parts at most, about equally large."""
    size = -(-len(items) // parts)
    return [items[i : i + size] for i in range(0, len(items), size)]
