"""Profile a whole job from its first line to its last: who does what, and which cores wait.

    python -m studies.profile_job
    python -m studies.profile_job --job "search digits --noise pair --noise-rate 0.45 --workers 2"

The job runs once, as a command of its own in an empty folder. In each of its processes a thread
looks at the main thread's stack a hundred times a second (`studies.sampled_phases`) and reads the
process's own clock, so processor time is counted where it is spent, whoever waits. Results go to
``studies/results/profile_job/``: README.md, and a picture of all processes on one axis of time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studies.pages import Table, save, tidy, write_text
from studies.sampled_phases import FOLDER
from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "profile_job"
JOB = "search digits --noise symmetric --noise-rate 0.5 --workers 2"
WAITING, STEPS = "waiting", "steps"
BIN = 0.5
"""Seconds over which busy cores are averaged."""

COLOURS = {
    "imports": "#999999",
    "data": "#F0E442",
    STEPS: "#0072B2",
    "training, other": "#56B4E9",
    "evaluation": "#009E73",
    "sampler": "#CC79A7",
    "storage": "#E69F00",
    "logistic regression": "#8B5A2B",
    "judging labels": "#D55E00",
    "pictures": "#AA4499",
    "report": "#332288",
    "other": "#000000",
}
"""Colour of each phase; in that order in the table."""


@dataclass(frozen=True)
class Look:
    """What a process did until a moment, since the last one.

    Attributes
    ----------
    start, end
        Seconds since the job began.
    cpu
        Processor seconds.
    job, phase
        See `studies.sampled_phases`.
    """

    start: float
    end: float
    cpu: float
    job: str
    phase: str


@dataclass(frozen=True)
class Process:
    """A process and what it did."""

    name: str
    looks: tuple[Look, ...]


def read(folder: Path, started: float) -> list[Process]:
    """Read what the processes of a job have noted; in the order of their starts."""
    found = []
    for path in folder.glob("*.tsv"):
        # The last line may be cut off: a process ends whenever it is done.
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        rows = [line.split("\t") for line in lines]
        if not rows:
            continue
        names = [row[2] for row in rows if row[2] != "MainProcess"]
        tracker = any(row[3] == "resource tracker" for row in rows)
        looks, before, spent = [], float(rows[0][0]) - started, 0.0
        for clock, cpu, _, job, phase in rows:
            now = float(clock) - started
            looks.append(Look(before, now, float(cpu) - spent, job, phase))
            before, spent = now, float(cpu)
        if not tracker:  # Python's own; it only waits
            found.append(Process(names[-1] if names else "", tuple(looks)))  # of its work
    found.sort(key=lambda process: process.looks[0].start)
    unnamed = iter(("command",))
    return [Process(one.name or next(unnamed, "helper"), one.looks) for one in found]


def profile(words: Sequence[str]) -> tuple[list[Process], float]:
    """Run a job once; return its processes and the seconds that all of it took."""
    with tempfile.TemporaryDirectory() as place:
        site, log = Path(place) / "site", Path(place) / "log"
        site.mkdir()
        log.mkdir()
        hook = "import studies.sampled_phases\n\nstudies.sampled_phases.install()\n"
        (site / "sitecustomize.py").write_text(hook, encoding="utf-8")
        paths = [str(site), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "s2e_optuna.cli", *words],
            cwd=place,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), FOLDER: str(log)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return read(log, started), time.monotonic() - started


def steps_between(processes: Sequence[Process]) -> tuple[float, float]:
    """Return when the first step began and the last one ended."""
    steps = [look for one in processes for look in one.looks if look.phase == STEPS]
    return min(look.start for look in steps), max(look.end for look in steps)


def busy(processes: Sequence[Process], edges: Any) -> Any:
    """Return the mean number of busy cores between each two moments."""
    found = np.zeros(len(edges) - 1)
    for one in processes:
        ends = np.array([one.looks[0].start, *(look.end for look in one.looks)])
        spent = np.concatenate([[0.0], np.cumsum([look.cpu for look in one.looks])])
        found += np.diff(np.interp(edges, ends, spent))
    return found / np.diff(edges)


def cost_table(processes: Sequence[Process]) -> Table:
    """Return processor seconds by phase and job."""
    spent: Counter[tuple[str, str]] = Counter()
    for one in processes:
        for look in one.looks:
            # A moment's work in between, and looking itself.
            spent["other" if look.phase == WAITING else look.phase, look.job] += look.cpu
    jobs = [job for job in ("trials", "comparison", "cross-validation", "posterior", "")]
    rows = []
    for phase in COLOURS:
        cells = [spent[phase, job] for job in jobs]
        rows.append([phase, *(f"{cell:.1f}" if cell >= 0.05 else "" for cell in cells)])
        rows[-1].append(f"{sum(cells):.1f}")
    sums = [sum(spent[phase, job] for phase in COLOURS) for job in jobs]
    rows.append(["all", *(f"{cell:.1f}" for cell in sums), f"{sum(sums):.1f}"])
    return Table(["", *jobs[:-1], "besides", "all"], rows)


def draw(processes: Sequence[Process], seconds: float, stem: Path) -> None:
    """Draw every process on one axis of time, and busy cores below."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(10, 1.6 + 0.45 * len(processes)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[len(processes), 2])
    for place, one in enumerate(processes):
        for phase, colour in COLOURS.items():
            spans = [(x.start, x.end - x.start) for x in one.looks if x.phase == phase]
            above.broken_barh(  # pixels also in the vector file: these are thousands
                spans, (place - 0.4, 0.8), facecolors=colour, linewidth=0, rasterized=True
            )
    above.set_yticks(range(len(processes)), [one.name for one in processes])
    above.invert_yaxis()
    above.legend(
        handles=[Patch(color=colour, label=phase) for phase, colour in COLOURS.items()],
        ncols=6,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        frameon=False,
        fontsize="small",
    )
    edges = np.arange(0.0, seconds + BIN, BIN)
    below.stairs(busy(processes, edges), edges, fill=True, color="#999999")
    below.set_ylabel("busy cores")
    below.set_xlabel("seconds since the command was given")
    tidy(below)
    stem.parent.mkdir(parents=True, exist_ok=True)
    save(figure, stem)


def write_page(processes: Sequence[Process], seconds: float, job: str) -> None:
    """Write table and picture."""
    first, last = steps_between(processes)
    (cores,) = busy(processes, np.array([first, last]))
    of = os.cpu_count() or 1
    draw(processes, seconds, RESULTS / "timeline")
    lines = [
        "# Where the time of a whole job goes",
        "",
        "`python -m studies.profile_job`, which looks into processes a hundred times a second.",
        f"`s2e {job}` took {seconds:.1f} s. The first training step",
        f"began after {first:.1f} s, the last one ended after {last:.1f} s. Between these",
        f"{cores:.2f} of {of} cores were busy ({100 * cores / of:.0f}%).",
        "",
        "![What each process does, and busy cores](timeline.png)",
        "",
        "Processor seconds by what was done, and in which trainings:",
        "",
        *cost_table(processes).markdown(),
        "",
        f"{hardware()}; load average {os.getloadavg()[0]:.1f} at the end; commit {commit()}.",
        "",
    ]
    write_text(RESULTS / "README.md", "\n".join(lines))
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", default=JOB, help="words after s2e")
    job = parser.parse_args().job
    words = [*job.split(), "--storage", "sqlite:///s2e.db", "--out", "out"]
    processes, seconds = profile(words)
    write_page(processes, seconds, job)


if __name__ == "__main__":
    main()
