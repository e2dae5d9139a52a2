"""What a handful of checked validation labels is worth: rules that choose a schedule, compared.

    python -m studies.bench_checked --mnist data/mnist27k.npz --features cifar10n.npz

Random schedules are trained with Co-teaching for each task and seed, once; predictions are kept
under ``runs/bench_checked``. Validation labels are as noisy as the others; some, drawn at random
again and again, are checked, and every rule chooses a schedule by what it then knows. What counts
is the test accuracy of the schedule's network.

``--features`` is a file of features of images (`studies.lite_features`) of CIFAR-10 and of their
labels in CIFAR-10N: ``x_train``, ``y_clean``, ``y_aggregate``, ``y_random1``, ``y_worst``,
``x_test`` and ``y_test``.

Writes ``studies/results/bench_checked``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray

from s2e_optuna.data import NoisyData, from_arrays, load_data
from s2e_optuna.data.preparation import AS_THEY_ARE
from s2e_optuna.data.pretrained_vectors import Vectors
from s2e_optuna.data.projection import Projection
from s2e_optuna.data.streaming import take
from s2e_optuna.labels import NOT_CHECKED, check_labels, tempered_average
from s2e_optuna.labels.expected import validation_average
from s2e_optuna.labels.transition import count_pairs, rows_to_one, symmetric_matrix
from s2e_optuna.labels.witness import PSEUDO_SAMPLES
from s2e_optuna.schedules import suggest_schedule
from s2e_optuna.training import TrainConfig, TrainResult, predict_proba, train
from studies.pages import write_text
from studies.settings import RESULTS as ALL_RESULTS
from studies.settings import RUNS, StudyError, commit, hardware

RESULTS = ALL_RESULTS / "bench_checked"

TASKS = {
    f"{source}-{name}": (source, kind, rate)
    for source in ("digits", "mnist")
    for name, kind, rate in (
        ("sym50", "symmetric", 0.5),
        ("pair45", "pair", 0.45),
        ("inst30", "instance", 0.3),
    )
} | {f"cifar-{name}": ("cifar", name, None) for name in ("aggregate", "random1", "worst")}
EPOCHS = {"digits": 60, "mnist": 20, "cifar": 20}
TRAINING, VALIDATION = 4000, 1000
"""Samples of MNIST and CIFAR-10N."""

SEEDS = (0, 1, 2, 3, 4)
SCHEDULES, STACK = 32, 8
CHECKED = (10, 20, 50, 100)
DRAWS = 20
BEST = 8

GIVEN, CLEAN = "accuracy on the given labels", "accuracy on all true labels"
FEW = "accuracy on the checked alone"
FORWARD = "forward-corrected likelihood"
PRUNED = "accuracy on what confident learning leaves"
EXPECTED = "expected accuracy (the product's)"
OF_BEST = "the same, average of the eight best candidates"
MISTAKEN = "the product's, 5% of the answers wrong"
FEW_MISTAKEN = "the checked alone, 5% of the answers wrong"
MISTAKES = 0.05
WITH_MISTAKES = {FEW_MISTAKEN: FEW, MISTAKEN: EXPECTED}
RULES = (FEW, FEW_MISTAKEN, FORWARD, PRUNED, EXPECTED, MISTAKEN, OF_BEST)

Array = NDArray[np.float64]
Found = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Sources:
    """Where the data are."""

    mnist: str = "mnist"
    features: Path | None = None


def task_data(name: str, sources: Sources, seed: int) -> NoisyData:
    """Load a task's data; the validation part is as noisy as the training part."""
    source, kind, rate = TASKS[name]
    if source == "digits":
        return load_data("digits", noise=kind, noise_rate=rate, seed=seed, validation="noisy")
    size = TRAINING + VALIDATION
    if source == "mnist":
        data = load_data(sources.mnist, noise=kind, noise_rate=rate, seed=seed, train_size=size)
    else:
        data = _human(kind, sources.features, seed, size)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    kept, cut = order[:TRAINING].sort().values, order[TRAINING:].sort().values
    assert data.y_clean is not None
    return replace(
        data,
        x_train=take(data.x_train, kept),
        y_train=data.y_train[kept],
        y_clean=data.y_clean[kept],
        x_val=take(data.x_train, cut),
        y_val=data.y_train[cut],
        y_val_clean=data.y_clean[cut],
        ids=tuple(data.ids[i] for i in kept.tolist()),
        val_ids=tuple(data.ids[i] for i in cut.tolist()),
        validation="noisy",
        validation_source="train",
    )


