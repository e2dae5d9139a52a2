"""How far the last step goes: from the best that people would do to training on the true labels.

    python -m studies.final_model --mnist data/mnist27k.npz --features data/cifar_features.npz

No schedule is searched. With the same data, stopped by the same clean part: plain training, a
logistic regression, the clean part alone and Co-teaching at the estimated noise rate; training on
the posterior that follows them; and plain training on the true labels, which nobody has. The
baseline is the best of the first by validation; what counts is the test accuracy. A draw that is
stored is not made again. Writes ``studies/results/final_model``: a JSON file a task, README.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2e_optuna.data import NoisyData
from s2e_optuna.labels.linear import linear_model
from s2e_optuna.schedules import Schedule
from s2e_optuna.search.final import comparison_entries, final_seeds, scores, train_final
from s2e_optuna.search.posterior import estimated_rate
from s2e_optuna.training import TrainConfig, evaluate_schedules
from studies.bench_cleanlab import EPOCHS, IMAGES, Places, load
from studies.pages import write_text
from studies.settings import RESULTS as ALL_RESULTS
from studies.settings import commit, hardware

RESULTS = ALL_RESULTS / "final_model"

TASKS = {
    "digits, symmetric 50%": ("digits", "symmetric", 0.5),
    "digits, pair 45%": ("digits", "pair", 0.45),
    "MNIST, symmetric 20%": ("mnist", "symmetric", 0.2),
    "MNIST, symmetric 50%": ("mnist", "symmetric", 0.5),
    "MNIST, pair 45%": ("mnist", "pair", 0.45),
    "CIFAR-10N aggregate": ("features", "aggregate", 0.0),
    "CIFAR-10N worst": ("features", "worst", 0.0),
}
DRAWS, SEEDS, FOLDS = 5, 2, 5

NAMES = {
    "standard": "plain training",
    "linear": "linear model",
    "clean_only": "clean part alone",
    "coteaching_estimated": "Co-teaching, rate estimated",
    "posterior": "posterior",
    "true": "true labels",
}
OURS, BOUND = "posterior", "true"


def run(task: tuple[str, str, float], seed: int, places: Places) -> dict[str, Any]:
    """Train in every way; return test accuracies, and the baseline that validation names."""
    data = load(*task, places, seed)
    config = TrainConfig(epochs=EPOCHS[task[0]], network="mlp", device="cpu", seed=100 + seed)
    linear = linear_model(data, config.seed, FOLDS)
    rate = estimated_rate(data, linear.unseen)
    everything = comparison_entries(Schedule.constant(config.epochs), estimated_rate=rate)
    entries = {name: way for name, way in everything.items() if name != "s2e"}
    final = train_final(
        entries, data, config, seeds=SEEDS, folds=FOLDS, posterior=True, linear=linear
    )
    rows = scores(entries, final)
    found = {name: float(np.mean(row.test_accuracy)) for name, row in rows.items()}
    judged = {name: float(np.mean(row.expected_validation)) for name, row in rows.items()}
    baseline = max((name for name in judged if name != OURS), key=lambda name: judged[name])
    return {"test_accuracy": found | {BOUND: on_true_labels(data, config)}, "baseline": baseline}


def on_true_labels(data: NoisyData, config: TrainConfig) -> float:
    """Return the test accuracy of plain training on the true labels, stopped."""
    assert data.y_clean is not None
    right = replace(data, y_train=data.y_clean, noise="none")
    ways = {"plain": ("standard", None)}
    final = evaluate_schedules(ways, right, config, final_seeds(config.seed, SEEDS))["plain"]
    return float(np.mean([run.test_accuracy[run.stopped_epoch or 0] for run in final]))


def share_of_the_way(draws: list[dict[str, Any]]) -> float:
    """Return how far the posterior is from baseline to true labels, by means over the draws."""
    means = {key: np.mean([one["test_accuracy"][key] for one in draws]) for key in (OURS, BOUND)}
    baseline = np.mean([one["test_accuracy"][one["baseline"]] for one in draws])
    return float((means[OURS] - baseline) / (means[BOUND] - baseline))


def write() -> Path:
    """Set all tasks that have run side by side."""
    lines = [
        "# From the best baseline to the true labels",
        "",
        f"`python -m studies.final_model`: test accuracy in %, means over draws of the labels (of "
        f"CIFAR-10N, whose labels people gave, of {IMAGES:,} images as features), {SEEDS} seeds "
        "each. No schedule is searched. Digits: 1,000 images, 397 clean ones; MNIST: 4,000 and "
        "1,000; CIFAR-10N: 1,000 clean ones. All trainings are stopped by the clean part. "
        "Baseline: the best by validation of the first four, draw by draw. Share: how far the "
        "posterior is from it to plain training on the true labels.",
        "",
        f"| task | {' | '.join(NAMES.values())} | baseline | share | draws |",
        "|---|" + "---|" * (len(NAMES) + 3),
    ]
    notes = []
    for name in TASKS:
        place = _place(name)
        if not place.is_file():
            continue
        content = json.loads(place.read_text(encoding="utf-8"))
        draws = list(content["draws"].values())
        cells = []
        for key in NAMES:
            values = [d["test_accuracy"][key] for d in draws if key in d["test_accuracy"]]
            cells.append(f"{100 * np.mean(values):.1f}" if values else "")
        of = 100 * np.mean([one["test_accuracy"][one["baseline"]] for one in draws])
        cells += [f"{of:.1f}", f"{100 * share_of_the_way(draws):.0f}%", str(len(draws))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        notes.append(f"* {name}: {content['hardware']}; commit {content['commit']}")
    page = RESULTS / "README.md"
    write_text(page, "\n".join([*lines, "", *notes, ""]))
    return page


def _place(task: str) -> Path:
    words = "".join(c if c.isalnum() else " " for c in task.lower()).split()
    return RESULTS / f"{'-'.join(words)}.json"


def main(words: list[str] | None = None) -> None:
    """Run the tasks whose names contain a word, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tasks", nargs="*", help="words in a task's name; all by default")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--mnist", default="mnist", help="where MNIST is [default: torchvision]")
    parser.add_argument("--features", default="cifar_features.npz", help="CIFAR-10N as features")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    places = Places(asked.mnist, asked.features)
    for seed in range(asked.draws):
        for name, task in TASKS.items():
            if asked.tasks and not any(word in name for word in asked.tasks):
                continue
            place, draws = _place(name), {}
            if place.is_file():
                draws = json.loads(place.read_text(encoding="utf-8"))["draws"]
            if str(seed) not in draws:
                draws[str(seed)] = run(task, seed, places)
                content = {"draws": draws, "hardware": hardware(), "commit": commit()}
                write_text(place, json.dumps(content, indent=1) + "\n")
            print(f"{name}, draw {seed}: {write()}", flush=True)


if __name__ == "__main__":
    main()
