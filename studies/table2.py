"""Table 2: face verification after training on faces with wrong labels.

    python -m studies.table2 --scale tiny
    python -m studies.table2 --scale paper --train vggface2/train --calfw calfw --cplfw cplfw \
        --agedb agedb --cfp cfp-dataset --device cuda

Without the photographs, which nobody may pass on, ``tiny`` and ``small`` train on drawings of
faces (`studies.synthetic_faces`), a fifth of them with another person's label: they show that
every step works, from the published lists of pairs to the ten-fold accuracy, and nothing about
people. ``--train`` takes a folder with one folder a person. A test is a folder with its images
and its list: ``pairs_CALFW.txt``, ``pairs_CPLFW.txt``, ``agedb_30_pair.txt`` or CFP's
``Protocol``.

Schedules are chosen by the error on a held-out part of the noisy training faces; the tests choose
nothing. Methods without a search take Co-teaching's schedule with ``--noise-rate``. Writes
``studies/results/table2/SCALE.md`` and ``.json``; what has been trained is not trained again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from s2e_optuna import CoTeachingObjective, S2ESampler, Schedule, best_schedule
from s2e_optuna.final_comparison import final_seeds
from s2e_optuna.training import (
    DataError,
    NoisyData,
    TrainConfig,
    TrainResult,
    get_method,
    load_data,
    train,
)
from s2e_optuna.training.faces import FacePairs, read_cfp, read_pairs, verify
from studies.main_job import commit, hardware
from studies.synthetic_faces import write_tests, write_training

RESULTS = Path(__file__).parent / "results" / "table2"

TESTS = ("CALFW", "CPLFW", "AgeDB", "CFPW")

LISTS = {
    "CALFW": ("pairs_CALFW.txt", "aligned images"),
    "CPLFW": ("pairs_CPLFW.txt", "aligned images"),
    "AgeDB": ("agedb_30_pair.txt", ""),
}
"""Name of the list in a test's folder, and where its images lie."""

PAPER = {
    "standard": (90.11, 86.30, 92.81, 95.50, 91.18),
    "decoupling": (90.23, 86.14, 93.90, 95.85, 91.53),
    "mentornet": (90.14, 85.41, 92.70, 95.20, 90.86),
    "coteaching": (89.90, 85.05, 92.05, 95.05, 90.62),
    "coteaching_plus": (89.43, 85.23, 92.50, 95.41, 90.64),
    "comining": (91.06, 87.31, 94.05, 95.87, 92.07),
    "s2e": (92.04, 89.43, 95.22, 96.16, 93.20),
}
"""The paper's Table 2: accuracy in % on the four tests and their average."""


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
    "tiny": Scale(8, 16, 40, 32, "cnn1", 8, 3, 1),
    "small": Scale(60, 40, 300, 32, "cnn1", 40, 16, 3),
    "paper": Scale(0, 0, 0, 112, "resnet50", 40, 24, 1),
}


def read_test(name: str, folder: Path) -> FacePairs:
    """Read the pairs of a test from its folder."""
    if name == "CFPW":
        return read_cfp(folder, "FP", name=name)
    listed, images = LISTS[name]
    place = folder / images if (folder / images).is_dir() else folder
    return read_pairs(folder / listed, place, name=name)


def search(data: NoisyData, scale: Scale, config: TrainConfig) -> Schedule:
    """Search R(t) for Co-teaching, four trials side by side."""
    objective = CoTeachingObjective(
        data,
        network=config.network,
        epochs=config.epochs,
        batch_size=config.batch_size,
        device=config.device,
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=S2ESampler(seed=0), pruner=optuna.pruners.NopPruner())
    while (left := scale.trials - len(study.trials)) > 0:
        trials = [study.ask() for _ in range(min(4, left))]
        for trial, outcome in zip(trials, objective.evaluate(trials), strict=True):
            study.tell(trial, outcome.value, state=outcome.state)
    return best_schedule(study)