def _human(column: str, path: Path | None, seed: int, size: int) -> NoisyData:
    """Load features of images, and labels that people gave."""
    if path is None:
        raise StudyError("say where the features are: --features FILE.npz")
    with np.load(path) as file:
        vectors = {
            part: Vectors([x], np.stack([0 * np.arange(len(x)), np.arange(len(x))], axis=1))
            for part, x in (("train", file["x_train"]), ("test", file["x_test"]))
        }
        projection = Projection.fit(vectors["train"], None)
        return from_arrays(
            projection.apply(vectors["train"]),
            file[f"y_{column}"],
            x_test=projection.apply(vectors["test"]),
            y_test=file["y_test"],
            y_clean=file["y_clean"],
            name=f"cifar10n-{column}",
            seed=seed,
            train_size=size,
            preparation=AS_THEY_ARE,
        )


def predictions(name: str, sources: Sources, seed: int) -> Found:
    """Train a task's schedules to their last epoch, or read what was kept of it."""
    place = RUNS / "bench_checked" / f"{name}-{seed}.npz"
    if place.is_file():
        with np.load(place) as file:
            return {key: file[key] for key in file.files}
    data, epochs = task_data(name, sources, seed), EPOCHS[TASKS[name][0]]
    assert data.y_val_clean is not None
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    schedules = [suggest_schedule(study.ask(), epochs) for _ in range(SCHEDULES)]
    config = TrainConfig(epochs=epochs, seed=seed, stop="last", evaluate_every=epochs)
    found: list[TrainResult] = []
    for start in range(0, SCHEDULES, STACK):
        found += train("coteaching", schedules[start : start + STACK], data, config)
    kept: Found = {
        "validation": np.stack([predict_proba(r.model, data.x_val) for r in found if r.model]),
        "test": np.array([r.test_accuracy[-1] for r in found]),
        "given": data.y_val.numpy(),
        "true": data.y_val_clean.numpy(),
        "average": validation_average(data, replace(config, evaluate_every=1)),
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part.npz")
    np.savez_compressed(part, allow_pickle=False, **kept)
    part.replace(place)
    return kept


def values(found: Found, rule: str, checked: NDArray[np.int64]) -> Array:
    """Say what a rule thinks of each candidate, when these validation samples are checked."""
    probabilities = found["validation"].astype(np.float64)
    given, truth = found["given"], found["true"]
    predicted = probabilities.argmax(axis=2)
    if rule == GIVEN:
        return np.asarray((predicted == given).mean(axis=1))
    few = np.asarray((predicted[:, checked] == truth[checked]).mean(axis=1))
    if rule == FEW:
        return few
    if rule == FORWARD:
        return forward_likelihood(probabilities, given, truth, checked)
    known = np.full(len(given), NOT_CHECKED)
    known[checked] = truth[checked]
    average = found["average"]
    if rule == PRUNED:
        kept = confident_labels(average, given)
        kept[checked] = True
        right = predicted == np.where(known == NOT_CHECKED, given, truth)
        return np.asarray(right[:, kept].mean(axis=1))
    if rule == OF_BEST:
        average = tempered_average(probabilities[np.argsort(-few, kind="stable")[:BEST]])
    return np.asarray(check_labels(given, known, average).value(predicted))


def answered(found: Found, seed: int, draw: int) -> Found:
    """Let a person who is wrong now and then answer: what is found, with these answers as true.

    Such a person takes a wrong label for right, and a right one for any other class.
    """
    rng = np.random.default_rng([seed, draw, 5])
    given, truth = found["given"], found["true"]
    n_classes = found["validation"].shape[2]
    other = (truth + rng.integers(1, n_classes, len(truth))) % n_classes
    wrong = rng.random(len(truth)) < MISTAKES
    return {**found, "true": np.where(wrong, np.where(given == truth, other, given), truth)}


def confident_labels(probabilities: Array, given: NDArray[Any]) -> NDArray[np.bool_]:
    """Say which labels confident learning leaves: booleans [N].

    A label goes where the most probable of the classes that are at least as probable as for
    samples of that label on average is another one (Northcutt et al., JAIR 2021).
    """
    own = probabilities[np.arange(len(given)), given]
    classes = range(probabilities.shape[1])
    mean = [own[given == c].mean() if (given == c).any() else np.inf for c in classes]
    confident = probabilities >= np.array(mean)
    likely = np.where(confident, probabilities, -1.0).argmax(axis=1)
    return np.asarray(~confident.any(axis=1) | (likely == given))


def forward_likelihood(
    probabilities: Array, given: NDArray[Any], truth: NDArray[Any], checked: NDArray[np.int64]
) -> Array:
    """Log likelihood of checked labels and, through T that they suggest, of the others."""
    n_classes = probabilities.shape[2]
    counts = count_pairs(truth[checked], given[checked], n_classes)
    wrong = 1.0 - float(np.trace(counts) / counts.sum())
    matrix = rows_to_one(counts + PSEUDO_SAMPLES * symmetric_matrix(wrong, n_classes))
    rest = np.setdiff1d(np.arange(len(given)), checked)
    of_checked = probabilities[:, checked, truth[checked]]
    of_rest = (probabilities @ matrix)[:, rest, given[rest]]
    total = sum(np.log(np.maximum(p, 1e-9)).sum(axis=1) for p in (of_checked, of_rest))
    return np.asarray(total)


def run(name: str, sources: Sources, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Let every rule choose, for all seeds and draws; return the means of test accuracies."""
    chosen: dict[str, list[float]] = {}
    spread: dict[str, float] = {}
    for seed in seeds:
        found = predictions(name, sources, seed)
        test, n_samples = found["test"], len(found["given"])
        everything = np.arange(n_samples)
        for key, value in (
            ("best", test.max()),
            ("median", np.median(test)),
            (GIVEN, test[values(found, GIVEN, everything).argmax()]),
            (CLEAN, test[values(found, FEW, everything).argmax()]),
        ):
            chosen.setdefault(key, []).append(float(value))
        for rule in RULES:
            for number in CHECKED:
                for draw in range(DRAWS):
                    rng = np.random.default_rng([seed, draw])
                    checked = rng.choice(n_samples, number, replace=False)
                    asked = answered(found, seed, draw) if rule in WITH_MISTAKES else found
                    best = int(values(asked, WITH_MISTAKES.get(rule, rule), checked).argmax())
                    chosen.setdefault(f"{rule}, {number}", []).append(float(test[best]))
    for key, numbers in chosen.items():
        spread[key] = float(np.std(numbers))
    return {
        "task": name,
        "seeds": list(seeds),
        "validation_samples": n_samples,
        "test_accuracy": {key: float(np.mean(numbers)) for key, numbers in chosen.items()},
        "spread": spread,
        "hardware": hardware(),
        "commit": commit(),
    }


def picture(contents: list[dict[str, Any]], place: Path) -> None:
    """Draw test accuracy by the number of checked labels, one panel a task."""
    from matplotlib.figure import Figure

    columns = 3
    rows = -(-len(contents) // columns)
    figure = Figure(figsize=(4.0 * columns, 3.0 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, content in zip(axes, contents, strict=False):
        accuracy = content["test_accuracy"]
        for rule, colour in ((FEW, "tab:orange"), (FORWARD, "tab:green"), (EXPECTED, "tab:blue")):
            numbers = [100 * accuracy[f"{rule}, {number}"] for number in CHECKED]
            ax.plot(CHECKED, numbers, "o-", color=colour, label=rule)
        ax.axhline(100 * accuracy[GIVEN], color="tab:red", linestyle=":", label=GIVEN)
        ax.axhline(100 * accuracy[CLEAN], color="black", linestyle="--", label=CLEAN)
        ax.set(title=content["task"], xscale="log", xlabel="checked", ylabel="test accuracy, %")
        ax.set_xticks(CHECKED, [str(number) for number in CHECKED])
    for ax in axes[len(contents) :]:
        ax.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.savefig(place, dpi=110)


def write() -> Path:
    """Write page and picture from what all tasks have left."""
    found = [RESULTS / f"{name}.json" for name in TASKS]
    contents = [json.loads(p.read_text(encoding="utf-8")) for p in found if p.is_file()]
    head = ["rule", "checked", *(content["task"] for content in contents)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]

    def row(words: str, number: str, key: str) -> None:
        found = [
            content["test_accuracy"] | {"seeds": len(content["seeds"])} for content in contents
        ]
        cells = [
            str(f[key]) if key == "seeds" else f"{100 * f[key]:.1f}" if key in f else "not run"
            for f in found
        ]
        lines.append(f"| {words} | {number} | {' | '.join(cells)} |")

    row("best of the schedules", "", "best")
    row("median", "", "median")
    row(CLEAN, "all", CLEAN)
    row(GIVEN, "0", GIVEN)
    for rule in RULES:
        for number in CHECKED:
            row(rule, str(number), f"{rule}, {number}")
    picture(contents, RESULTS / "checked.png")
    row("seeds", "", "seeds")
    notes = RESULTS / "notes.md"
    said = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    page = RESULTS / "README.md"
    commits = ", ".join(dict.fromkeys(content["commit"] for content in contents))
    write_text(
        page,
        f"""# What a handful of checked labels is worth

`python -m studies.bench_checked`: test accuracy, in %, of the schedule that a rule chooses among
{SCHEDULES} random ones (Co-teaching, networks of the last epoch). Validation labels are as noisy
as the training labels: {VALIDATION:,} beside {TRAINING:,} of MNIST and CIFAR-10N
(features of a small pretrained network), 200 beside 800 of the digits. Some are checked, drawn at
random; means over {DRAWS} draws and the seeds of data and trainings. Test data choose nothing.

![Test accuracy by the number of checked labels](checked.png)

{chr(10).join(lines)}

The product's rule is `s2e_optuna.labels.checked`: accuracy on the given labels, each class weighed
with how probable it is. The average of four networks that are trained before a search, for half
the epochs, is a second witness of that beside the given label; confident learning prunes by the
same average. The last rows take the average of the eight candidates that are best on the checked
samples in its place. A person whose answers are wrong in 5% takes a wrong label for right, and a
right one for any other class.

{said}
{contents[0]["hardware"]}; commit {commits}.
""",
    )
    return page


def main(words: list[str] | None = None, out: Callable[[str], None] = print) -> None:
    """Run the tasks that are named, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help="all by default")
    parser.add_argument("--mnist", default="mnist", help="where MNIST is [default: torchvision]")
    parser.add_argument("--features", type=Path, help="features and labels of CIFAR-10N")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    asked = parser.parse_args(words)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in asked.tasks:
        content = run(name, Sources(asked.mnist, asked.features), tuple(asked.seeds))
        write_text(RESULTS / f"{name}.json", json.dumps(content, indent=1) + "\n")
        out(f"{name}: {write()}")


if __name__ == "__main__":
    main()
