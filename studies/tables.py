"""Tables of numbers and categories whose labels are wrong where rows look alike.

    python -m studies.tables --scale small --data segments=segment.csv.zip \
        --data diamonds=diamonds.csv

Not in the paper. Breast cancer comes with scikit-learn (569 rows, 30 numbers), image segments with
river (``river/datasets/segment.csv.zip`` in its wheel: 2,310 rows, 18 numbers, seven classes), and
the cut of diamonds with plotnine (``plotnine/data/diamonds.csv``: 53,940 rows of which some are
drawn, seven numbers, two categories, five classes). Labels of the training part are drawn by
instance, anew for each seed; validation and test part are clean. On each draw `s2e search` runs;
beside it stand cleanlab's CleanLearning and training on the true labels (`studies.label_peers`).
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s2e_optuna.reporting.verdict import METHOD_NAMES
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.final import final_seeds
from studies import label_peers
from studies.frame import Study, main
from studies.pages import Table, mean_sd, tidy, write_text
from studies.settings import Frame, StudyError, commit, digest, hardware

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = METHOD_NAMES | {"coteaching": "Co-teaching, told the rate"} | label_peers.NAMES

COLOURS = {
    "standard": "#000000",
    "linear": "#56B4E9",
    "s2e": "#D55E00",
    "posterior": "#0072B2",
    "clean_learning": "#009E73",
    "true_labels": "#999999",
}
"""What is drawn."""

LABEL, SPLIT = "label", "split"


@dataclass(frozen=True)
class Scale:
    """Tables with rows to train, validate and test, and how much to search on them."""

    tables: dict[str, tuple[int, int, int]]
    rates: tuple[float, ...]
    draws: int
    epochs: int
    trials: int
    seeds: int


SCALES = {
    "tiny": Scale({"breast_cancer": (200, 100, 269)}, (0.3,), 1, 2, 2, 2),
    "small": Scale(
        {
            "breast_cancer": (300, 100, 169),
            "segments": (1310, 200, 800),
            "diamonds": (6000, 1000, 4000),
        },
        (0.2, 0.4),
        5,
        30,
        24,
        2,
    ),
    "paper": Scale(
        {"segments": (1310, 200, 800), "diamonds": (40000, 4000, 9940)}, (0.2, 0.4), 5, 60, 96, 5
    ),
}


def read(name: str, sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the columns of a table; the labels are `LABEL`."""
    if name == "breast_cancer":
        from sklearn.datasets import load_breast_cancer

        found = load_breast_cancer()
        names = found.feature_names.tolist()
        rows = {str(n): list(map(str, x)) for n, x in zip(names, found.data.T, strict=True)}
        return rows | {LABEL: [str(found.target_names[label]) for label in found.target]}
    if name not in sources:
        raise StudyError(f"say where it is: --data {name}=PATH")
    place, label = Path(sources[name]), {"segments": "category", "diamonds": "cut"}[name]
    if place.suffix == ".zip":
        with zipfile.ZipFile(place) as archive:
            text = archive.read(archive.namelist()[0]).decode()
    else:
        text = place.read_text(encoding="utf-8")
    header, *lines = csv.reader(io.StringIO(text))
    columns = dict(zip(header, map(list, zip(*lines, strict=True)), strict=True))
    return {n: cells for n, cells in columns.items() if n != label} | {LABEL: columns[label]}


def write_table(place: Path, columns: dict[str, list[str]], sizes: tuple[int, int, int]) -> None:
    """Write so many rows of each part, drawn at random, the same ones for all searches."""
    order = np.random.default_rng(0).permutation(len(columns[LABEL]))[: sum(sizes)]
    parts = np.repeat(["train", "val", "test"], sizes)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, SPLIT])
    for row, part in zip(order.tolist(), parts, strict=True):
        writer.writerow([*(cells[row] for cells in columns.values()), part])
    write_text(place, text.getvalue())


def compute(frame: Frame) -> dict[str, Any]:
    """Search on every draw of the labels; each result is a file."""
    scale = SCALES[frame.scale]
    settings = [scale.epochs, scale.trials, scale.seeds]
    found: dict[str, Any] = {}
    for name, sizes in scale.tables.items():
        key = digest([settings, sizes])
        table = frame.runs / "tables" / f"{name}-{key}.csv"
        if not table.exists():
            write_table(table, read(name, frame.sources or {}), sizes)
        for rate in scale.rates:
            task = f"{name}, {round(100 * rate)}%"
            found[task] = {"rows": sizes, "rate": rate, "draws": []}
            for seed in range(scale.draws):
                folder = frame.runs / "tables" / f"{name}-{rate:g}-{seed}-{key}"
                path = folder / "found.json"
                if not path.exists():
                    write_text(path, json.dumps(search(table, rate, seed, frame, folder)))
                    print(f"{task}, seed {seed}", flush=True)
                found[task]["draws"].append(json.loads(path.read_text(encoding="utf-8")))
    every = [one for task in found.values() for one in task["draws"]]
    return {
        "settings": asdict(scale),
        "tasks": found,
        "provenance": {
            "hardware": sorted({one["hardware"] for one in every}),
            "commits": sorted({one["commit"] for one in every}),
        },
    }


