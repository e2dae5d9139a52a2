"""Table 2: face verification after training on faces with wrong labels.

    python -m studies.table2 --scale small
    python -m studies.table2 --scale paper --device cuda --data train=vggface2/train \
        --data calfw=calfw --data cplfw=cplfw --data agedb=agedb --data cfp=cfp-dataset

Without the photographs, which nobody may pass on, ``tiny`` and ``small`` train on drawings of
faces (`studies.synthetic_faces`), a fifth of them with another person's label: they show that
every step works, from the published lists of pairs to the ten-fold accuracy, and nothing about
people. ``train`` is a folder with one folder a person. A test is a folder with its images and its
list: ``pairs_CALFW.txt``, ``pairs_CPLFW.txt``, ``agedb_30_pair.txt`` or CFP's ``Protocol``.

Schedules are chosen by the error on a held-out part of the noisy training faces; the tests choose
nothing. Methods without a search take Co-teaching's schedule for `NOISE_RATE`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import track

from s2e_optuna import Schedule
from s2e_optuna.data import NoisyData, load_data
from s2e_optuna.device import split_devices
from s2e_optuna.errors import DataError
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.final import final_seeds
from s2e_optuna.training import TrainConfig, TrainResult, get_method, train
from studies.faces import FacePairs, read_cfp, read_pairs, verify
from studies.frame import Study, main
from studies.pages import LABELS, LINES, Table, beside_paper, long_table, tidy, write_text
from studies.settings import Frame, StudyError, commit, digest, hardware
from studies.synthetic_faces import write_tests, write_training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TESTS = {"calfw": "CALFW", "cplfw": "CPLFW", "agedb": "AgeDB", "cfp": "CFPW"}
"""The tests: names for ``--data``, and what they are called."""

NOISE_RATE = 0.2
"""Of the drawings, and of Co-teaching's schedule: the share that methods without a search drop."""

LISTS = {
    "calfw": ("pairs_CALFW.txt", "aligned images"),
    "cplfw": ("pairs_CPLFW.txt", "aligned images"),
    "agedb": ("agedb_30_pair.txt", ""),
}
"""Name of the list in a test's folder, and where its images lie."""

_NUMBERS = {
    "standard": (90.11, 86.30, 92.81, 95.50, 91.18),
    "decoupling": (90.23, 86.14, 93.90, 95.85, 91.53),
    "mentornet": (90.14, 85.41, 92.70, 95.20, 90.86),
    "coteaching": (89.90, 85.05, 92.05, 95.05, 90.62),
    "coteaching_plus": (89.43, 85.23, 92.50, 95.41, 90.64),
    "comining": (91.06, 87.31, 94.05, 95.87, 92.07),
    "s2e": (92.04, 89.43, 95.22, 96.16, 93.20),
}
PAPER = {
    method: dict(zip((*TESTS, "average"), row, strict=True)) for method, row in _NUMBERS.items()
}
"""The paper's Table 2: accuracy in % on the four tests and their average."""

COLUMNS = {**TESTS, "average": "average"}

METHODS = {method: LABELS[method] for method in PAPER}


@dataclass(frozen=True)
class Scale:
    """How much to train."""

    people: int
    images: int
    pairs: int
    image_size: int
    network: str
    epochs: int
    trials: int
    seeds: int


SCALES = {
    "tiny": Scale(8, 16, 40, 32, "cnn1", 3, 3, 1),
    "small": Scale(60, 40, 300, 32, "cnn1", 40, 16, 3),
    "paper": Scale(0, 0, 0, 112, "resnet50", 40, 24, 1),
}


def read_test(name: str, folder: Path) -> FacePairs:
    """Read the pairs of a test from its folder."""
    if name == "cfp":
        return read_cfp(folder, "FP", name=name)
    listed, images = LISTS[name]
    place = folder / images if (folder / images).is_dir() else folder
    return read_pairs(folder / listed, place, name=name)


