"""Every method of the paper on the same data: Figure 3, as a table and as learning curves.

    python -m studies.method_comparison --scale tiny
    python -m studies.method_comparison --scale small --data data/mnist27k.npz --workers 2
    python -m studies.method_comparison --scale paper

``tiny`` takes digits and a few epochs (seconds; the tests run it), ``small`` 10,000 images of
MNIST and 60 epochs (an hour or two on two CPU cores), ``paper`` the paper's data sets, networks
and 200 epochs (a GPU).

The command resumes: each training is a file of its own under ``runs/method_comparison/SCALE/``,
each search a study there. ``--page`` only sets what is there side by side, in
``studies/results/method_comparison/``: SCALE.json, SCALE.csv, SCALE.png, SCALE.svg and, over all
scales, README.md. What is missing is marked as missing.

Nothing is chosen by test accuracy: S2E's schedule by the validation accuracy of the search's
trials, and the epoch in the column "at the best epoch" by validation accuracy.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from s2e_optuna.final_comparison import final_seeds
from s2e_optuna.schedules import Schedule
from s2e_optuna.scores import number_or_none
from studies.main_job import commit, hardware
from studies.pages import LINES, write_text

RESULTS = Path(__file__).parent / "results" / "method_comparison"
RUNS = Path("runs/method_comparison")

LAST = 10
"""Epochs at the end over which the last accuracies are averaged."""


@dataclass(frozen=True)
class Task:
    """Data with one kind of label noise."""

    source: str
    noise: str
    noise_rate: float
    network: str = "mlp"
    train_size: int | None = None


@dataclass(frozen=True)
class Scale:
    """How large a comparison is; `trials` are those of S2E's search."""

    epochs: int
    seeds: int
    trials: int
    batch_size: int | None
    tasks: dict[str, Task]


NOISES = {"sym20": ("symmetric", 0.2), "sym50": ("symmetric", 0.5), "pair45": ("pair", 0.45)}
NETWORKS = {"mnist": "mlp", "cifar10": "cnn1", "cifar100": "cnn2"}

SCALES = {
    "tiny": Scale(4, 2, 3, None, {"digits-pair45": Task("digits", "pair", 0.45)}),
    "small": Scale(
        60,
        5,
        48,
        128,
        {f"mnist-{key}": Task("mnist", *noise, "mlp", 10_000) for key, noise in NOISES.items()},
    ),
    "paper": Scale(
        200,
        5,
        48,
        128,
        {
            f"{source}-{key}": Task(source, *noise, network)
            for source, network in NETWORKS.items()
            for key, noise in NOISES.items()
        },
    ),
}


@dataclass(frozen=True)
class Entry:
    """One line of the table: a method, and what it knows that others do not."""

    method: str
    label: str
    told_rate: bool = False
    clean_data: str = "no"


ENTRIES = {
    "standard": Entry("standard", "Standard"),
    "mentornet": Entry("mentornet", "MentorNet (self-paced)", told_rate=True),
    "coteaching": Entry("coteaching", "Co-teaching", told_rate=True),
    "coteaching_plus": Entry("coteaching_plus", "Co-teaching+, the paper", told_rate=True),
    "coteaching_plus_released": Entry(
        "coteaching_plus:as_released", "Co-teaching+, as released", told_rate=True
    ),
    "comining": Entry("comining", "Co-mining", told_rate=True),
    "decoupling": Entry("decoupling", "Decoupling"),
    "f_correction": Entry("f_correction", "F-correction"),
    "f_correction_early": Entry(
        "f_correction:estimation_epochs=6", "F-correction, T after 6 epochs"
    ),
    "reweight": Entry("reweight", "Reweight (L2RW)", clean_data="to learn"),
    "s2e": Entry("coteaching", "S2E (Co-teaching)", clean_data="to choose R(t)"),
}


@dataclass(frozen=True)
class Piece:
    """One training: everything a process needs to do it."""

    scale: str
    task: str
    entry: str
    seed: int
    source: str
    runs: Path

    @property
    def path(self) -> Path:
        """Where its result lies."""
        return self.runs / self.scale / self.task / f"{self.entry}-{self.seed}.json"

    @property
    def schedule_path(self) -> Path:
        """Where the schedule lies that S2E found."""
        return search_file(self.runs, self.scale, self.task)