def search(table: Path, rate: float, seed: int, frame: Frame, folder: Path) -> dict[str, Any]:
    """Search on one draw of the labels, or go on with it; return accuracies by name."""
    from s2e_optuna.commands.search import run_search
    from s2e_optuna.reporting.progress import ProgressDisplay

    scale = SCALES[frame.scale]
    config = SearchConfig.of(
        data=str(table),
        label_column=LABEL,
        split_column=SPLIT,
        noise="instance",
        noise_rate=rate,
        seed=seed,
        network="mlp",
        epochs=scale.epochs,
        trials=scale.trials,
        final_seeds=scale.seeds,
        workers=frame.workers,
        storage=frame.storage,
        study=f"tables-{folder.name}",
        out=folder,
        device=frame.device,
    )
    result, _ = run_search(config, ProgressDisplay(quiet=True))
    beside = label_peers.peers(result.data, config.training, final_seeds(seed, scale.seeds))
    accuracies = result.to_dict()["test_accuracy_by_seed"] | beside.pop("accuracies")
    return {
        "accuracies": accuracies,
        "wrong": result.data.noise_rate,
        **beside,
        "hardware": hardware(),
        "commit": commit(),
    }


def means(task: dict[str, Any]) -> dict[str, list[float]]:
    """Return the mean test accuracy on each draw, by name."""
    names = [name for name in NAMES if all(name in one["accuracies"] for one in task["draws"])]
    return {
        name: [float(np.mean(one["accuracies"][name])) for one in task["draws"]] for name in names
    }


def table(content: dict[str, Any]) -> Table:
    """One line a table and noise rate."""
    numbers = {name: means(task) for name, task in content["tasks"].items()}
    shown = [name for name in NAMES if any(name in one for one in numbers.values())]
    rows = [
        [name, "/".join(map(str, content["tasks"][name]["rows"]))]
        + [mean_sd(one.get(column, ())) for column in shown]
        for name, one in numbers.items()
    ]
    return Table(["labels", "rows", *(NAMES[name] for name in shown)], rows)


def section(content: dict[str, Any]) -> list[str]:
    """Write the table, and how it was made."""
    settings, tasks = content["settings"], content["tasks"]
    versions = {one.get("cleanlab") for task in tasks.values() for one in task["draws"]} - {None}
    lines = [
        "Test accuracy in %, mean ± standard deviation over "
        f"{settings['draws']} draws of the labels (each the mean of {settings['seeds']} "
        "trainings), of models that are stopped at their best validation epoch. rows: to train, "
        f"to validate, to test. Network mlp, {settings['epochs']} epochs, {settings['trials']} "
        "trials. The linear model is a logistic regression whose penalty the validation part "
        "chose, as that inside CleanLearning; true labels: plain training on them.",
        "",
        *table(content).markdown(),
        "",
    ]
    if versions:
        lines += [f"cleanlab {', '.join(sorted(versions))}.", ""]
    return lines[:-1]


def draw(content: dict[str, Any]) -> Figure:
    """Draw means, with a bar of one standard deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    numbers = {name: means(task) for name, task in content["tasks"].items()}
    shown = [name for name in COLOURS if any(name in one for one in numbers.values())]
    for at, name in enumerate(shown):
        places = np.arange(len(numbers)) + 0.1 * (at - (len(shown) - 1) / 2)
        values = [100 * np.array(one.get(name, [np.nan])) for one in numbers.values()]
        axes.errorbar(
            places,
            [value.mean() for value in values],
            [value.std() for value in values],
            fmt="o",
            color=COLOURS[name],
            label=NAMES[name],
        )
    axes.set_xticks(np.arange(len(numbers)), list(numbers), fontsize=8)
    axes.set(ylabel="test accuracy, %", title="labels wrong by instance")
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


STUDY = Study(
    name="tables",
    title="Tables with wrong labels",
    about="""
Not in the paper: tables of numbers and categories, labels wrong by instance, and what people would
do instead.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data={name: tuple(n for n in s.tables if n != "breast_cancer") for name, s in SCALES.items()},
)

if __name__ == "__main__":
    main(STUDY)