@dataclass(frozen=True, eq=False)
class Faces:
    """Training faces and tests; `folder` is where the former lie."""

    folder: Path
    data: NoisyData
    tests: dict[str, FacePairs]
    drawn: bool


def prepare(frame: Frame) -> Faces:
    """Load the training faces and the tests; draw them if there are none."""
    scale, given = SCALES[frame.scale], dict(frame.sources or {})
    drawn = "train" not in given
    if drawn:
        if not scale.people:
            raise StudyError(
                "--scale paper needs photographs: --data train=FOLDER, and the folder of at least "
                f"one test: --data NAME=FOLDER with {', '.join(TESTS)}"
            )
        given = draw_faces(frame.runs / "table2" / f"drawings-{frame.scale}", scale)
    folders = {name: Path(given[name]) for name in TESTS if name in given}
    if not folders:
        raise StudyError(f"no test was given: --data NAME=FOLDER with {', '.join(TESTS)}")
    folder = Path(given["train"])
    tests = {name: read_test(name, place) for name, place in folders.items()}
    return Faces(folder, load_data(folder, image_size=scale.image_size), tests, drawn)


def draw_faces(folder: Path, scale: Scale) -> dict[str, str]:
    """Draw training and tests into a folder, once."""
    finished = folder / "finished"
    if not finished.exists():
        write_training(folder, scale.people, scale.images, NOISE_RATE)
        write_tests(folder, max(10, scale.people // 2), scale.pairs)
        finished.touch()
    return {name: str(folder / name) for name in ("train", *TESTS)}


def search(faces: Faces, frame: Frame, folder: Path) -> Schedule:
    """Search R(t) for Co-teaching; an interrupted search goes on."""
    from s2e_optuna.commands.search import run_search
    from s2e_optuna.reporting.progress import ProgressDisplay

    scale = SCALES[frame.scale]
    found = folder / "schedule.json"
    if not found.exists():
        config = SearchConfig.of(
            data=str(faces.folder),
            image_size=scale.image_size,
            network=scale.network,
            epochs=scale.epochs,
            trials=scale.trials,
            workers=frame.workers,
            device=frame.device,
            storage=frame.storage,
            study=f"table2-{folder.name}",
            final_seeds=0,
            out=folder,
        )
        run_search(config, ProgressDisplay())
    return Schedule.from_json(found)


def measure(method: str, faces: Faces, frame: Frame, folder: Path) -> dict[str, Any]:
    """Train one method with every seed and verify; return accuracies by test."""
    scale, device = SCALES[frame.scale], split_devices(frame.device)[0]
    config = TrainConfig(
        epochs=scale.epochs, network=scale.network, device=device, evaluate_every=5
    )
    if method == "s2e":
        rule, schedule = "coteaching", search(faces, frame, folder)
    else:
        rule, schedule = method, Schedule.coteaching(scale.epochs, NOISE_RATE)
    used = schedule if get_method(rule).uses_schedule else None
    found: dict[str, list[float]] = {name: [] for name in faces.tests}
    runs: list[TrainResult] = []
    for seed in final_seeds(0, scale.seeds):
        (run,) = train(rule, [used], faces.data, replace(config, seed=seed))
        if run.model is None:
            raise DataError(f"{method}: {run.failure}")
        runs.append(run)
        for name, pairs in faces.tests.items():
            found[name].append(verify(run.model, pairs, device=device).accuracy)
    return {
        "accuracy": found,
        "training_classification": [float(run.validation_accuracy[-1]) for run in runs],
        "schedule": None if used is None else [float(rate) for rate in used.rates],
        "seconds": round(sum(run.seconds for run in runs), 1),
        "hardware": hardware(),
        "commit": commit(),
    }


def compute(frame: Frame) -> dict[str, Any]:
    """Train and verify with every method; each method's result is a file."""
    scale = SCALES[frame.scale]
    faces = prepare(frame)
    used = {name: Path(path).name for name, path in (frame.sources or {}).items()}
    folder = frame.runs / "table2" / f"{frame.scale}-{digest([asdict(scale), used])}"
    methods = {}
    for method in track(PAPER, "table2: methods"):
        path = folder / f"{method}.json"
        if not path.exists():
            write_text(path, json.dumps(measure(method, faces, frame, folder)))
        methods[method] = json.loads(path.read_text(encoding="utf-8"))
    return {
        "settings": asdict(scale) | {"noise_rate": NOISE_RATE},
        "data": "drawings" if faces.drawn else "photographs",
        "methods": methods,
        "provenance": {
            "hardware": sorted({one["hardware"] for one in methods.values()}),
            "commits": sorted({one["commit"] for one in methods.values()}),
        },
    }


def numbers(content: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Return method to test to one accuracy a seed, and the average of a whole set of tests."""
    rows = {}
    for method, found in content["methods"].items():
        rows[method] = dict(found["accuracy"])
        if set(TESTS) <= set(rows[method]):
            by_seed = zip(*(found["accuracy"][test] for test in TESTS), strict=True)
            rows[method]["average"] = [sum(seed) / len(seed) for seed in by_seed]
    return rows


def by_test(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Turn a table round: test to method to numbers, as agreement is about methods."""
    return {
        label: {method: cells[test] for method, cells in rows.items() if test in cells}
        for test, label in COLUMNS.items()
        if any(test in cells for cells in rows.values())
    }


def section(content: dict[str, Any]) -> list[str]:
    """Write the table beside the paper's."""
    settings = content["settings"]
    lines = [
        f"{settings['network']}, {settings['epochs']} epochs, {settings['seeds']} seed(s), "
        f"{settings['trials']} trials for S2E. Ten-fold verification accuracy in %; in brackets "
        "the paper's.",
        "",
    ]
    if content["data"] == "drawings":
        lines += [
            "**Trained and tested on drawings of faces, not on photographs:** the figures show "
            "that the steps work. They cannot be compared with the paper's.",
            "",
        ]
    table = beside_paper(by_test(numbers(content)), by_test(PAPER), METHODS, "test")
    if content["data"] == "drawings":
        table = Table(table.header[:-1], [row[:-1] for row in table.rows])
    return [*lines, *table.markdown()]


def table(content: dict[str, Any]) -> Table:
    """One line a test and method."""
    return long_table(by_test(numbers(content)), by_test(PAPER), ("test", "method"))


def draw(content: dict[str, Any]) -> Figure:
    """Draw all accuracies, means over seeds and their spread, and the schedule found."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    tests = by_test(numbers(content))
    step = 0.8 / len(PAPER)
    for i, method in enumerate(content["methods"]):
        values = [100 * np.array(row[method]) for row in tests.values()]
        colour, dashes = LINES[method]
        left.errorbar(
            np.arange(len(tests)) + (i - (len(PAPER) - 1) / 2) * step,
            [seeds.mean() for seeds in values],
            [seeds.std() for seeds in values],
            fmt="o" if dashes == "-" else "s",
            color=colour,
            markerfacecolor=colour if dashes == "-" else "white",
            label=LABELS[method],
        )
    left.set_xticks(range(len(tests)), list(tests))
    left.set(ylabel="verification accuracy, %", title=f"on {content['data']}, mean ± sd")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right", frameon=False)
    for method in ("coteaching", "s2e"):
        if method in content["methods"]:
            colour, dashes = LINES[method]
            right.plot(content["methods"][method]["schedule"], color=colour, linestyle=dashes)
    right.set(xlabel="epoch t", ylabel="kept share $R(t)$", ylim=(0, 1.03), title="schedules")
    for ax in (left, right):
        tidy(ax)
    return figure


STUDY = Study(
    name="table2",
    title="Table 2: face verification",
    about="""
The paper trains on VGGFace2-R, photographs that a search engine found for each name, and verifies
pairs of faces of four other sets, half of each to choose by. S2E is best on all four.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data=dict.fromkeys(SCALES, ("train", *TESTS)),
)

if __name__ == "__main__":
    main(STUDY)
