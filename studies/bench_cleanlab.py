"""Wrong labels, found by cleanlab and by `s2e_optuna.labels`: average precision, side by side.

    python -m venv /tmp/cleanlab && /tmp/cleanlab/bin/pip install cleanlab
    python -m studies.bench_cleanlab --cleanlab /tmp/cleanlab/bin/python \
        --mnist data/mnist27k.npz --features data/cifar_features.npz

cleanlab runs in its own environment, on the same arrays: labels and out-of-sample probabilities
of a logistic regression whose penalty the clean validation part chose, and of networks trained
plainly and stopped by that part (five folds each). Of its three scores, two of them with and
without ``adjust_pred_probs``, the best by the truth is shown, which favours it. It knows no clean
samples; ours have them. A draw that is stored is not made again. ``--features`` is a file of
CIFAR-10 images as features (``x_train``, ``x_val``, ``x_test`` and labels) with the labels of
people beside them (``y_worst``, ...). Writes ``studies/results/bench_cleanlab``: a JSON file a
task, and README.md from all of them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from s2e_optuna.data import NoisyData, from_arrays, load_data
from s2e_optuna.labels import CleanPart, Unseen, assess_labels, unseen_probabilities
from s2e_optuna.labels.linear import linear_model
from s2e_optuna.labels.out_of_fold import validation_halves
from s2e_optuna.labels.predictors import together
from s2e_optuna.search.posterior import choose_predictors, clean_alone, clean_jobs
from s2e_optuna.training import TrainConfig
from s2e_optuna.training.jobs import in_turn
from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "bench_cleanlab"

TASKS = {
    "digits, symmetric 20%": ("digits", "symmetric", 0.2),
    "digits, symmetric 50%": ("digits", "symmetric", 0.5),
    "digits, pair 45%": ("digits", "pair", 0.45),
    "digits, instance 30%": ("digits", "instance", 0.3),
    "MNIST, 4,000 samples, symmetric 20%": ("mnist", "symmetric", 0.2),
    "CIFAR-10N aggregate, features": ("features", "aggregate", 0.0),
    "CIFAR-10N random1, features": ("features", "random1", 0.0),
    "CIFAR-10N worst, features": ("features", "worst", 0.0),
}
EPOCHS = {"digits": 60, "mnist": 20, "features": 30}
SEEDS, VALIDATION, IMAGES = (0, 1, 2), 1000, 5000


@dataclass(frozen=True)
class Places:
    """Where data are that no package brings."""

    mnist: str
    features: str


PEER = """
import json, sys, warnings
import numpy as np
from cleanlab import __version__
from cleanlab.rank import get_label_quality_scores
warnings.simplefilter("ignore")
arrays, found = np.load(sys.argv[1]), {}
for name in sys.argv[3:]:
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        for adjust in (False, True):
            if adjust and method == "confidence_weighted_entropy":
                continue  # it refuses
            scores = get_label_quality_scores(
                arrays["labels"], arrays[name], method=method, adjust_pred_probs=adjust)
            found[f"{name}/{method}/{adjust}"] = scores.tolist()
with open(sys.argv[2], "w") as file:
    json.dump({"version": __version__, "scores": found}, file)
"""


def load(source: str, kind: str, rate: float, places: Places, seed: int) -> NoisyData:
    """Read a task's data, with its own draw for each seed: of labels, or of images."""
    if source == "digits":
        return load_data("digits", noise=kind, noise_rate=rate, seed=seed)
    if source == "features":
        with np.load(places.features) as file:
            drawn = np.random.default_rng(seed).permutation(len(file["x_train"]))[:IMAGES]
            kept = np.sort(drawn)
            parts = [file[name] for name in ("x_val", "y_val", "x_test", "y_test")]
            x, given, true = (file[name][kept] for name in ("x_train", f"y_{kind}", "y_clean"))
        return from_arrays(x, given, *parts, y_clean=true, n_classes=10, name=f"CIFAR-10N {kind}")
    data = load_data(places.mnist, noise=kind, noise_rate=rate, train_size=4000, seed=seed)
    return replace(data, x_val=data.x_val[:VALIDATION], y_val=data.y_val[:VALIDATION])


