"""Train in earnest what searches on emulated tasks recommended.

    python -m studies.trained_recommendations --data data/mnist27k.npz

`studies.bench_epochs` asks an emulator how good a recommended schedule is. A search goes where the
emulator promises most, which is where it is most likely to be wrong. Here the recommendations of
some searches are trained on the task's own data, with seeds that no recorded training had, and
stopped by its validation part. Writes ``studies/results/bench_epochs/TASK-trained.json``, which
the page of that study shows beside what the emulator says; tasks that have it are left alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import optuna
from rich.progress import track

from studies.bench_epochs import CHECKPOINTS, RESULTS, SEARCHES, StoppedTask, recommendations
from studies.record_table import TASKS, train_schedules
from studies.settings import commit, hardware

COSTS = (16, 48)
"""Checkpoints whose recommendations are trained."""

COMPARED = ("s2e, before", "s2e", "random + leaving")
"""Searches."""

STACK = 12
SEEDS = (770, 771)


def train_task(name: str, source: str, searches: int) -> dict[str, object]:
    """Search, and train what is recommended."""
    task = StoppedTask(name)
    wanted = []
    for search in COMPARED:
        for seed in track(range(searches), f"{name}: {search}"):
            found = dict(
                zip(CHECKPOINTS, recommendations(task, SEARCHES[search], seed), strict=True)
            )
            wanted += [(search, cost, found[cost]) for cost in COSTS]
    errors: list[list[float]] = [[] for _ in wanted]
    for seed in SEEDS:
        for start in track(range(0, len(wanted), STACK), f"{name}: training, seed {seed}"):
            part = slice(start, start + STACK)
            schedules = [schedule for _, _, schedule in wanted[part]]
            validation, test = train_schedules(name, source, schedules, seed)
            stopped = test[np.arange(len(test)), validation.argmax(axis=1)]
            for row, accuracy in zip(errors[part], stopped, strict=True):
                row.append(round(1.0 - float(accuracy), 5))
    return {
        "searches": searches,
        "seeds": len(SEEDS),
        "provenance": f"{hardware()}; commit {commit()}",
        "recommendations": [
            {
                "search": search,
                "cost": cost,
                "emulated": round(task.stopped_error(schedule.rates), 5),
                "trained": trained,
            }
            for (search, cost, schedule), trained in zip(wanted, errors, strict=True)
        ],
    }


def main() -> None:
    judging = [name for name, task in TASKS.items() if task.use == "judge"]
    recorded = [name for name in judging if (RESULTS / f"{name}.csv").exists()]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(recorded)}")
    parser.add_argument("--data", required=True, metavar="FILE", help="the images of MNIST")
    parser.add_argument("--searches", type=int, default=6, help="of each kind")
    arguments = parser.parse_args()
    if unknown := set(arguments.tasks) - set(recorded):
        parser.error(
            f"{', '.join(sorted(unknown))} is not judged; there are {', '.join(recorded)}"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in arguments.tasks or recorded:
        path: Path = RESULTS / f"{name}-trained.json"
        if path.exists():
            print(f"{path} is there already")
            continue
        found = train_task(name, arguments.data, arguments.searches)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {path}; python -m studies.bench_epochs makes the page anew")


if __name__ == "__main__":
    main()