def train_piece(piece: Piece) -> str:
    """Train, write the result, return a line about it."""
    import torch

    from s2e_optuna.training import TrainConfig, load_data, train

    torch.set_num_threads(1)
    scale, entry = SCALES[piece.scale], ENTRIES[piece.entry]
    task = scale.tasks[piece.task]
    data = load_data(
        piece.source,
        noise=task.noise,
        noise_rate=task.noise_rate,
        seed=0,
        train_size=task.train_size,
    )
    config = TrainConfig(
        epochs=scale.epochs,
        network=task.network,
        batch_size=scale.batch_size,
        seed=piece.seed,
    )
    if piece.entry == "s2e":
        schedule = Schedule.from_json(piece.schedule_path)
    else:
        tau = task.noise_rate if entry.told_rate else 0.0
        schedule = Schedule.coteaching(scale.epochs, tau)
    started = datetime.now(UTC)
    (result,) = train(entry.method, [schedule], data, config)
    seconds = (datetime.now(UTC) - started).total_seconds()
    curves = ("test_accuracy", "validation_accuracy", "label_precision", "kept_share")
    content = {
        "entry": piece.entry,
        "method": entry.method,
        "seed": piece.seed,
        "failure": result.failure,
        "schedule": [round(float(rate), 6) for rate in schedule.rates],
        "schedule_name": schedule.name,
        **{
            name: [number_or_none(round(float(v), 6)) for v in getattr(result, name)]
            for name in curves
        },
        "seconds": round(seconds, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "commit": commit(),
    }
    write_text(piece.path, json.dumps(content))
    accuracy = float(np.mean(result.test_accuracy[-LAST:]))
    return f"{piece.task} {piece.entry} seed {piece.seed}: {accuracy:.4f} ({seconds:.0f} s)"


def search_file(runs: Path, scale: str, task: str) -> Path:
    """Name the file with the schedule that S2E found for a task."""
    return runs / scale / task / "search" / "schedule.json"


def search_schedule(
    scale_name: str, name: str, source: str, runs: Path, workers: int, storage: str | None = None
) -> None:
    """Let S2E search for a task's schedule; an interrupted search goes on.

    The search is stored in `storage`, or in a file beside the schedule.
    """
    from s2e_optuna.reporting.progress import ProgressDisplay
    from s2e_optuna.reporting.search_run import run_search
    from s2e_optuna.workers.config import SearchConfig

    scale = SCALES[scale_name]
    task = scale.tasks[name]
    folder = search_file(runs, scale_name, name).parent
    if (folder / "schedule.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{name}: searching, {scale.trials} trials", flush=True)
    config = SearchConfig(
        data=source,
        noise=task.noise,
        noise_rate=task.noise_rate,
        train_size=task.train_size,
        network=task.network,
        epochs=scale.epochs,
        batch_size=scale.batch_size,
        trials=scale.trials,
        workers=workers,
        final_seeds=0,
        storage=storage or f"sqlite:///{folder / 'study.db'}",
        study=f"method-comparison-{scale_name}-{name}",
        out=folder,
    )
    run_search(config, ProgressDisplay())


def pieces(scale_name: str, sources: dict[str, str], runs: Path) -> Iterator[Piece]:
    """Yield all trainings of a scale, one seed of everything before the next seed."""
    scale = SCALES[scale_name]
    for seed in final_seeds(0, scale.seeds):
        for entry in ENTRIES:
            for name, task in scale.tasks.items():
                yield Piece(scale_name, name, entry, seed, sources[task.source], runs)


def run(
    scale_name: str,
    sources: dict[str, str],
    workers: int,
    runs: Path,
    entries: Collection[str],
    *,
    seeds: int | None = None,
    storage: str | None = None,
) -> None:
    """Do what is missing: all trainings that can begin, then S2E's searches and its trainings.

    `seeds` takes only the first ones of the scale; `storage` is that of the searches.
    """
    wanted = final_seeds(0, SCALES[scale_name].seeds)[:seeds]
    missing = [
        piece
        for piece in pieces(scale_name, sources, runs)
        if piece.entry in entries and piece.seed in wanted and not piece.path.exists()
    ]
    ready = [piece for piece in missing if piece.entry != "s2e" or piece.schedule_path.exists()]
    train_all(ready, workers)
    searched = [piece for piece in missing if piece not in ready]
    for name in dict.fromkeys(piece.task for piece in searched):
        source = sources[SCALES[scale_name].tasks[name].source]
        search_schedule(scale_name, name, source, runs, workers, storage)
    train_all(searched, workers)


def take_schedules(scale_name: str, runs: Path, folder: Path) -> None:
    """Take schedules that `studies.main_job` found, where there is none yet."""
    for name in SCALES[scale_name].tasks:
        path, target = folder / f"{name}.json", search_file(runs, scale_name, name)
        if path.exists() and not target.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            kind = f"S2E, {found['n_trials']} trials of studies.main_job, commit {found['commit']}"
            target.parent.mkdir(parents=True, exist_ok=True)
            Schedule(found["schedule"], name=kind).to_json(target)


def train_all(todo: list[Piece], workers: int) -> None:
    """Train pieces in processes of their own, or here if there is one worker."""
    if workers == 1:
        for number, piece in enumerate(todo, 1):
            print(f"[{number}/{len(todo)}] {train_piece(piece)}", flush=True)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(train_piece, piece) for piece in todo]
        for number, future in enumerate(as_completed(futures), 1):
            print(f"[{number}/{len(todo)}] {future.result()}", flush=True)


