"""Labels that people got wrong: S2E on CIFAR-10N, and the list of wrong labels it leaves.

    python -m studies.human_noise --images data/cifar10_jpg --labels cifar10n.csv --scale small

Not in the paper. ``--images`` is a folder train/CLASS/*, test/CLASS/*; ``--labels`` a table with
the columns path, clean and one for each set of given labels (``aggregate``, ``worst``). For each
set `s2e search` runs (an interrupted one goes on) and ``studies/results/human_noise/`` gets
SCALE-COLUMN.json and, over all columns, SCALE.md, SCALE.csv and SCALE.png. The clean labels are
used for reports alone; half of the test images validate, the other half tests.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from s2e_optuna.reporting.progress import ProgressDisplay
from s2e_optuna.reporting.search_run import run_search
from s2e_optuna.schedules import Schedule
from s2e_optuna.training import read_suspects
from s2e_optuna.workers.config import SearchConfig
from studies.main_job import commit, hardware

RESULTS = Path(__file__).parent / "results" / "human_noise"

COLUMNS = ("aggregate", "worst")

NAMES = {"standard": "plain training", "coteaching": "Co-teaching, told the rate", "s2e": "S2E"}


@dataclass(frozen=True)
class Scale:
    """How much to train."""

    train_size: int | None
    network: str
    epochs: int
    trials: int
    seeds: int
    hint: str


SCALES = {
    "tiny": Scale(200, "auto", 3, 3, 1, "a check that it runs"),
    "small": Scale(4000, "cnn1", 20, 20, 3, "for a CPU: a subset and a small network"),
    "paper": Scale(None, "cnn2", 200, 96, 5, "all images, the paper's network and epochs"),
}


def run(arguments: argparse.Namespace, column: str) -> dict[str, Any]:
    """Search on one set of labels; return what goes into its results file."""
    scale = SCALES[arguments.scale]
    name = f"human-noise-{arguments.scale}-{column}"
    config = SearchConfig(
        data=str(arguments.images),
        labels=arguments.labels,
        label_column=column,
        clean_column="clean",
        train_size=scale.train_size,
        network=scale.network,
        epochs=scale.epochs,
        trials=scale.trials,
        final_seeds=scale.seeds,
        workers=arguments.workers,
        storage=arguments.storage,
        study=name,
        out=Path(arguments.out) / name,
        device=arguments.device,
    )
    result, files = run_search(config, ProgressDisplay())
    found = result.to_dict()
    rows = read_suspects(files["suspects"])
    wrong = np.cumsum([row.true != row.given for row in rows])
    at = np.unique(np.linspace(1, len(rows), min(200, len(rows)), dtype=int))
    kept = ("n_trials", "best_value", "schedule", "noise_rate", "validation", "test_accuracy")
    more = ("test_accuracy_std", "test_accuracy_by_seed", "label_precision", "suspects")
    settings = {k: v for k, v in found["settings"].items() if k not in ("data", "labels")}
    return {
        "column": column,
        "scale": arguments.scale,
        **{key: found[key] for key in (*kept, *more)},
        "folds": config.folds,
        "training_images": len(result.data.y_train),
        "validation_images": len(result.data.y_val),
        "precision_at": {int(n): round(float(wrong[n - 1] / n), 6) for n in at},
        "recall_at": {int(n): round(float(wrong[n - 1] / max(wrong[-1], 1)), 6) for n in at},
        "settings": settings,
        "hardware": hardware(),
        "commit": commit(),
    }


def table(found: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows; the Markdown and the CSV table are made of them."""
    header = ["labels", "wrong", *NAMES.values()]
    header += ["listed", "precision", "recall", "average precision"]
    rows = []
    for one in found:
        suspects = one["suspects"]
        cells = [one["column"], _percent(one["noise_rate"])]
        for name in NAMES:
            deviation = one["test_accuracy_std"].get(name)
            spread = "" if deviation is None else f" ± {100 * deviation:.2f}"
            cells.append(f"{100 * one['test_accuracy'][name]:.2f}{spread}")
        cells.append(str(suspects["listed"]))
        cells += [_percent(suspects[key]) for key in ("precision", "recall", "average_precision")]
        rows.append(cells)
    return header, rows


def write(scale: str) -> Path:
    """Set all columns of this scale that have run side by side."""
    paths = [RESULTS / f"{scale}-{column}.json" for column in COLUMNS]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    header, rows = table(found)
    with (RESULTS / f"{scale}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    first = found[0]
    settings = first["settings"]
    lines = [
        f"# Human label noise ({scale})",
        "",
        f"`python -m studies.human_noise --scale {scale}`, {SCALES[scale].hint}:",
        f"{first['training_images']} training images, {first['validation_images']} clean ones to",
        f"validate, network {settings['network']}, {settings['epochs']} epochs, "
        f"{first['n_trials']} trials,",
        f"{SCALES[scale].seeds} final seeds. Test accuracy in %, mean ± standard deviation over",
        "seeds, of the last epochs. The images were JPEG files, which lose detail: accuracies",
        "differ a little from those on the original pixels. Precision and recall are those of",
        "suspects.csv: samples with a suspicion above 0.5, against the clean labels.",
        "",
        f"| {' | '.join(header)} |",
        "|" + "---|" * len(header),
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"![R(t), and precision over recall of the suspects]({scale}.png)",
        "",
        *(
            f"* {one['column']}: suspects {_folds(one.get('folds', 0))}; {one['hardware']}; "
            f"commit {one['commit']}"
            for one in found
        ),
        "",
    ]
    page = RESULTS / f"{scale}.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    draw(found).savefig(RESULTS / f"{scale}.png", dpi=120)
    return page


def draw(found: list[dict[str, Any]]) -> Figure:
    """Draw the schedules and the quality of the lists."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for one, colour in zip(found, ("#0072B2", "#D55E00"), strict=False):
        rates = one["schedule"]
        label = f"{one['column']} ({_percent(one['noise_rate'])} wrong)"
        left.plot(rates, color=colour, label=label)
        known = Schedule.coteaching(len(rates), one["noise_rate"]).rates
        left.plot(known, color=colour, linestyle=":", label="Co-teaching's, told the rate")
        recall, precision = one["recall_at"].values(), one["precision_at"].values()
        right.plot(list(recall), list(precision), color=colour, label=one["column"])
        suspects = one["suspects"]
        right.plot(suspects["recall"] or 0, suspects["precision"] or 0, "o", color=colour)
        right.axhline(one["noise_rate"], color=colour, linestyle=":", linewidth=1)
    left.set(xlabel="epoch", ylabel="kept share R(t)", ylim=(0, 1.02), title="schedules found")
    right.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    right.set_title("suspects (dot: as listed; dotted: random order)", fontsize=10)
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _folds(folds: int) -> str:
    return f"with {folds}-fold cross-validation" if folds else "without cross-validation"


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}%"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", required=True, type=Path, help="folder of images")
    parser.add_argument("--labels", required=True, type=Path, help="table of labels")
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=COLUMNS)
    parser.add_argument("--storage", default="sqlite:///storage/s2e.db")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", default="runs", help="folder for what the searches leave behind")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for column in arguments.columns:
        found = run(arguments, column)
        target = RESULTS / f"{arguments.scale}-{column}.json"
        target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {target} and {write(arguments.scale)}")


if __name__ == "__main__":
    main()
