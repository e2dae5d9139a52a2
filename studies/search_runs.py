"""Searches by many samplers and seeds: how results are kept, tables and pictures of them.

A benchmark's runs lie in one CSV file: sampler, trials in flight, seed, one number a checkpoint
(a number of trials). What is in the file already is not run again.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import optuna
from matplotlib.figure import Figure
from optuna.samplers import BaseSampler
from rich.progress import track

from s2e_optuna import S2ESampler
from studies.settings import commit, hardware

CHECKPOINTS = (6, 12, 24, 48, 96)
DIGITS = 5
"""Decimals that are kept of a run's numbers."""

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "s2e": lambda seed: S2ESampler(seed=seed),
    "s2e, no warm start": lambda seed: S2ESampler(seed=seed, warm_start=False),
    "s2e, natural": lambda seed: S2ESampler(seed=seed, update="natural"),
    "s2e, gradient": lambda seed: S2ESampler(seed=seed, update="gradient"),
    "s2e, K = 1": lambda seed: S2ESampler(seed=seed, batch_size=1),
    "s2e, K = 6": lambda seed: S2ESampler(seed=seed, batch_size=6),
    "s2e, K = 12": lambda seed: S2ESampler(seed=seed, batch_size=12),
    "s2e, one candidate": lambda seed: S2ESampler(seed=seed, candidates=1),
    "s2e, score": lambda seed: S2ESampler(seed=seed, estimator="score"),
    "s2e, as printed": lambda seed: S2ESampler.paper(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "tpe, independent": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=False),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "hyperband": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
"""Hyperband stops trials; what that needs besides a sampler, a benchmark has to give."""


Runs = dict[tuple[str, int, int], list[float]]
"""(Sampler, in flight, seed) to one number a checkpoint."""


def read_runs(path: Path) -> Runs:
    """Read the runs so far: (sampler, in flight, seed) to errors."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return {(row[0], int(row[1]), int(row[2])): [float(v) for v in row[3:] if v] for row in rows}


def write_runs(path: Path, runs: Runs) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sampler", "in_flight", "seed", *CHECKPOINTS])
        for key in sorted(runs):
            writer.writerow([*key, *(f"{value:.{DIGITS}f}" for value in runs[key])])


def by_sampler(runs: Runs) -> dict[str, list[list[float]]]:
    """Group runs by sampler and workers, in the order of `SAMPLERS`."""
    grouped: dict[str, list[list[float]]] = {}
    for name in SAMPLERS:
        for key in sorted(key for key in runs if key[0] == name):
            label = name if key[1] == 1 else f"{name} ({key[1]} in flight)"
            grouped.setdefault(label, []).append(runs[key])
    return grouped


def complete(
    path: Path,
    names: Sequence[str],
    seeds: int,
    in_flight: int,
    job: Callable[[str, int], list[float]],
) -> Runs:
    """Run what a file lacks and return all that it holds.

    Parameters
    ----------
    path
        The CSV file.
    names, seeds, in_flight
        Samplers, seeds of each, and trials in flight.
    job
        ``job(name, seed)`` searches once.
    """
    runs = read_runs(path)
    for name in names:
        for seed in track(range(seeds), f"{path.stem}: {name}"):
            key = (name, in_flight, seed)
            if key not in runs:
                # As they are written, so that a page is the same when it is read again.
                runs[key] = [round(value, DIGITS) for value in job(name, seed)]
                write_runs(path, runs)
    return runs


def note_origin(folder: Path, name: str) -> None:
    """Write into ``about.json`` where the runs come from that were added last."""
    about = {**read_origins(folder), name: {"hardware": hardware(), "commit": commit()}}
    text = json.dumps(about, indent=1, sort_keys=True)
    (folder / "about.json").write_text(text + "\n", encoding="utf-8")


def read_origins(folder: Path) -> dict[str, dict[str, str]]:
    """Read where runs come from: hardware and commit, by name."""
    path = folder / "about.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def table(runs: Runs, scale: float = 100.0) -> list[str]:
    """Markdown table: mean and standard error over seeds, a column a checkpoint."""
    lines = [
        f"| sampler | seeds | {' | '.join(f'{c} trials' for c in CHECKPOINTS)} |",
        "|---|---|" + "---|" * len(CHECKPOINTS),
    ]
    for label, values in by_sampler(runs).items():
        cells = []
        for i in range(len(CHECKPOINTS)):
            column = scale * np.array([row[i] for row in values if len(row) > i])
            error = column.std(ddof=1) / np.sqrt(len(column)) if len(column) > 1 else np.nan
            cells.append(f"{column.mean():.2f} ± {error:.2f}" if len(column) else "")
        lines.append(f"| {label} | {len(values)} | {' | '.join(cells)} |")
    return lines


def draw(runs: Runs, path: Path, ylabel: str, scale: float = 100.0) -> None:
    """Draw median and interquartile band of the main contenders, one trial at a time."""
    grouped = by_sampler(runs)
    shown = ("s2e", "s2e, as printed", "tpe", "tpe, independent", "cmaes", "gp", "hyperband")
    colours = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#F0E442")
    looks = dict(zip(shown, zip(colours, "osv^DP*", strict=True), strict=True))
    looks["random"] = ("#666666", "x")
    figure = Figure(figsize=(7.6, 4.0), layout="constrained")
    ax = figure.subplots()
    for sampler, (colour, marker) in looks.items():
        if sampler not in grouped:
            continue
        length = min(map(len, grouped[sampler]))
        values = scale * np.array([row[:length] for row in grouped[sampler]])
        low, middle, high = np.percentile(values, [25, 50, 75], axis=0)
        x = CHECKPOINTS[:length]
        ax.plot(x, middle, marker=marker, color=colour, label=sampler)
        ax.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    ax.set_xscale("log", base=2)
    ax.set_xticks(CHECKPOINTS, [str(c) for c in CHECKPOINTS])
    ax.set(xlabel="trials", ylabel=ylabel, title=path.stem)
    ax.grid(alpha=0.3)
    if ax.lines:
        figure.legend(loc="outside right center", frameon=False)
    figure.savefig(path, dpi=160)
