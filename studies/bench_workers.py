"""Measure how a search grows with its workers: trials an hour, and quality at equal trials.

    python -m studies.bench_workers
    python -m studies.bench_workers --workers 1 16 --storages sqlite --no-quality

Trials an hour: real worker processes with a training that only sleeps, so that a machine with two
cores can stand for sixteen devices; everything else is that of a search (the sampler with its
updates, 19 parameters, 20 reports, attributes). Efficiency is the share of the workers' time that
goes into trainings, from the end of each worker's first trial on.

Quality: searches on emulated tasks (`studies.emulator`) in which so many workers ask before any of
them tells; the error of the schedule that is recommended in the end.

Results go to ``studies/results/bench_workers/``: README.md, results.json, workers.png.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import NopPruner
from optuna.trial import TrialState

from s2e_optuna import S2ESampler, open_storage, suggest_schedule
from s2e_optuna.search.pool import LocalPool
from s2e_optuna.search.worker import Job
from s2e_optuna.storages.cached import batch_of
from s2e_optuna.storages.rows import OWNER_ATTR
from s2e_optuna.stored_names import TARGET_ATTR

RESULTS = Path(__file__).parent / "results" / "bench_workers"
SECONDS = 10.0
EPOCHS = 60
WORKERS = (1, 2, 4, 8, 16)
STORAGES = ("postgresql", "sqlite")
TASKS = ("digits-sym50", "digits-pair45")
TRIALS = 48


@dataclass(frozen=True)
class Speed:
    """Trials an hour with so many workers."""

    storage: str
    workers: int
    trials: int
    seconds: float
    trials_an_hour: float
    efficiency: float
    load: float


@dataclass(frozen=True)
class Quality:
    """Error of the recommended schedule, in %: mean and standard error over seeds."""

    task: str
    workers: int
    trials: int
    seeds: int
    error: float
    standard_error: float


@dataclass(frozen=True)
class Outcome:
    """How a trial ended."""

    value: float
    attrs: Any
    state: TrialState = TrialState.COMPLETE
    error: None = None


def sleeping_job(study: optuna.Study, device: str, number: int) -> Job:
    """Trials whose training sleeps."""

    def evaluate(trials: Any, on_epoch: Callable[[int], None]) -> list[Outcome]:
        for trial in trials:
            _ = trial.relative_params
        with batch_of(study._storage):
            schedules = [suggest_schedule(trial, EPOCHS) for trial in trials]
        time.sleep(SECONDS)
        errors = [float(0.2 + ((schedule.rates - 0.6) ** 2).mean()) for schedule in schedules]
        with batch_of(study._storage):
            for trial, error in zip(trials, errors, strict=True):
                for step in range(2, EPOCHS, 3):
                    trial.report(error, step)
        attrs = {"training_seed": 1, "seconds": SECONDS, "label_precision": 0.9}
        return [Outcome(error, attrs) for error in errors]

    return Job(evaluate, S2ESampler(seed=0), EPOCHS)


def measure(url: str, storage: str, workers: int, rounds: int) -> Speed:
    """Run so many rounds of trials."""
    trials = workers * rounds
    opened = open_storage(url, heartbeat=10)
    study = optuna.create_study(
        study_name=f"{workers}-{time.monotonic_ns()}",
        storage=opened,
        sampler=S2ESampler(seed=0),
        pruner=NopPruner(),
    )
    study.set_user_attr(TARGET_ATTR, trials)
    LocalPool(study, url, workers=workers, make_job=sleeping_job).run(trials)
    done = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    assert len(done) == trials
    ends: dict[str, list[datetime]] = {}
    for trial in done:
        assert trial.datetime_complete is not None
        ends.setdefault(trial.user_attrs[OWNER_ATTR], []).append(trial.datetime_complete)
    # From the end of each worker's first trial on: what a process needs to start is paid once.
    spent = sum((max(times) - min(times)).total_seconds() for times in ends.values())
    useful = SECONDS * (trials - len(ends))
    return Speed(
        storage,
        workers,
        trials,
        spent,
        3600.0 / SECONDS * workers * useful / spent,
        useful / spent,
        os.getloadavg()[0],
    )


def judge(task: str, workers: int, seeds: int) -> Quality:
    """Search on an emulated task with so many workers at once."""
    from studies.bench_search import CHECKPOINTS, run
    from studies.emulator import emulator_of

    emulator = emulator_of(task)
    place = CHECKPOINTS.index(TRIALS)
    errors = [100 * run(emulator, "s2e", seed, TRIALS, workers)[place] for seed in range(seeds)]
    return Quality(
        task,
        workers,
        TRIALS,
        seeds,
        float(np.mean(errors)),
        float(np.std(errors, ddof=1) / np.sqrt(seeds)),
    )


def write_page(speeds: list[Speed], qualities: list[Quality], settings: dict[str, Any]) -> None:
    """Write tables, numbers and figure."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = {
        "settings": settings,
        "speed": [asdict(speed) for speed in speeds],
        "quality": [asdict(quality) for quality in qualities],
    }
    (RESULTS / "results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Workers",
        "",
        f"`python -m studies.bench_workers`. Trainings that sleep for {SECONDS:g} s; everything",
        "else is that of a search. Efficiency: share of the workers' time that goes into",
        "trainings, from the end of each worker's first trial on.",
        "",
        "| storage | workers | trials | trials an hour | efficiency | load of the machine |",
        "|---|---|---|---|---|---|",
    ]
    for s in speeds:
        lines.append(
            f"| {s.storage} | {s.workers} | {s.trials} | {s.trials_an_hour:.0f} | "
            f"{100 * s.efficiency:.1f} % | {s.load:.1f} |"
        )
    if qualities:
        lines += [
            "",
            f"Quality after {TRIALS} trials, validation error of the recommended schedule in %,",
            "mean ± standard error over seeds; so many workers ask before any of them tells:",
            "",
            "| task | workers | seeds | error |",
            "|---|---|---|---|",
        ]
        for q in qualities:
            error = f"{q.error:.2f} ± {q.standard_error:.2f}"
            lines.append(f"| {q.task} | {q.workers} | {q.seeds} | {error} |")
    lines += [
        "",
        f"Hardware and versions: {settings['hardware']}; commit {settings['commit']};",
        f"{settings['date']}.",
        "",
        "![Trials an hour by number of workers](workers.png)",
        "",
    ]
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")
    draw(speeds)