def of_cleanlab(
    python: str, labels: NDArray[np.int64], arrays: dict[str, NDArray[np.float32]]
) -> tuple[str, dict[str, NDArray[np.float64]]]:
    """Score labels in cleanlab's environment; return its version, and scores by name."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "arrays.npz", Path(folder) / "scores.json"
        doubles = {name: array.astype(np.float64) for name, array in arrays.items()}
        normal = {name: a / a.sum(axis=1, keepdims=True) for name, a in doubles.items()}
        np.savez(given, labels=labels, allow_pickle=False, **normal)
        subprocess.run([python, "-c", PEER, str(given), str(found), *arrays], check=True)
        content = json.loads(found.read_text(encoding="utf-8"))
    return content["version"], {k: np.asarray(v) for k, v in content["scores"].items()}


def ours(data: NoisyData, unseen: Unseen) -> NDArray[np.float64]:
    """Return how probably each label is wrong."""
    assert unseen.clean is not None
    clean = CleanPart(data.y_val.numpy(), unseen.clean[:2])
    return assess_labels(data.y_train.numpy(), unseen.training, clean).wrong_probability


def run(
    task: tuple[str, str, float], seed: int, places: Places, python: str
) -> dict[str, float | str]:
    """Return average precisions by name, and cleanlab's version."""
    data = load(*task, places, seed)
    assert data.y_clean is not None
    given, wrong = data.y_train.numpy(), (data.y_clean != data.y_train).numpy()
    config = TrainConfig(epochs=EPOCHS[task[0]], network="mlp", device="cpu", seed=100 + seed)
    linear = linear_model(data, seed).unseen
    networks = unseen_probabilities("standard", None, data, config)
    halves = validation_halves(data, config.seed)
    seeds = [200 + seed, 300 + seed]
    trained = in_turn(clean_jobs(halves, config, seeds), data, lambda *_: None)
    clean = clean_alone(data, halves, trained)
    chosen = together(list(choose_predictors(data, networks, linear, clean).values()))
    arrays = {"linear": linear.training, "networks": networks.training, "all": chosen.training}
    version, scores = of_cleanlab(python, given, arrays)
    found: dict[str, float | str] = {"cleanlab": version}
    for name, unseen in {"linear": linear, "networks": networks, "all": chosen}.items():
        theirs = [v for key, v in scores.items() if key.startswith(f"{name}/")]
        found[f"cleanlab, {name}"] = max(average_precision_score(wrong, -v) for v in theirs)
        found[f"ours, {name}"] = average_precision_score(wrong, ours(data, unseen))
    return found


def write() -> None:
    """Set all tasks that have run side by side."""
    columns = [
        f"{who}, {what}" for what in ("linear", "networks", "all") for who in ("cleanlab", "ours")
    ]
    rows, notes, versions = [], [], dict[str, None]()
    for name in TASKS:
        place = RESULTS / f"{_key(name)}.json"
        if not place.is_file():
            continue
        content = json.loads(place.read_text(encoding="utf-8"))
        draws = list(content["draws"].values())
        versions |= dict.fromkeys(str(one["cleanlab"]) for one in draws)
        means = {key: np.mean([float(one[key]) for one in draws]) for key in columns}
        best = max(means["cleanlab, linear"], means["cleanlab, networks"])
        cells = [f"{means[key]:.3f}" for key in columns]
        rows.append(
            f"| {name} | {' | '.join(cells)} | {means['ours, all'] - best:+.3f} | {len(draws)} |"
        )
        notes.append(f"* {name}: {content['hardware']}; commit {content['commit']}")
    page = [
        "# Wrong labels, found by cleanlab and by `s2e_optuna.labels`",
        "",
        f"`python -m studies.bench_cleanlab`, cleanlab {', '.join(versions)}: average precision, "
        f"means over draws of the labels (of CIFAR-10N, whose labels people gave, of "
        f"{IMAGES:,} images). linear: a logistic regression whose penalty the clean "
        "part chose; networks: plain training, stopped; all: what a search takes, these and "
        "neighbours and networks of the clean part alone, as one. cleanlab's best of "
        "five scores by the truth; ours know clean samples (397 of the digits, 1,000 of the "
        "others). Lead: ours, all, less the better of cleanlab's on the regression and on the "
        "networks.",
        "",
        f"| task | {' | '.join(columns)} | lead | draws |",
        "|---|" + "---|" * (len(columns) + 2),
        *rows,
        "",
        *notes,
        "",
    ]
    (RESULTS / "README.md").write_text("\n".join(page), encoding="utf-8")


def _key(task: str) -> str:
    return re.sub("[^a-z0-9]+", "-", task.lower()).strip("-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tasks", nargs="*", help="words in a task's name; all by default")
    parser.add_argument("--cleanlab", required=True, help="Python of cleanlab's environment")
    parser.add_argument("--mnist", default="mnist", help="where MNIST is [default: torchvision]")
    parser.add_argument("--features", default="cifar_features.npz", help="CIFAR-10N as features")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    RESULTS.mkdir(parents=True, exist_ok=True)
    places = Places(asked.mnist, asked.features)
    for seed in SEEDS:
        for name, task in TASKS.items():
            if asked.tasks and not any(words in name for words in asked.tasks):
                continue
            target, draws = RESULTS / f"{_key(name)}.json", {}
            if target.is_file():
                draws = json.loads(target.read_text(encoding="utf-8"))["draws"]
            if str(seed) not in draws:
                draws[str(seed)] = run(task, seed, places, asked.cleanlab)
                content = {"draws": draws, "hardware": hardware(), "commit": commit()}
                target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            write()
            print(name, seed, flush=True)


if __name__ == "__main__":
    main()
