"""Which score finds wrong labels: chosen here, on tasks with known truth.

    python -m studies.bench_suspects --mnist data/mnist27k.npz

Trains Co-teaching, told the noise rate, with five seeds on each task and ranks the training
samples by several scores. Writes ``studies/results/bench_suspects/README.md`` and one JSON file a
task (a finished task is not run again). The tasks are for choosing: nothing is judged on them.

| symbol | meaning |
|---|---|
| k | share of offers at which a sample was kept in the last epochs |
| p | predicted class probabilities; y: the given label; m: largest other p, minus p[y] |
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from s2e_optuna import Schedule
from s2e_optuna.training import TrainConfig, evaluate_schedules, load_data
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

CHOSEN = "(1 - k)/2 + (1 + m)/4, mean"

Floats = NDArray[np.float64]


def scores(kept: Floats, probabilities: Floats, given: NDArray[np.int64]) -> dict[str, Floats]:
    """Return scores by name: [S, N], where S is 1 for means over seeds, else the seeds.

    Parameters
    ----------
    kept
        k of each seed [S, N].
    probabilities
        p of each seed [S, N, C].
    given
        Labels [N].
    """
    rows = np.arange(len(given))
    wrong = probabilities.argmax(axis=2) != given
    of_given = probabilities[:, rows, given]
    k, p = kept.mean(axis=0), probabilities.mean(axis=0)
    margin = suspicion(p, given)
    return {
        "((1 - k) + [argmax p ≠ y])/2, one seed": ((1 - kept) + wrong) / 2,
        "1 - k, one seed": 1 - kept,
        "1 - p[y], one seed": 1 - of_given,
        "1 - k, mean": (1 - k)[None],
        "1 - p[y], mean": (1 - p[rows, given])[None],
        "(1 + m)/2, mean": margin[None],
        "((1 - k) + 1 - p[y])/2, mean": ((1 - k) + 1 - p[rows, given])[None] / 2,
        CHOSEN: suspicion(p, given, k)[None],
    }


def run(name: str, mnist: str) -> dict[str, Any]:
    """Train on one task; return what each score reaches."""
    source, kind, rate = TASKS[name]
    digits = source == "digits"
    data = load_data(
        source if digits else mnist,
        noise=kind,
        noise_rate=rate,
        train_size=None if digits else MNIST_SIZE,
    )
    epochs = DIGITS_EPOCHS if digits else MNIST_EPOCHS
    config = TrainConfig(epochs=epochs, keep_probabilities=True, evaluate_every=epochs)
    entries = {"it": ("coteaching", Schedule.coteaching(epochs, rate))}
    results = evaluate_schedules(entries, data, config, SEEDS)["it"]
    kept = np.stack([r.kept_counts / np.maximum(r.offered_counts, 1) for r in results])
    probabilities = np.stack([r.training_probabilities for r in results if r.status == "complete"])
    assert data.y_clean is not None
    given, wrong = data.y_train.numpy(), (data.y_clean != data.y_train).numpy()
    found = {}
    for score, values in scores(kept, probabilities.astype(float), given).items():
        listed = values > 0.5
        hits = (listed & wrong).sum(axis=1)
        found[score] = {
            "average_precision": float(
                np.mean([average_precision_score(wrong, v) for v in values])
            ),
            "precision": float(np.mean(hits / np.maximum(listed.sum(axis=1), 1))),
            "recall": float(np.mean(hits / wrong.sum())),
        }
    accuracy = float(np.mean([r.test_accuracy[-1] for r in results]))
    return {
        "task": name,
        "noise_rate": data.noise_rate,
        "samples": len(given),
        "test_accuracy": accuracy,
        "scores": found,
        "hardware": hardware(),
        "commit": commit(),
    }


def write() -> Path:
    """Set all tasks that have run side by side."""
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (RESULTS / f"{name}.json" for name in TASKS)
        if path.exists()
    ]
    lines = [
        "# Which score finds wrong labels",
        "",
        "`python -m studies.bench_suspects`: Co-teaching told the noise rate, MLP, five seeds,",
        f"digits (1,000 samples, {DIGITS_EPOCHS} epochs) and MNIST ({MNIST_SIZE:,} samples, "
        f"{MNIST_EPOCHS} epochs).",
        "k: share of offers at which a sample was kept in the last epochs; p: class",
        "probabilities; y: given label; m: largest p of another class, minus p[y]. For tuning.",
        f"Chosen for `suspects.csv`: {CHOSEN}.",
    ]
    names = list(found[0]["scores"])
    for title, cell in (
        ("Average precision of the ranking", lambda row: f"{row['average_precision']:.3f}"),
        (
            "Precision / recall of those above 0.5",
            lambda row: f"{row['precision']:.2f} / {row['recall']:.2f}",
        ),
    ):
        lines += ["", f"## {title}", "", f"| score | {' | '.join(f['task'] for f in found)} |"]
        lines.append("|---|" + "---|" * len(found))
        lines += [f"| {n} | {' | '.join(cell(f['scores'][n]) for f in found)} |" for n in names]
    lines += ["", *(f"* {f['task']}: {f['hardware']}; commit {f['commit']}" for f in found), ""]
    page = RESULTS / "README.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


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
