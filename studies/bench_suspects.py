"""Which score finds wrong labels, and whether it says how many: on tasks with known truth.

    python -m studies.bench_suspects --mnist data/mnist27k.npz

Trains Co-teaching with five seeds on each task, with its own schedule (told the noise rate) and
with one that keeps everything, and ranks the training samples by several scores. Writes
``studies/results/bench_suspects/README.md`` and one JSON file a task (a finished task is not run
again). The tasks are for choosing: nothing is judged on them. On the dim ones, MNIST at 14x14
pixels under strong noise, networks are right in 30 to 50%. In dim-look labels are wrong where
digits look alike.

| symbol | meaning |
|---|---|
| k | share of offers at which a sample was kept in the last epochs |
| p | predicted class probabilities; y: the given label; m: largest other p, minus p[y] |
| p', m' | the same by networks that have not seen the sample (five-fold cross-validation) |
| P(wrong) | probability that the label is wrong (`s2e_optuna.labels.quality`) |
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from s2e_optuna import Schedule
from s2e_optuna.data import NoisyData, from_arrays, load_data
from s2e_optuna.labels import unseen_probabilities
from s2e_optuna.labels.judging import suspicion
from s2e_optuna.labels.wrong_labels import true_label_probabilities
from s2e_optuna.training import TrainConfig, evaluate_schedules
from studies.settings import commit, hardware

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
    "dim-sym10": ("dim", "symmetric", 0.1),
    "dim-sym40": ("dim", "symmetric", 0.4),
    "dim-pair40": ("dim", "pair", 0.4),
    "dim-look10": ("dim", "look", 0.1),
    "dim-look40": ("dim", "look", 0.4),
}
MNIST_SIZE, MNIST_EPOCHS, DIGITS_EPOCHS = 3000, 40, 60
DIM_SIZES, DIM_EPOCHS, DIM_NOISE = (2000, 1500, 1500), 20, 0.8

CHOSEN = "(1 - k)/4 + (1 + m)/8 + (1 + m')/4"
ESTIMATED = "P(wrong)"

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
    if source == "dim":
        data = dim_data(mnist, kind, rate)
    else:
        data = load_data(
            "digits" if source == "digits" else mnist,
            noise=kind,
            noise_rate=rate,
            train_size=None if source == "digits" else MNIST_SIZE,
        )
    assert data.y_clean is not None
    given, wrong = data.y_train.numpy(), (data.y_clean != data.y_train).numpy()
    epochs = {"digits": DIGITS_EPOCHS, "mnist": MNIST_EPOCHS, "dim": DIM_EPOCHS}[source]
    config = TrainConfig(
        epochs=epochs,
        network="mlp" if source == "dim" else "auto",
        evaluate_every=epochs,
    )
    schedules = {
        "told the rate": Schedule.coteaching(epochs, rate),
        "keeps all": Schedule.constant(epochs),
    }
    entries = {words: ("coteaching", schedule) for words, schedule in schedules.items()}
    trained = evaluate_schedules(entries, data, config, SEEDS, keep_probabilities=True)
    found = []
    for words, results in trained.items():
        kept = np.stack([r.kept_counts / np.maximum(r.offered_counts, 1) for r in results])
        own = np.stack([r.training_probabilities for r in results if r.status == "complete"])
        unseen = unseen_probabilities(
            "coteaching", schedules[words], data, replace(config, seed=21)
        )
        ranked = scores(kept, own.astype(float), unseen.training.astype(float), given)
        assert unseen.clean is not None
        true = true_label_probabilities(unseen.training, given, unseen.clean, data.y_val.numpy())
        assert true is not None
        chances = 1.0 - true[np.arange(len(given)), given]
        ranked[ESTIMATED] = chances[None]
        listed = chances > 0.5
        found.append(
            {
                "task": f"{name}, {words}",
                "noise_rate": data.noise_rate,
                "samples": len(given),
                "test_accuracy": float(np.mean([r.test_accuracy[-1] for r in results])),
                "expected": {
                    "noise_rate": float(chances.mean()),
                    "precision": float(chances[listed].mean()) if listed.any() else None,
                    "listed": int(listed.sum()),
                },
                "scores": {score: quality(values, wrong) for score, values in ranked.items()},
                "hardware": hardware(),
                "commit": commit(),
            }
        )
    return found


def dim_data(mnist: str, kind: str, rate: float) -> NoisyData:
    """Make MNIST too hard for a small network: 14x14 pixels, and normal noise over them."""
    source = load_data(mnist)
    rng = np.random.default_rng(7)
    n_train, n_val, _ = DIM_SIZES
    images = source.x_train[: sum(DIM_SIZES)].numpy() / 255.0
    labels = source.y_train[: sum(DIM_SIZES)].numpy()
    small = images.reshape(len(labels), 14, 2, 14, 2).mean(axis=(2, 4))
    seen = (small + DIM_NOISE * rng.standard_normal(small.shape)).astype(np.float32)
    x = np.split(seen, [n_train, n_train + n_val])
    y = np.split(labels, [n_train, n_train + n_val])
    drawn = kind == "look"
    half = small + DIM_NOISE / 2 * rng.standard_normal(small.shape)
    given = _alike(half.reshape(len(labels), -1), labels, n_train, rate, rng) if drawn else y[0]
    return from_arrays(
        x[0],
        given,
        *(x[1], y[1], x[2], y[2]),
        y_clean=y[0] if drawn else None,
        noise=None if drawn else kind,
        noise_rate=None if drawn else rate,
        n_classes=10,
        name="dim",
    )


def _alike(
    x: Floats, labels: NDArray[np.int64], n_train: int, rate: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw labels by a classifier that sees more than the networks; a bias makes the rate fit."""
    fitted = LogisticRegression(C=0.01, max_iter=300).fit(x[n_train:], labels[n_train:])
    logs, true = fitted.predict_log_proba(x[:n_train]), np.eye(10)[labels[:n_train]]

    def shares(bias: float) -> Floats:
        return np.asarray(softmax(logs + bias * true, axis=1))

    bias = brentq(lambda b: float((shares(b) * true).sum(axis=1).mean()) - (1 - rate), -30, 60)
    return np.array([rng.choice(10, p=share) for share in shares(bias)])


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
        f"{DIGITS_EPOCHS} epochs), MNIST ({MNIST_SIZE:,} samples, {MNIST_EPOCHS} epochs), and",
        "dim: MNIST too hard for",
        f"the network ({DIM_SIZES[0]:,} samples under noise, {DIM_EPOCHS} epochs), in dim-look "
        "with labels that are wrong",
        "where digits look alike. k: share of offers at which a",
        "sample was kept in the last epochs; p: class probabilities, means over seeds; y: given",
        "label; m: largest p of another class, minus p[y]; m': the same in a five-fold",
        "cross-validation; P(wrong): probability that the label is wrong, by the same",
        "cross-validation and the clean validation part. These tasks are for tuning.",
        f"Chosen for `suspects.csv`: {ESTIMATED} where the validation part is clean, else",
        f"{CHOSEN}.",
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
    lines += ["", "## What P(wrong) expects, and the truth", ""]
    lines += ["Precision is that of the listed: those with P(wrong) above 0.5.", ""]
    lines += ["| task | accuracy | wrong | expected | listed | precision | expected |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for one in found:
        expected, truth = one["expected"], one["scores"][ESTIMATED]
        shares = (one["test_accuracy"], one["noise_rate"], expected["noise_rate"])
        cells = [one["task"], *(f"{share:.2f}" for share in shares), str(expected["listed"])]
        precisions = (truth["precision"], expected["precision"])
        cells += ["–" if share is None else f"{share:.2f}" for share in precisions]
        lines.append(f"| {' | '.join(cells)} |")
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