# ------------------------------------------------------------------------------- the page


def at_best_epoch(run: dict[str, Any]) -> float:
    """Test accuracy in the epoch with the best validation accuracy, the first of equals."""
    validation = np.array(run["validation_accuracy"])
    return float(np.array(run["test_accuracy"])[int(np.nanargmax(validation))])


def mean_of_last(run: dict[str, Any], curve: str) -> float:
    """Mean of a curve over the last epochs; NaN if none of them has a number."""
    tail = np.array(run[curve][-LAST:], dtype=np.float64)
    return float(np.nanmean(tail)) if np.isfinite(tail).any() else math.nan


def summary(values: list[float]) -> dict[str, Any]:
    """Mean and sample standard deviation, None where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return {
        "mean": float(np.mean(finite)) if finite else None,
        "std": float(np.std(finite, ddof=1)) if len(finite) > 1 else None,
        "values": [number_or_none(value) for value in values],
    }


def gather(scale_name: str, runs: Path) -> dict[str, Any]:
    """Collect everything that is there, as it goes into SCALE.json."""
    scale = SCALES[scale_name]
    sources = {task.source: "" for task in scale.tasks.values()}
    read = [
        (piece, json.loads(piece.path.read_text(encoding="utf-8")))
        for piece in pieces(scale_name, sources, runs)
        if piece.path.exists()
    ]
    tables: dict[str, Any] = {}
    for name, task in scale.tasks.items():
        rows = {}
        for key, entry in ENTRIES.items():
            done = [run for piece, run in read if (piece.task, piece.entry) == (name, key)]
            whole = [run for run in done if run["failure"] is None]
            rows[key] = {
                **asdict(entry),
                "seeds": [run["seed"] for run in done],
                "failures": [run["failure"] for run in done if run["failure"]],
                "test_last": summary([mean_of_last(run, "test_accuracy") for run in whole]),
                "test_at_best_epoch": summary([at_best_epoch(run) for run in whole]),
                "label_precision": summary([mean_of_last(r, "label_precision") for r in whole]),
                "kept_share": summary([mean_of_last(run, "kept_share") for run in whole]),
                "seconds": sum(run["seconds"] for run in done),
                "schedule": done[0]["schedule"] if done and key == "s2e" else None,
                "schedule_name": done[0].get("schedule_name") if done and key == "s2e" else None,
                "test_curves": [run["test_accuracy"] for run in whole],
            }
        tables[name] = {"task": asdict(task), "rows": rows}
    return {
        "scale": scale_name,
        "epochs": scale.epochs,
        "seeds": final_seeds(0, scale.seeds),
        "batch_size": scale.batch_size,
        "trials": scale.trials,
        "last_epochs": min(LAST, scale.epochs),
        "optimiser": "Adam 1e-3, constant to 40% of the epochs, then falling to 0; beta1 0.9, "
        "then 0.1",
        "hardware": sorted({run["hardware"] for _, run in read}),
        "commits": sorted({run["commit"] for _, run in read}),
        "tasks": tables,
    }


def write_page(runs: Path) -> None:
    """Write the files of every scale of which there is something, and the page over all."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for scale in SCALES:
        if any((runs / scale).glob("*/*.json")):
            content = gather(scale, runs)
            text = json.dumps(content, indent=1, allow_nan=False)
            (RESULTS / f"{scale}.json").write_text(text + "\n", encoding="utf-8")
            write_csv(content, RESULTS / f"{scale}.csv")
            draw(content, RESULTS / scale)
    lines = [
        "# Every method of the paper",
        "",
        "`python -m studies.method_comparison --scale SCALE`; see the head of that file. Numbers",
        "are test accuracies in %, mean ± standard deviation over seeds. *Last*: mean of the last",
        f"{LAST} epochs. *Best epoch*: the epoch with the best validation accuracy. Nothing was",
        "chosen by test accuracy. *Label precision*: share of clean samples among those that were",
        "learnt from, last epochs. *Kept*: share of the samples that were learnt from, likewise.",
        "The label noise is the same for all seeds.",
        "",
        "Not all know the same. MentorNet, Co-teaching, Co-teaching+ and Co-mining are told the",
        "true noise rate; Reweight learns from clean samples (up to 1,000 of the validation part;",
        "its best epoch is chosen on the others); S2E searches with the clean validation part and",
        "is not told the rate.",
        "F-correction trains twice as long: its first training only estimates the transitions.",
        "",
    ]
    for path in sorted(RESULTS.glob("*.json")):
        lines += section(json.loads(path.read_text(encoding="utf-8")))
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")


