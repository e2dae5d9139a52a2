"""Measure how good a schedule a search recommends after so many trials.

    python -m studies.bench_search digits-sym50 --seeds 20
    python -m studies.bench_search digits-pair45 --samplers s2e tpe --in-flight 8

Searches run on emulated tasks (`studies.emulator`). The recommendation is `best_schedule`, the
same for all samplers: by the mean of a model fitted to the trials. Its error is taken without
noise. Results go to ``studies/results/bench_search/``: TASK.csv (every run), TASK.md, TASK.png.
Runs that are in the CSV already are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
from matplotlib.figure import Figure
from optuna.samplers import BaseSampler
from rich.progress import track

from s2e_optuna import S2ESampler, best_schedule, suggest_schedule
from studies.emulator import DATA, Emulator, load_table

RESULTS = Path(__file__).parent / "results" / "bench_search"
CHECKPOINTS = (6, 12, 24, 48, 96)

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "s2e": lambda seed: S2ESampler(seed=seed),
    "s2e, no warm start": lambda seed: S2ESampler(seed=seed, warm_start=False),
    "s2e, natural": lambda seed: S2ESampler(seed=seed, update="natural"),
    "s2e, gradient": lambda seed: S2ESampler(seed=seed, update="gradient"),
    "s2e, K = 1": lambda seed: S2ESampler(seed=seed, batch_size=1),
    "s2e, K = 6": lambda seed: S2ESampler(seed=seed, batch_size=6),
    "s2e, K = 12": lambda seed: S2ESampler(seed=seed, batch_size=12),
    "s2e, no uniform share": lambda seed: S2ESampler(seed=seed, uniform_share=0.0),
    "s2e, score": lambda seed: S2ESampler(seed=seed, estimator="score"),
    "s2e, as printed": lambda seed: S2ESampler.paper(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "tpe, independent": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=False),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


def run(emulator: Emulator, name: str, seed: int, n_trials: int, in_flight: int) -> list[float]:
    """Search once; return the noise-free error of the recommendation at each checkpoint."""
    study = optuna.create_study(sampler=SAMPLERS[name](seed))
    rng = np.random.default_rng([20, seed])
    found: list[float] = []
    done = 0
    for checkpoint in (c for c in CHECKPOINTS if c <= n_trials):
        while done < checkpoint:
            # So many workers ask before any of them tells.
            trials = [study.ask() for _ in range(min(in_flight, checkpoint - done))]
            done += len(trials)
            for trial in trials:
                schedule = suggest_schedule(trial, emulator.table.epochs)
                noise = emulator.table.noise * rng.normal()
                study.tell(trial, float(emulator.error(schedule.rates)[0]) + noise)
        found.append(float(emulator.error(best_schedule(study).rates)[0]))
    return found


def read_runs(path: Path) -> dict[tuple[str, int, int], list[float]]:
    """Read the runs so far: (sampler, in flight, seed) to errors."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return {(row[0], int(row[1]), int(row[2])): [float(v) for v in row[3:] if v] for row in rows}


def write_runs(path: Path, runs: dict[tuple[str, int, int], list[float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sampler", "in_flight", "seed", *CHECKPOINTS])
        for key in sorted(runs):
            writer.writerow([*key, *(f"{value:.5f}" for value in runs[key])])


def by_sampler(runs: dict[tuple[str, int, int], list[float]]) -> dict[str, list[list[float]]]:
    """Group runs by sampler and workers, in the order of `SAMPLERS`."""
    grouped: dict[str, list[list[float]]] = {}
    for name in SAMPLERS:
        for key in sorted(key for key in runs if key[0] == name):
            label = name if key[1] == 1 else f"{name} ({key[1]} in flight)"
            grouped.setdefault(label, []).append(runs[key])
    return grouped


def write_page(emulator: Emulator, runs: dict[tuple[str, int, int], list[float]]) -> None:
    table, grouped = emulator.table, by_sampler(runs)
    reference = emulator.error(np.ones(table.epochs))[0]
    lines = [
        f"# Searches on {table.name}",
        "",
        f"`python -m studies.bench_search {table.name}`. A task for "
        + ("tuning" if table.use == "tune" else "judging")
        + f". Validation error of the recommended schedule without noise, in %, mean ± standard "
        f"error over seeds. One training has noise of {100 * table.noise:.2f}; training on "
        f"everything has {100 * reference:.2f}.",
        "",
        f"| sampler | seeds | {' | '.join(f'{c} trials' for c in CHECKPOINTS)} |",
        "|---|---|" + "---|" * len(CHECKPOINTS),
    ]
    for label, values in grouped.items():
        cells = []
        for i in range(len(CHECKPOINTS)):
            column = np.array([row[i] for row in values if len(row) > i])
            error = column.std(ddof=1) / np.sqrt(len(column)) if len(column) > 1 else np.nan
            cells.append(f"{100 * column.mean():.2f} ± {100 * error:.2f}" if len(column) else "")
        lines.append(f"| {label} | {len(values)} | {' | '.join(cells)} |")
    lines += ["", f"![Error by number of trials]({table.name}.png)", ""]
    (RESULTS / f"{table.name}.md").write_text("\n".join(lines), encoding="utf-8")
    draw(grouped, table.name)


def draw(grouped: dict[str, list[list[float]]], name: str) -> None:
    """Draw median and interquartile band of the main contenders by number of trials."""
    shown = ("s2e", "s2e, as printed", "tpe", "tpe, independent", "cmaes", "gp", "random")
    colours = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#666666")
    looks = dict(zip(shown, zip(colours, "osv^DPx", strict=True), strict=True))
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    ax = figure.subplots()
    for label in grouped:
        sampler, _, parallel = label.partition(" (")
        if sampler not in looks:
            continue
        colour, marker = looks[sampler]
        length = min(map(len, grouped[label]))
        values = 100 * np.array([row[:length] for row in grouped[label]])
        low, middle, high = np.percentile(values, [25, 50, 75], axis=0)
        x = CHECKPOINTS[:length]
        ax.plot(x, middle, marker=marker, color=colour, label=label, ls="--" if parallel else "-")
        ax.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    ax.set_xscale("log", base=2)
    ax.set_xticks(CHECKPOINTS, [str(c) for c in CHECKPOINTS])
    ax.set(xlabel="trials", ylabel="error of the recommended schedule [%]", title=name)
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")
    figure.savefig(RESULTS / f"{name}.png", dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=sorted(path.stem for path in DATA.glob("*.npz")))
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=96)
    parser.add_argument("--in-flight", type=int, default=1, help="workers that run at once")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{arguments.task}.csv"
    emulator, runs = Emulator(load_table(arguments.task)), read_runs(path)
    names = arguments.samplers or [name for name in SAMPLERS if name != "gp"]  # gp: minutes a run
    job = functools.partial(
        run, emulator, n_trials=arguments.trials, in_flight=arguments.in_flight
    )
    for name in names:
        for seed in track(range(arguments.seeds), name):
            key = (name, arguments.in_flight, seed)
            if key not in runs:
                runs[key] = job(name=name, seed=seed)
                write_runs(path, runs)
        write_page(emulator, runs)
    print(f"wrote {RESULTS / arguments.task}.md")


if __name__ == "__main__":
    main()
