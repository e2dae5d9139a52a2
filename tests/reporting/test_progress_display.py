import errno
import io
from dataclasses import replace

import pytest
from rich.console import Console

from s2e_optuna import Schedule
from s2e_optuna.reporting.progress import Insight, ProgressDisplay, search_line, search_view
from s2e_optuna.search.progress import Progress, WorkerProgress, WorkerStatus

STATE = Progress(
    phase="search",
    counts={"complete": 11, "pruned": 1, "running": 8, "waiting": 0, "fail": 1, "interrupted": 2},
    finished=12,
    target=50,
    best_value=0.0731,
    workers=(
        WorkerProgress(101, True, "cpu", WorkerStatus("training", tuple(range(12, 20)), 7, 30)),
        WorkerProgress(102, True, "cuda:0", WorkerStatus("waiting", message="others still run")),
        WorkerProgress(103, False, "cpu", WorkerStatus("failed", message="out of memory")),
    ),
    elapsed=200.0,
    seconds_left=4000.0,
)


def terminal(**options: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=100, highlight=False, **options), stream


def test_a_line_says_how_far_it_is() -> None:
    assert search_line(STATE) == (
        "[3 min 20 s] searching: 12 of 50 trials, 8 running, 1 failed, 2 interrupted, "
        "lowest error 0.0731, about 1 h 06 min left"
    )
    retrain = replace(STATE, phase="retrain", finished=90, target=450, seconds_left=None)
    assert search_line(retrain).startswith("[3 min 20 s] final comparison: 90 of 450 epochs")


def test_the_live_display_shows_every_worker() -> None:
    console, stream = terminal(force_terminal=True, color_system=None)
    with ProgressDisplay(console) as display:
        display.search(STATE)
    shown = stream.getvalue()
    for part in ("12/50 trials", "lowest error 0.0731", "worker 101", "epoch 7/30", "12 13"):
        assert part in shown
    for part in ("worker 102", "cuda:0", "others still run", "worker 103", "out of memory"):
        assert part in shown


def test_what_the_search_has_learnt_is_shown_with_it() -> None:
    insight = Insight(Schedule.coteaching(30, 0.5, name="trial 9"), generation=4, entropy=-12.34)
    assert "generation 4, entropy -12.3 nats, about" in search_line(STATE, insight)
    console, stream = terminal(force_terminal=True, color_system=None)
    with ProgressDisplay(console) as display:
        display.insight(insight)
        display.search(STATE)
    shown = stream.getvalue()
    assert "R(t) of trial 9  █" in shown and "generation 4   entropy -12.3 nats" in shown


def test_the_display_fits_eighty_columns() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    insight = Insight(Schedule.coteaching(60, 0.5, name="trial 999"), 16, -123.4)
    console.print(search_view(replace(STATE, finished=1200, target=5000), console, insight))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == 3 + len(STATE.workers)  # nothing is wrapped


def test_many_workers_become_a_sum() -> None:
    console, stream = terminal(force_terminal=True, color_system=None)
    with ProgressDisplay(console) as display:
        display.search(replace(STATE, workers=STATE.workers[:1] * 40))
    assert "40 workers, 40 alive" in stream.getvalue()


def test_without_a_terminal_there_is_a_plain_line_now_and_then() -> None:
    console, stream = terminal()
    times = iter((0.0, 3.0, 9.0, 11.0, 12.0, 12.5))
    with ProgressDisplay(console, interval=10.0, clock=lambda: next(times)) as display:
        for _ in range(5):
            display.search(STATE)
        display.search(replace(STATE, phase="retrain"))  # a new phase is said at once
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "\x1b" not in stream.getvalue()


def test_training_says_its_end_at_once() -> None:
    console, stream = terminal()
    with ProgressDisplay(console, clock=lambda: 0.0) as display:
        for epoch in (1, 2, 3):
            display.training("seed 1 of 2", epoch, 3)
    assert stream.getvalue().splitlines() == [
        "seed 1 of 2: epoch 1 of 3",
        "seed 1 of 2: epoch 3 of 3",
    ]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_quiet_shows_nothing(is_terminal: bool) -> None:
    console, stream = terminal(force_terminal=is_terminal)
    with ProgressDisplay(console, quiet=True) as display:
        display.search(STATE)
        display.training("seed 1 of 1", 1, 1)
        display.note("A sentence.")
    assert stream.getvalue() == ""


class Full(io.StringIO):
    """A log on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_under_the_log_ends_nothing() -> None:
    with ProgressDisplay(Console(file=Full())) as display:
        display.search(STATE)
        display.note("a sentence")
        display.training("training", 1, 2)