HEADER = (
    "method",
    "last",
    "best epoch",
    "label precision",
    "kept",
    "told the rate",
    "uses clean data",
    "seeds",
)


def section(content: dict[str, Any]) -> list[str]:
    """Write one scale's part of the page."""
    scale, seeds = content["scale"], len(content["seeds"])
    lines = [
        f"## {scale}",
        "",
        f"{content['epochs']} epochs, batch {content['batch_size'] or 'by size of the data'}, "
        f"{seeds} seeds, {content['optimiser']}; S2E: {content['trials']} trials.",
        "",
    ]
    missing = 0
    for name, table in content["tasks"].items():
        task = table["task"]
        size = f", {task['train_size']:,} training samples" if task["train_size"] else ""
        lines += [
            f"### {name}",
            "",
            f"{task['source']}{size}, {task['noise']} {task['noise_rate']:g}, {task['network']}.",
            "",
            f"| {' | '.join(HEADER)} |",
            "|---" * len(HEADER) + "|",
        ]
        for row in table["rows"].values():
            missing += seeds - len(row["seeds"])
            cells = [
                percent(row[key])
                for key in ("test_last", "test_at_best_epoch", "label_precision", "kept_share")
            ]
            told = "yes" if row["told_rate"] else "no"
            done = f"{len(row['seeds'])}" + ("" if len(row["seeds"]) == seeds else f" of {seeds}")
            if row["failures"]:
                done += f", {len(row['failures'])} failed"
            cells = [row["label"], *cells, told, row["clean_data"], done]
            lines.append(f"| {' | '.join(cells)} |")
        searched_by = table["rows"]["s2e"]["schedule_name"]
        lines += ["", *([f"R(t) of S2E: {searched_by}.", ""] if searched_by else [])]
    if missing:
        lines += [f"{missing} trainings are missing: the command above does them.", ""]
    lines += [f"![Test accuracy by epoch]({scale}.png)", ""]
    notes = RESULTS / f"{scale}-notes.md"
    if notes.exists():
        lines += [notes.read_text(encoding="utf-8").rstrip(), ""]
    rows = [row for table in content["tasks"].values() for row in table["rows"].values()]
    hours = sum(row["seconds"] for row in rows) / 3600
    lines += [
        f"Trainings took {hours:.2f} hours of one process, searches not counted. "
        f"Commits {', '.join(content['commits'])}; {'; '.join(content['hardware'])}.",
        "",
    ]
    return lines


