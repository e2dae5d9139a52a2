"""Labels that people got wrong: S2E on CIFAR-10N, and the list of wrong labels it leaves.

    python -m studies.human_noise --scale small --data images=data/cifar10_jpg \
        --data labels=cifar10n.csv

With ``--scale features`` what is searched learns from the features of a small pretrained network
(`studies.lite_features`), which two wheels bring; CleanLearning and training on the true labels
stand beside it (`studies.label_peers`).

With ``--scale texts`` it is 4,200 tweets, each rated by twenty people or more, that a package
brings (``pip download --no-deps vaderSentiment==0.5``; Hutto and Gilbert, ICWSM 2014): the given
label is the sign of what one of them said, the true one that of the majority.

    python -m studies.human_noise --scale texts --data ratings=vaderSentiment-0.5.zip

Not in the paper. ``images`` is a folder train/CLASS/*, test/CLASS/*; ``labels`` a table with the
columns path, clean and one for each set of given labels (``aggregate``, ``worst``). Without them
``tiny`` takes digits, and labels that are wrong where images look alike, drawn and not given by
people. For each set `s2e search` runs. The clean labels are used for reports alone; half of the
test images validate, the other half tests.
"""

from __future__ import annotations

import csv
import io
import json
import math
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s2e_optuna.data import corrupt_labels_by_instance
from s2e_optuna.labels import read_suspects
from s2e_optuna.reporting.verdict import METHOD_NAMES
from s2e_optuna.schedules import Schedule
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.final import final_seeds
from studies import label_peers
from studies.frame import Study, main
from studies.pages import Table, tidy, write_text
from studies.settings import Frame, StudyError, commit, digest, hardware

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("aggregate", "worst")
"""Sets of given labels: of CIFAR-10N, the majority of three people, and a wrong one if any was.
``random1`` is what the first of them said."""

DRAWN_RATES = {"aggregate": 0.1, "worst": 0.4}
"""Noise rates for digits, about those of CIFAR-10N."""

COLOURS = ("#0072B2", "#D55E00", "#009E73")
"""One for each set of labels."""

SIGNS = {-1: "negative", 0: "neutral", 1: "positive"}
"""Classes of tweets."""

NAMES = METHOD_NAMES | {"coteaching": "Co-teaching, told the rate"} | label_peers.NAMES


@dataclass(frozen=True)
class Scale:
    """How much to train."""

    train_size: int | None
    network: str
    epochs: int
    trials: int
    seeds: int
    hint: str
    features: str | None = None
    columns: tuple[str, ...] = COLUMNS


SCALES = {
    "tiny": Scale(200, "auto", 3, 3, 1, "a check that it runs"),
    "small": Scale(4000, "cnn1", 20, 20, 3, "for a CPU: a subset and a small network"),
    "features": Scale(
        None,
        "mlp",
        30,
        24,
        5,
        "pretrained features, on two cores",
        "studies.lite_features:efficientnet_lite0",
        ("aggregate", "random1", "worst"),
    ),
    "texts": Scale(None, "mlp", 30, 24, 5, "hashed words, on two cores", "words", ("one rater",)),
    "paper": Scale(None, "cnn2", 200, 96, 5, "all images, the paper's network and epochs"),
}


SOURCES = dict.fromkeys(SCALES, ("images", "labels")) | {"texts": ("ratings",)}
"""What each scale reads."""


def compute(frame: Frame) -> dict[str, Any]:
    """Search on every set of labels; each result is a file."""
    given = dict(frame.sources or {})
    drawn = not given and frame.scale == "tiny"
    if drawn:
        given = write_digits(frame.runs / "human_noise" / "digits")
    if missing := set(SOURCES[frame.scale]) - set(given):
        raise StudyError(f"say where they are: --data {sorted(missing)[0]}=PATH")
    texts = "ratings" in given
    if texts:
        given = write_tweets(Path(given["ratings"]), frame.runs / "human_noise" / "tweets")
    scale = SCALES[frame.scale]
    key = digest([asdict(scale), {name: Path(path).name for name, path in given.items()}])
    found = {}
    for column in scale.columns:
        folder = frame.runs / "human_noise" / f"{frame.scale}-{column}-{key}"
        path = folder / "found.json"
        if not path.exists():
            write_text(path, json.dumps(search(column, given, frame, folder)))
        found[column] = json.loads(path.read_text(encoding="utf-8"))
        if scale.features is not None:
            add_peers(found[column], settings_of(column, given, frame, folder))
    return {
        "settings": asdict(scale),
        "images": "digits" if drawn else "Tweets" if texts else "CIFAR-10",
        "labels": found,
        "provenance": {
            "hardware": sorted({one["hardware"] for one in found.values()}),
            "commits": sorted({one["commit"] for one in found.values()}),
        },
    }


