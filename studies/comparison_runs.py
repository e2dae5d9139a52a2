"""The trainings of `studies.method_comparison`, for the figures that are drawn from them.

Figures 3, 4, 5 and 9 show the same trainings from different sides. What is missing is trained as
`studies.method_comparison` would; it keeps its files in ``runs/method_comparison/SCALE/``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from s2e_optuna.final_comparison import final_seeds
from studies import method_comparison
from studies.frame import Frame
from studies.method_comparison import SCALES, pieces
from studies.pages import Table, mean_sd, usable

Runs = dict[str, dict[str, list[dict[str, Any]]]]
"""Task to method to the records of its finished trainings, one a seed."""

DATA = {
    scale: tuple(dict.fromkeys(task.source for task in content.tasks.values()))
    for scale, content in SCALES.items()
}
"""Data sets of each scale."""

TASK_NAMES = {
    "digits": "digits",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "sym20": "symmetric 20%",
    "sym50": "symmetric 50%",
    "pair45": "pair 45%",
}


def task_title(task: str) -> str:
    """Write a task's name as a heading."""
    return ", ".join(TASK_NAMES.get(word, word) for word in task.split("-"))


def comparison_runs(frame: Frame, entries: Collection[str], seeds: int) -> Runs:
    """Train what is missing and return all that is there, of the first so many seeds."""
    runs = frame.runs / "method_comparison"
    sources = {name: (frame.sources or {}).get(name, name) for name in DATA[frame.scale]}
    if frame.trains:
        storage = frame.storage if frame.shared else None
        method_comparison.run(
            frame.scale, sources, frame.workers, runs, entries, seeds=seeds, storage=storage
        )
    wanted = final_seeds(0, SCALES[frame.scale].seeds)[:seeds]
    found: Runs = {task: {entry: [] for entry in entries} for task in SCALES[frame.scale].tasks}
    for piece in pieces(frame.scale, sources, runs):
        if piece.entry in entries and piece.seed in wanted and piece.path.exists():
            record = json.loads(piece.path.read_text(encoding="utf-8"))
            found[piece.task][piece.entry].append(record)
    return found


def whole(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the trainings that did not fail."""
    return [record for record in records if record["failure"] is None]


def curves(records: Iterable[Mapping[str, Any]], name: str) -> list[list[float | None]]:
    """Return a curve of every training that did not fail, with four digits."""
    return [
        [None if value is None else round(value, 4) for value in record[name]]
        for record in whole(records)
    ]


def last(curve: list[float | None], epochs: int = 10) -> float:
    """Mean over the last epochs; NaN without a number."""
    numbers = usable(curve[-epochs:])
    return sum(numbers) / len(numbers) if numbers else float("nan")


def comparison_provenance(runs: Runs) -> dict[str, Any]:
    """Say where these trainings come from; see `studies.pages.provenance`."""
    records = [record for table in runs.values() for some in table.values() for record in some]
    return {
        "trainings": len(records),
        "training_seconds": round(sum(record["seconds"] for record in records), 1),
        "seeds": sorted({record["seed"] for record in records}),
        "failures": sorted({f"{r['entry']}: {r['failure']}" for r in records if r["failure"]}),
        "hardware": sorted({record["hardware"] for record in records}),
        "commits": sorted({record["commit"] for record in records}),
        "schedules": {
            task: sorted({record["schedule_name"] for record in table.get("s2e", ())})
            for task, table in runs.items()
        },
    }


def counted(values: list[float], seeds: int) -> str:
    """Write mean ± standard deviation, and of how many seeds where some are missing."""
    some = f" ({len(values)} of {seeds} seeds)" if 0 < len(values) < seeds else ""
    return mean_sd(values) + some


def schedule_lines(content: Mapping[str, Any]) -> list[str]:
    """Say where S2E's schedules come from."""
    known = content["provenance"]["schedules"]
    named = [f"{task_title(task)}: {', '.join(names)}" for task, names in known.items() if names]
    return [f"R(t) of S2E: {'; '.join(named)}.", ""] if named else []


def missing_line(content: Mapping[str, Any], seeds: int) -> list[str]:
    """Say what has not been trained yet."""
    count = sum(
        max(0, seeds - len(curves))
        for table in content["tasks"].values()
        for curves in table["curves"].values()
    )
    return [f"**{count} trainings are missing:** the command below does them.", ""] * (count > 0)


def settings_lines(scale: str, seeds: int) -> list[str]:
    """Write what was trained."""
    settings = SCALES[scale]
    rows = []
    for name, task in settings.tasks.items():
        size = f"{task.train_size:,}" if task.train_size else "all"
        rows.append([task_title(name), task.source, size, task.network])
    return [
        f"{settings.epochs} epochs, batch {settings.batch_size or 'by size of the data'}, Adam "
        f"1e-3, {seeds} seeds; S2E: {settings.trials} trials.",
        "",
        *Table(("task", "data", "training images", "network"), rows).markdown(),
        "",
    ]