def draw(speeds: list[Speed]) -> None:
    """Draw trials an hour by workers beside what no overhead at all would give."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    ax = figure.subplots()
    workers = sorted({speed.workers for speed in speeds})
    ideal = [3600.0 / SECONDS * n for n in workers]
    ax.plot(workers, ideal, color="#999999", ls="--", label="no overhead")
    for storage, colour, marker in (("postgresql", "#0072B2", "o"), ("sqlite", "#D55E00", "s")):
        chosen = [speed for speed in speeds if speed.storage == storage]
        ax.plot(
            [s.workers for s in chosen],
            [s.trials_an_hour for s in chosen],
            color=colour,
            marker=marker,
            label=storage,
        )
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set_xticks(workers, [str(n) for n in workers])
    ax.set(xlabel="workers", ylabel=f"trials an hour (each {SECONDS:g} s)")
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")
    figure.savefig(RESULTS / "workers.png", dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", nargs="+", type=int, default=WORKERS, metavar="N")
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=STORAGES)
    parser.add_argument("--rounds", type=int, default=8, help="trials a worker")
    parser.add_argument("--seeds", type=int, default=20, help="searches for each quality")
    parser.add_argument("--no-quality", action="store_true", help="measure speed alone")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    from studies.bench_overhead import database
    from studies.settings import commit, hardware

    speeds = []
    for storage in arguments.storages:
        with database(storage) as url:
            for workers in arguments.workers:
                speeds.append(measure(url, storage, workers, arguments.rounds))
                print(speeds[-1], flush=True)
    qualities = []
    for task in () if arguments.no_quality else TASKS:
        for workers in (1, 4, 16):
            qualities.append(judge(task, workers, arguments.seeds))
            print(qualities[-1], flush=True)
    settings = {
        "seconds": SECONDS,
        "hardware": hardware(),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }
    write_page(speeds, qualities, settings)
    print(f"wrote {RESULTS / 'README.md'}")


if __name__ == "__main__":
    main()