def settings_of(column: str, given: dict[str, str], frame: Frame, folder: Path) -> SearchConfig:
    """Return what is searched on one set of labels."""
    scale = SCALES[frame.scale]
    of_images = {"data": given["images"], "labels": given["labels"]} if "images" in given else {}
    of_texts = {"data": given["texts"], "text_column": "text"} if "texts" in given else {}
    return SearchConfig.of(
        **of_images,
        **of_texts,
        label_column=column,
        clean_column="clean",
        train_size=scale.train_size,
        features=scale.features,
        network=scale.network,
        epochs=scale.epochs,
        trials=scale.trials,
        final_seeds=scale.seeds,
        workers=frame.workers,
        storage=frame.storage,
        study=f"human-noise-{folder.name}",
        out=folder,
        device=frame.device,
    )


def add_peers(found: dict[str, Any], config: SearchConfig) -> None:
    """Put what stands beside a search on vectors to its accuracies; computed once."""
    path = config.folder / "peers.json"
    if not path.exists():
        seeds = final_seeds(config.data.seed, config.final_seeds)
        data = config.data.load()
        write_text(path, json.dumps(label_peers.peers(data, config.training, seeds)))
    beside = json.loads(path.read_text(encoding="utf-8"))
    for name, values in beside["accuracies"].items():
        found["test_accuracy"][name] = float(np.mean(values))
        found["test_accuracy_std"][name] = float(np.std(values, ddof=1))
        found["test_accuracy_by_seed"][name] = values
    found["cleanlab"] = beside.get("cleanlab")