def measure(
    method: str, data: NoisyData, tests: dict[str, FacePairs], scale: Scale, options: Any
) -> dict[str, Any]:
    """Train one method with every seed and verify; return accuracies by test."""
    config = TrainConfig(
        epochs=scale.epochs, network=scale.network, device=options.device, evaluate_every=5
    )
    if method == "s2e":
        rule, schedule = "coteaching", search(data, scale, config)
    else:
        rule = method
        schedule = Schedule.coteaching(scale.epochs, options.noise_rate)
    used = schedule if get_method(rule).uses_schedule else None
    found: dict[str, list[float]] = {name: [] for name in tests}
    runs: list[TrainResult] = []
    for seed in final_seeds(0, scale.seeds):
        (run,) = train(rule, [used], data, replace(config, seed=seed))
        if run.model is None:
            raise DataError(f"{method}: {run.failure}")
        runs.append(run)
        for name, pairs in tests.items():
            found[name].append(verify(run.model, pairs, device=options.device).accuracy)
    return {
        "accuracy": found,
        "training_classification": [float(run.validation_accuracy[-1]) for run in runs],
        "schedule": None if used is None else [float(rate) for rate in used.rates],
        "seconds": round(sum(run.seconds for run in runs), 1),
    }


def write(scale: str, content: dict[str, Any]) -> Path:
    """Write the table beside the paper's."""
    drawn = content["data"] == "drawings"
    lines = [
        f"# Table 2, face verification ({scale})",
        "",
        f"`python -m studies.table2 --scale {scale}`: {content['settings']['network']}, "
        f"{content['settings']['epochs']} epochs, {content['settings']['seeds']} seed(s), "
        f"{content['settings']['trials']} trials for S2E.",
        "Ten-fold verification accuracy in %; in brackets the paper's.",
        "",
    ]
    if drawn:
        lines += [
            "**Trained and tested on drawings of faces, not on photographs:** the figures show",
            "that the steps work. They cannot be compared with the paper's in brackets.",
            "",
        ]
    lines += [f"| method | {' | '.join(TESTS)} | average |", "|---|" + "---|" * (len(TESTS) + 1)]
    for method, row in content["methods"].items():
        shown = {name: float(np.mean(values)) for name, values in row["accuracy"].items()}
        shown["average"] = float(np.mean(list(shown.values())))
        cells = [
            f"{100 * shown[name]:.2f} ({paper:.2f})" if name in shown else f"– ({paper:.2f})"
            for name, paper in zip((*TESTS, "average"), PAPER[method], strict=True)
        ]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    lines += ["", f"{content['hardware']}; commit {content['commit']}", ""]
    page = RESULTS / f"{scale}.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def prepare(options: argparse.Namespace, scratch: Path) -> tuple[NoisyData, dict[str, FacePairs]]:
    """Load the training faces and the tests, or draw them."""
    scale = SCALES[options.scale]
    given = (options.calfw, options.cplfw, options.agedb, options.cfp)
    folders = dict(zip(TESTS, given, strict=True))
    training = options.train
    if training is None:
        if not scale.people:
            raise SystemExit("--scale paper needs --train and the folders of the tests")
        write_training(scratch, scale.people, scale.images, options.noise_rate)
        write_tests(scratch, max(10, scale.people // 2), scale.pairs)
        training = scratch / "train"
        drawn = (scratch / name for name in ("calfw", "cplfw", "agedb", "cfp"))
        folders = dict(zip(TESTS, drawn, strict=True))
    data = load_data(training, image_size=scale.image_size)
    tests = {name: read_test(name, place) for name, place in folders.items() if place is not None}
    if not tests:
        raise SystemExit("no test was given: name one of --calfw, --cplfw, --agedb, --cfp")
    return data, tests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    parser.add_argument("--methods", nargs="+", choices=PAPER, default=list(PAPER))
    parser.add_argument("--train", type=Path, help="folder with one folder a person")
    for name in ("calfw", "cplfw", "agedb", "cfp"):
        parser.add_argument(f"--{name}", type=Path, help="folder with images and list of pairs")
    parser.add_argument("--noise-rate", type=float, default=0.2, help="of Co-teaching's schedule")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    scale, target = SCALES[options.scale], RESULTS / f"{options.scale}.json"
    settings = asdict(scale) | {"noise_rate": options.noise_rate}
    known: dict[str, Any] = {}
    kind = "drawings" if options.train is None else "photographs"
    if target.exists():
        stored = json.loads(target.read_text(encoding="utf-8"))
        if stored["settings"] == settings and stored["data"] == kind:
            known = stored["methods"]
    with tempfile.TemporaryDirectory() as scratch:
        data, tests = prepare(options, Path(scratch))
        for method in options.methods:
            if method in known:
                continue
            known[method] = measure(method, data, tests, scale, options)
            content = {
                "settings": settings,
                "data": kind,
                "methods": {name: known[name] for name in PAPER if name in known},
                "hardware": hardware(),
                "commit": commit(),
            }
            target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print(f"{method}: wrote {write(options.scale, content)}")


if __name__ == "__main__":
    main()