def percent(numbers: dict[str, Any]) -> str:
    """Write mean ± standard deviation in %."""
    if numbers["mean"] is None:
        return "none" if numbers["values"] else "missing"
    spread = "" if numbers["std"] is None else f" ± {100 * numbers['std']:.2f}"
    return f"{100 * numbers['mean']:.2f}{spread}"


def write_csv(content: dict[str, Any], path: Path) -> None:
    """Write one line a task, method and seed."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        measured = ("test_last", "test_at_best_epoch", "label_precision", "kept_share")
        writer.writerow(["task", "method", "seed", *measured])
        for name, table in content["tasks"].items():
            for key, row in table["rows"].items():
                columns = [row[column]["values"] for column in measured]
                for seed, *values in zip(row["seeds"], *columns, strict=False):
                    writer.writerow(
                        [name, key, seed, *("" if v is None else f"{v:.6f}" for v in values)]
                    )


def draw(content: dict[str, Any], stem: Path) -> None:
    """Draw the learning curves: mean over seeds, band of one standard deviation."""
    from matplotlib.figure import Figure

    tables = content["tasks"]
    columns = min(3, len(tables))
    height = -(-len(tables) // columns)
    figure = Figure(figsize=(4.6 * columns + 2.4, 3.9 * height), layout="constrained")
    axes = figure.subplots(height, columns, squeeze=False).ravel()
    handles: dict[str, Any] = {}
    for ax, (name, table) in zip(axes, tables.items(), strict=False):
        for key, row in table["rows"].items():
            if not row["test_curves"]:
                continue
            values = 100 * np.array(row["test_curves"])
            epochs = np.arange(1, values.shape[1] + 1)
            mean, spread = values.mean(0), values.std(0)
            colour, dashes = LINES[key]
            if len(values) > 1:
                ax.fill_between(
                    epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0
                )
            (line,) = ax.plot(
                epochs,
                mean,
                color=colour,
                linestyle=dashes,
                linewidth=2.4 if key == "s2e" else 1.5,
            )
            handles[row["label"]] = line
        ax.set(title=name, xlabel="epochs of training", xlim=(1, content["epochs"]))
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    axes[0].set_ylabel("test accuracy, %")
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    for suffix in (".png", ".svg"):
        figure.savefig(stem.with_suffix(suffix), dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    parser.add_argument("--data", help="where the data are, if not the tasks' own source")
    parser.add_argument("--workers", type=int, default=1, help="processes [default: 1]")
    parser.add_argument("--only", nargs="+", choices=ENTRIES, default=list(ENTRIES))
    parser.add_argument(
        "--schedules",
        type=Path,
        metavar="FOLDER",
        help="take S2E's schedules from the results of studies.main_job in this folder, where it "
        "has them, in place of searching",
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"[default: {RUNS}]")
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if not arguments.page:
        named = {task.source for task in SCALES[arguments.scale].tasks.values()}
        if arguments.data and len(named) > 1:
            parser.error(f"--data names one source, but this scale has {', '.join(sorted(named))}")
        sources = {source: arguments.data or source for source in named}
        if arguments.schedules:
            take_schedules(arguments.scale, arguments.runs, arguments.schedules)
        try:
            run(arguments.scale, sources, arguments.workers, arguments.runs, set(arguments.only))
        except KeyboardInterrupt:
            print("Interrupted. The same command goes on where this one stopped.")
    write_page(arguments.runs)
    print(f"wrote {RESULTS / 'README.md'}")


if __name__ == "__main__":
    main()