def search(column: str, given: dict[str, str], frame: Frame, folder: Path) -> dict[str, Any]:
    """Search on one set of labels, or go on with it."""
    from s2e_optuna.commands.search import run_search
    from s2e_optuna.reporting.progress import ProgressDisplay

    config = settings_of(column, given, frame, folder)
    result, files = run_search(config, ProgressDisplay())
    found = result.to_dict()
    rows = read_suspects(files["suspects"])
    wrong = np.cumsum([row.true != row.given for row in rows])
    at = np.unique(np.linspace(1, len(rows), min(200, len(rows)), dtype=int))
    kept = ("n_trials", "best_value", "schedule", "noise_rate", "validation", "test_accuracy")
    more = ("test_accuracy_std", "test_accuracy_by_seed", "label_precision", "suspects")
    settings = {k: v for k, v in found["settings"].items() if k not in ("data", "labels")}
    return {
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


def write_digits(folder: Path) -> dict[str, str]:
    """Write digits as images and tables, as CIFAR-10N comes; return where they are."""
    from PIL import Image
    from sklearn.datasets import load_digits

    finished = folder / "labels.csv"
    if not finished.exists():
        digits = load_digits()
        pixels = (digits.images * 255 / 16).astype(np.uint8)
        train = np.arange(len(pixels)) % 3 > 0
        given = {
            column: corrupt_labels_by_instance(
                digits.target, digits.images / 16, rate, 10, np.random.default_rng(0)
            )
            for column, rate in DRAWN_RATES.items()
        }
        rows = [["path", "clean", *given]]
        for i, label in enumerate(digits.target):
            path = Path("train" if train[i] else "test") / str(label) / f"{i:04d}.png"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[i]).save(folder / path)
            if train[i]:
                rows.append([str(path), str(label), *(str(given[c][i]) for c in given)])
        partial = finished.with_suffix(".partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        partial.replace(finished)
    return {"images": str(folder), "labels": str(finished)}


def write_tweets(package: Path, folder: Path) -> dict[str, str]:
    """Write a table of tweets: what one rater said, and most of them; return where it is.

    Tweets whose ratings are tied are left out. Of the others a tenth validates and a fifth tests,
    both with the label of the majority.
    """
    finished = folder / "tweets.csv"
    if not finished.exists():
        rng = np.random.default_rng(0)
        rows = []
        for text, signs in rated_tweets(package):
            (first, most), *others = Counter(signs).most_common()
            if others and others[0][1] == most:
                continue
            part = rng.choice(["train", "val", "test"], p=[0.7, 0.1, 0.2])
            given = signs[int(rng.integers(len(signs)))] if part == "train" else first
            rows.append([text, *(SIGNS[sign] for sign in (given, first)), part])
        folder.mkdir(parents=True, exist_ok=True)
        partial = finished.with_suffix(".partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["text", "one rater", "clean", "split"], *rows])
        partial.replace(finished)
    return {"texts": str(finished)}


def rated_tweets(package: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield each tweet and the signs of its ratings: -1, 0 or 1."""
    with zipfile.ZipFile(package) as archive:
        (inside,) = (name for name in archive.namelist() if name.endswith("ICWSM_2014.tar.gz"))
        content = archive.read(inside)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        lines = {}
        for kind in ("anonDataRatings", "GroundTruth"):
            file = tar.extractfile(f"hutto_ICWSM_2014/tweets_{kind}.txt")
            assert file is not None  # a file, and no folder
            found = (line.split("\t") for line in io.TextIOWrapper(file, "utf-8", "replace"))
            lines[kind] = {cells[0]: cells[-1].strip() for cells in found}
    for key, text in lines["GroundTruth"].items():
        ratings = json.loads(lines["anonDataRatings"][key])
        yield text, [(rating > 0) - (rating < 0) for rating in ratings]


def table(content: dict[str, Any]) -> Table:
    """One line a set of labels."""
    names = {
        name: words
        for name, words in NAMES.items()
        if any(name in one["test_accuracy"] for one in content["labels"].values())
    }
    header = ["labels", "wrong", *names.values()]
    header += ["listed", "expected precision", "precision", "recall", "average precision"]
    rows = []
    for column, one in content["labels"].items():
        suspects = one["suspects"]
        cells = [column, _percent(one["noise_rate"])]
        for name in names:
            deviation = one["test_accuracy_std"].get(name)
            spread = "" if deviation is None else f" ± {100 * deviation:.2f}"
            cells.append(f"{100 * one['test_accuracy'][name]:.2f}{spread}")
        cells += [str(suspects["listed"]), _percent(suspects.get("expected_precision"))]
        cells += [_percent(suspects[key]) for key in ("precision", "recall", "average_precision")]
        rows.append(cells)
    return Table(header, rows)


def section(content: dict[str, Any]) -> list[str]:
    """Write the table, and how it was made."""
    settings, labels = content["settings"], content["labels"]
    first = next(iter(labels.values()))
    lines = [
        f"{content['images']}, {settings['hint']}: {first['training_images']} to train, "
        f"{first['validation_images']} clean ones to validate, network "
        f"{first['settings']['network']}, {settings['epochs']} epochs, {first['n_trials']} "
        f"trials, {settings['seeds']} final seeds. Test accuracy in %, mean ± standard deviation "
        f"over seeds, {_models(first['settings'])}. Precision and recall are those of the labels "
        "that suspects.csv lists, against the clean ones; the expected precision knows none of "
        "these.",
        "",
    ]
    if content["images"] == "CIFAR-10":
        lines[0] += (
            " The images were JPEG files, which lose detail: accuracies differ a little from "
            "those on the original pixels."
        )
    if cleanlab := first.get("cleanlab"):
        lines[0] += (
            f" CleanLearning: cleanlab {cleanlab}, with a logistic regression on the same "
            "features; true labels: plain training on them."
        )
    notes = [
        f"* {name}: suspects {_folds(one.get('folds', 0))}; commit {one['commit']}"
        for name, one in labels.items()
    ]
    return [*lines, *table(content).markdown(), "", *notes]


def _models(settings: dict[str, Any]) -> str:
    """Say of which epochs the accuracies are."""
    if settings.get("stop") == "best":  # results of earlier versions do not say
        return "of models that are stopped at their best validation epoch"
    return "of the last epochs"


def draw(content: dict[str, Any]) -> Figure:
    """Draw the schedules and the quality of the lists."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (column, one), colour in zip(content["labels"].items(), COLOURS, strict=False):
        rates = one["schedule"]
        left.plot(rates, color=colour, label=f"{column} ({_percent(one['noise_rate'])} wrong)")
        known = Schedule.coteaching(len(rates), one["noise_rate"]).rates
        left.plot(known, color=colour, linestyle=":", label="Co-teaching's, told the rate")
        recall, precision = one["recall_at"].values(), one["precision_at"].values()
        right.plot(list(recall), list(precision), color=colour, label=column)
        if one["suspects"]["listed"]:
            right.plot(one["suspects"]["recall"], one["suspects"]["precision"], "o", color=colour)
        right.axhline(one["noise_rate"], color=colour, linestyle=":", linewidth=1)
    left.set(xlabel="epoch", ylabel="kept share R(t)", ylim=(0, 1.02), title="schedules found")
    right.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    right.set_title("suspects (dot: as listed; dotted: random order)", fontsize=10)
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)
    return figure


def _folds(folds: int) -> str:
    return f"with {folds}-fold cross-validation" if folds else "without cross-validation"


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}%"


STUDY = Study(
    name="human_noise",
    title="Human label noise",
    about="""
Not in the paper: CIFAR-10N, CIFAR-10 with labels that people gave, tweets with what one of many
raters said, and what a search leaves for those who want to clean their labels.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data=SOURCES,
)

if __name__ == "__main__":
    main(STUDY)
