"""How far a search or a training is, on standard error.

On a terminal a live display; elsewhere (a log file, a pipe, a batch system) a plain line now and
then; with ``quiet`` nothing. Standard output is never touched: it belongs to the results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from s2e_optuna.reporting.terminal import ascii_only, console, duration, number
from s2e_optuna.reporting.textplot import sparkline
from s2e_optuna.schedules import Schedule

if TYPE_CHECKING:
    from s2e_optuna.data import NoisyData
    from s2e_optuna.search.progress import Progress, WorkerProgress, WorkerStatus

LINE_INTERVAL = 15.0
"""Seconds between plain lines."""


READING_SHOWN_AFTER = 1.0
"""Seconds after which the reading of images is shown."""

ENDED = {"fail": "failed", "interrupted": "interrupted"}
"""Words for trials that ended without a value."""

_PHASES = {"search": "searching", "retrain": "final comparison"}
_UNITS = {"search": "trials", "retrain": "epochs"}
_MOST_WORKERS = 16  # lines of the display; a screen has some forty


@dataclass(frozen=True)
class Insight:
    """What a search has learnt so far; it is read more rarely than its progress.

    Attributes
    ----------
    schedule
        The one that would be recommended now.
    generation, entropy
        The newest generation of theta and the entropy of p_theta, in nats; None for samplers
        that have none.
    """

    schedule: Schedule | None = None
    generation: int | None = None
    entropy: float | None = None


class ProgressDisplay:
    """Shows what it is told, in the way that fits the output; a context manager.

    Parameters
    ----------
    target
        Where to show it; standard error if None.
    quiet
        Show nothing.
    interval
        Seconds between plain lines where there is no terminal.
    clock
        Seconds since some moment; replaced in tests.
    """

    def __init__(
        self,
        target: Console | None = None,
        *,
        quiet: bool = False,
        interval: float = LINE_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = target or console(sys.stderr)
        self._quiet = quiet
        self._interval = interval
        self._clock = clock
        self._last_line = float("-inf")
        self._last_stage: tuple[str, bool] | None = None
        self._live: Live | None = None
        self._reading_since: float | None = None
        self._insight = Insight()

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal:
            # Transient: what stays on the screen in the end is the result, not the bars.
            self._live = Live(console=self._console, transient=True, refresh_per_second=5)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def search(self, state: Progress) -> None:
        """Show how far a search is."""
        self._show(
            state.phase,
            lambda: search_view(state, self._console, self._insight),
            lambda: search_line(state, self._insight),
            final=state.finished >= state.target,
        )

    def insight(self, insight: Insight) -> None:
        """Show from now on what the search has learnt; may be called by another thread."""
        self._insight = insight

    def worker(self, status: WorkerStatus) -> None:
        """Show what a worker that runs in this process does."""
        trials = " ".join(map(str, status.trials))
        if status.epochs and trials:
            self.training(f"trial {trials}", status.epoch, status.epochs)
        elif status.state not in {"starting", "done"}:
            text = f"{status.state}: {status.message}" if status.message else status.state
            self._show(text, lambda: Text(text, "dim"), lambda: text)

    def training(self, what: str, epoch: int, epochs: int, note: str = "") -> None:
        """Show how far a training is: ``epoch`` of ``epochs`` are done.

        Parameters
        ----------
        what
            What is trained.
        epoch, epochs
            Finished epochs, and epochs in all.
        note
            More to say of it.
        """

        def view() -> RenderableType:
            grid = _grid()
            grid.add_row(Text(what, "bold"), _bar(epoch, epochs), f"epoch {epoch}/{epochs}", note)
            return grid

        line = f"{what}: epoch {epoch} of {epochs}" + (f", {note}" if note else "")
        self._show(what, view, lambda: line, final=epoch == epochs)

    def reading(self, done: int, total: int) -> None:
        """Show how many images have been decoded, if that takes more than a moment."""
        now = self._clock()
        if self._reading_since is None:
            self._reading_since = now
        if now - self._reading_since < READING_SHOWN_AFTER:
            return

        def view() -> RenderableType:
            grid = _grid()
            grid.add_row(Text("reading images", "bold"), _bar(done, total), f"{done}/{total}")
            return grid

        line = f"reading images: {done} of {total}"
        self._show("reading images", view, lambda: line, final=done == total)

    def data(self, data: NoisyData) -> None:
        """Say what the data were taken for."""
        for sentence in data.reading:
            self.note(sentence)

    def note(self, text: str) -> None:
        """Show a sentence that stays."""
        if not self._quiet:
            self._print(text)

    def _print(self, line: str) -> None:
        """Print a line; a place that takes no more of them is left alone from then on."""
        try:
            self._console.print(line, soft_wrap=True, markup=False)
        except OSError:  # a full disk under the log: no reason to end a search
            self._quiet = True

    def _show(
        self,
        phase: str,
        view: Callable[[], RenderableType],
        line: Callable[[], str],
        *,
        final: bool = False,
    ) -> None:
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(view())
            return
        now = self._clock()
        stage = (phase, final)
        if stage != self._last_stage or now - self._last_line >= self._interval:
            self._last_stage, self._last_line = stage, now
            self._print(line())


def search_line(state: Progress, insight: Insight | None = None) -> str:
    """Say in one line how far a search is."""
    parts = [f"{state.finished} of {state.target} {_UNITS[state.phase]}", *_others(state)]
    if state.best_value is not None:
        parts.append(f"lowest error {number(state.best_value)}")
    if state.phase == "search" and insight is not None:
        parts += _theta(insight)
    if state.seconds_left:
        parts.append(f"about {duration(state.seconds_left)} left")
    if state.message:
        parts.append(state.message)
    return f"[{duration(state.elapsed)}] {_PHASES[state.phase]}: {', '.join(parts)}"


def search_view(
    state: Progress, target: Console, insight: Insight | None = None
) -> RenderableType:
    """Make the live display of a search.

    Parameters
    ----------
    state
        How far it is.
    target
        Where it is shown.
    insight
        What it has learnt so far.
    """
    head = _grid()
    left = f", about {duration(state.seconds_left)} left" if state.seconds_left else ""
    head.add_row(
        Text(_PHASES[state.phase], "bold"),
        _bar(state.finished, state.target, width=24 if target.width >= 90 else 14),
        f"{state.finished}/{state.target} {_UNITS[state.phase]}",
        f"{duration(state.elapsed)}{left}",
    )
    facts = Text()
    if state.best_value is not None:
        facts.append(f"lowest error {number(state.best_value)}", "bold green")
    for fact in filter(None, (*_others(state), state.message)):
        facts.append(f"{'   ' if facts else ''}{fact}", "dim")
    workers = _grid()
    for worker in state.workers[:_MOST_WORKERS]:
        workers.add_row(*_worker_cells(worker, "..." if ascii_only(target) else "…"))
    parts: list[RenderableType] = [head]
    if facts:
        parts.append(facts)
    if state.phase == "search" and insight is not None and insight.schedule is not None:
        parts.append(_insight_line(insight, target))
    if state.workers:
        parts.append(workers)
    if len(state.workers) > _MOST_WORKERS:
        alive = sum(worker.alive for worker in state.workers)
        parts.append(Text(f"{len(state.workers)} workers, {alive} alive", "dim"))
    return Group(*parts)


def _insight_line(insight: Insight, target: Console) -> Text:
    assert insight.schedule is not None
    drawn = sparkline(insight.schedule.rates, width=16, ascii_only=ascii_only(target))
    line = Text.assemble(f"R(t) of {insight.schedule.name}  ", (drawn, "bright_blue"))
    line.append("".join(f"   {fact}" for fact in _theta(insight)), "dim")
    return line


def _theta(insight: Insight) -> list[str]:
    if insight.generation is None or insight.entropy is None:
        return []
    return [f"generation {insight.generation}", f"entropy {insight.entropy:.1f} nats"]


def _worker_cells(worker: WorkerProgress, ellipsis: str) -> tuple[RenderableType, ...]:
    status = worker.status
    name = f"worker {worker.pid}"
    device = Text(worker.device, "dim")
    if not worker.alive:
        return name, device, Text("ended", "dim"), "", Text(status.message)
    if not status.epochs:
        return name, device, Text(status.state, "dim"), "", Text(status.message)
    trials = " ".join(str(trial) for trial in status.trials[:6])
    more = f" {ellipsis}" if len(status.trials) > 6 else ""
    return (
        name,
        device,
        _bar(status.epoch, status.epochs, width=16),
        f"epoch {status.epoch}/{status.epochs}",
        f"trial{'s' if len(status.trials) > 1 else ''} {trials}{more}",
    )


def _others(state: Progress) -> list[str]:
    """Return the counts worth a word: all but the finished ones."""
    if state.phase != "search":
        return []
    words = {"running": "running", "waiting": "waiting", **ENDED}
    return [
        f"{state.counts[name]} {word}" for name, word in words.items() if state.counts.get(name)
    ]


def _bar(done: int, total: int, *, width: int = 24) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=min(done, total), width=width)


def _grid() -> Table:
    return Table.grid(padding=(0, 2))
