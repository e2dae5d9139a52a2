"""Which score finds wrong labels: chosen here, on tasks with known truth.

    python -m studies.bench_suspects --mnist data/mnist27k.npz

Trains Co-teaching with five seeds on each task, with its own schedule (told the noise rate) and
with one that keeps everything, and ranks the training samples by several scores. Writes
``studies/results/bench_suspects/README.md`` and one JSON file a task (a finished task is not run
again). The tasks are for choosing: nothing is judged on them.

| symbol | meaning |
|---|---|
| k | share of offers at which a sample was kept in the last epochs |
| p | predicted class probabilities; y: the given label; m: largest other p, minus p[y] |
| p', m' | the same by networks that have not seen the sample (five-fold cross-validation) |
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from s2e_optuna import Schedule
from s2e_optuna.training import (
    TrainConfig,
    evaluate_schedules,
    load_data,
    unseen_probabilities,
)
from s2e_optuna.training.suspects import suspicion
from studies.main_job import commit, hardware

RESULTS = Path(__file__).parent / "results" / "bench_suspects"

SEEDS = (11, 12, 13, 14, 15)

TASKS: dict[str, tuple[str, str, float]] = {
    "digits-sym10": ("digits", "symmetric", 0.1),
    "digits-sym50": ("digits", "symmetric", 0.5),
    "digits-pair45": ("digits", "pair", 0.45),
    "digits-inst30": ("digits", "instance", 0.3),
    "mnist-sym50": ("mnist", "symmetric", 0.5),
    "mnist-pair45": ("mnist", "pair", 0.45),
    "mnist-inst20": ("mnist", "instance", 0.2),
}
MNIST_SIZE, MNIST_EPOCHS, DIGITS_EPOCHS = 3000, 40, 60

CHOSEN = "(1 - k)/4 + (1 + m)/8 + (1 + m')/4"

Floats = NDArray[np.float64]


def scores(
    kept: Floats, probabilities: Floats, unseen: Floats, given: NDArray[np.int64]
) -> dict[str, Floats]:
    """Return scores by name: [S, N], where S is 1 for means over seeds, else the seeds.

    Parameters
    ----------
    kept
        k of each seed [S, N].
    probabilities
        p of each seed [S, N, C].
    unseen
        p' [N, C].
    given
        Labels [N].
    """
    rows = np.arange(len(given))
    wrong = probabilities.argmax(axis=2) != given
    k, p = kept.mean(axis=0), probabilities.mean(axis=0)
    return {
        "((1 - k) + [argmax p ≠ y])/2, one seed": ((1 - kept) + wrong) / 2,
        "1 - k": (1 - k)[None],
        "1 - p[y]": (1 - p[rows, given])[None],
        "(1 + m)/2": suspicion(p, given)[None],
        "(1 - k)/2 + (1 + m)/4": suspicion(p, given, k)[None],
        "(1 + m')/2": suspicion(unseen, given)[None],
        "(1 - k)/2 + (1 + m')/4": suspicion(unseen, given, k)[None],
        CHOSEN: suspicion(p, given, k, unseen)[None],
    }


def run(name: str, mnist: str) -> list[dict[str, Any]]:
    """Train on one task with both schedules; return what each score reaches."""
    source, kind, rate = TASKS[name]
    digits = source == "digits"
    data = load_data(
        source if digits else mnist,
        noise=kind,
        noise_rate=rate,
        train_size=None if digits else MNIST_SIZE,
    )
    assert data.y_clean is not None
    given, wrong = data.y_train.numpy(), (data.y_clean != data.y_train).numpy()
    epochs = DIGITS_EPOCHS if digits else MNIST_EPOCHS
    config = TrainConfig(epochs=epochs, keep_probabilities=True, evaluate_every=epochs)
    schedules = {
        "told the rate": Schedule.coteaching(epochs, rate),
        "keeps all": Schedule.constant(epochs),
    }
    entries = {words: ("coteaching", schedule) for words, schedule in schedules.items()}
    trained = evaluate_schedules(entries, data, config, SEEDS)
    found = []
    for words, results in trained.items():
        kept = np.stack([r.kept_counts / np.maximum(r.offered_counts, 1) for r in results])
        own = np.stack([r.training_probabilities for r in results if r.status == "complete"])
        unseen = unseen_probabilities(
            "coteaching", schedules[words], data, replace(config, seed=21)
        )
        ranked = scores(kept, own.astype(float), unseen.astype(float), given)
        found.append(
            {
                "task": f"{name}, {words}",
                "noise_rate": data.noise_rate,
                "samples": len(given),
                "test_accuracy": float(np.mean([r.test_accuracy[-1] for r in results])),
                "scores": {score: quality(values, wrong) for score, values in ranked.items()},
                "hardware": hardware(),
                "commit": commit(),
            }
        )
    return found


def quality(values: Floats, wrong: NDArray[np.bool_]) -> dict[str, float | None]:
    """Average precision, and precision and recall of what is above 0.5; means over rows."""
    listed = values > 0.5
    hits, counts = (listed & wrong).sum(axis=1), listed.sum(axis=1)
    return {
        "average_precision": float(np.mean([average_precision_score(wrong, v) for v in values])),
        "precision": float(np.mean(hits / counts)) if counts.all() else None,
        "recall": float(np.mean(hits / wrong.sum())),
    }


def write() -> Path:
    """Set all tasks that have run side by side."""
    found = [
        one
        for path in (RESULTS / f"{name}.json" for name in TASKS)
        if path.exists()
        for one in json.loads(path.read_text(encoding="utf-8"))
    ]
    lines = [
        "# Which score finds wrong labels",
        "",
        "`python -m studies.bench_suspects`: Co-teaching on the MLP, five seeds, with its",
        "schedule (told the noise rate) and with one that keeps everything; digits (1,000 images,",
        f"{DIGITS_EPOCHS} epochs) and MNIST ({MNIST_SIZE:,} samples, {MNIST_EPOCHS} epochs). k: "
        "share of offers at which a",
        "sample was kept in the last epochs; p: class probabilities, means over seeds; y: given",
        "label; m: largest p of another class, minus p[y]; m': the same in a five-fold",
        "cross-validation. These tasks are for tuning.",
        f"Chosen for `suspects.csv`: {CHOSEN}.",
    ]
    names = list(found[0]["scores"])
    for title, cell in (
        ("Average precision of the ranking", lambda row: f"{row['average_precision']:.3f}"),
        ("Precision / recall of those above 0.5", _listed),
    ):
        lines += ["", f"## {title}", "", f"| task | {' | '.join(names)} |"]
        lines.append("|---|" + "---|" * len(names))
        lines += [
            f"| {f['task']} | {' | '.join(cell(f['scores'][n]) for n in names)} |" for f in found
        ]
    lines += ["", *(f"* {f['task']}: {f['hardware']}; commit {f['commit']}" for f in found), ""]
    page = RESULTS / "README.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def _listed(row: dict[str, float | None]) -> str:
    precision = row["precision"]
    return f"{'–' if precision is None else f'{precision:.2f}'} / {row['recall']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help="all by default")
    parser.add_argument("--mnist", default="mnist", help="where MNIST is [default: torchvision]")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in arguments.tasks:
        target = RESULTS / f"{name}.json"
        if not target.exists():
            target.write_text(json.dumps(run(name, arguments.mnist), indent=1) + "\n")
        print(f"{name}: {write()}")


if __name__ == "__main__":
    main()
