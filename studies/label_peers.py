"""What stands beside a search on the same data: cleanlab's CleanLearning, and the true labels.

    python -m venv /tmp/cleanlab && /tmp/cleanlab/bin/pip install cleanlab
    CLEANLAB_PYTHON=/tmp/cleanlab/bin/python python -m studies.tables --scale small

CleanLearning runs in an environment of its own, on the same numbers, with a logistic regression:
five folds find what it takes for wrong, and it learns from the rest. Its penalty is chosen on the
clean validation part, as that of ours is. Training on the true labels is plain training, stopped
by the same part: what no method that is given wrong labels can be expected to reach.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data import NoisyData
from s2e_optuna.scores import reached
from s2e_optuna.training import TrainConfig, train

PYTHON = "CLEANLAB_PYTHON"
"""Variable that names the Python of cleanlab's environment; without it its row is left out."""

CLEAN_LEARNING, TRUE_LABELS = "clean_learning", "true_labels"
NAMES = {CLEAN_LEARNING: "CleanLearning", TRUE_LABELS: "true labels"}

SCRIPT = """
import json, sys, warnings
import numpy as np
from cleanlab import __version__
from cleanlab.classification import CleanLearning
from sklearn.linear_model import LogisticRegression
warnings.simplefilter("ignore")
arrays = np.load(sys.argv[1])
def fitted(strength, seed):
    found = CleanLearning(LogisticRegression(C=strength, max_iter=1000), seed=seed)
    return found.fit(arrays["x_train"], arrays["y_train"])
def accuracy(model, part):
    return float((model.predict(arrays["x_" + part]) == arrays["y_" + part]).mean())
seeds = [int(seed) for seed in sys.argv[3:]]
tried = {strength: fitted(strength, seeds[0]) for strength in (0.001, 0.01, 0.1, 1.0, 10.0)}
best = max(tried, key=lambda strength: accuracy(tried[strength], "val"))
models = [tried[best], *(fitted(best, seed) for seed in seeds[1:])]
with open(sys.argv[2], "w") as file:
    json.dump({"cleanlab": __version__, "strength": best,
               "test": [accuracy(model, "test") for model in models]}, file)
"""


def peers(data: NoisyData, config: TrainConfig, seeds: Sequence[int]) -> dict[str, Any]:
    """Return test accuracies by name, one a seed, and what there is to say of them.

    Parameters
    ----------
    data
        With true labels and a test part; its samples are rows of numbers.
    config
        How the search has trained.
    seeds
        Of the trainings.
    """
    found: dict[str, Any] = {}
    accuracies = {}
    if python := os.environ.get(PYTHON):
        found = clean_learning(python, data, [seed % 2**31 for seed in seeds])
        accuracies[CLEAN_LEARNING] = found.pop("test")
    accuracies[TRUE_LABELS] = of_true_labels(data, config, seeds)
    return {"accuracies": accuracies, **found}


def of_true_labels(data: NoisyData, config: TrainConfig, seeds: Sequence[int]) -> list[float]:
    """Train plainly on the true labels; return test accuracies."""
    assert data.y_clean is not None
    right = data.with_labels(data.y_clean, "true labels")
    runs = [train("standard", [None], right, replace(config, seed=seed))[0] for seed in seeds]
    return [
        reached(run.curves["test_accuracy"], run.validation_value, config.stop) for run in runs
    ]


def clean_learning(python: str, data: NoisyData, seeds: Sequence[int]) -> dict[str, Any]:
    """Run CleanLearning in cleanlab's environment; its accuracies are ``test``."""
    assert data.x_test is not None and data.y_test is not None
    arrays: dict[str, NDArray[Any]] = {
        "y_train": data.y_train.numpy(),
        "y_val": data.y_val.numpy(),
        "y_test": data.y_test.numpy(),
    }
    for name in ("x_train", "x_val", "x_test"):
        prepared = data.preparation.apply(getattr(data, name))
        arrays[name] = prepared.reshape(len(prepared), -1).numpy()
    with tempfile.TemporaryDirectory() as folder:
        given, written = Path(folder) / "arrays.npz", Path(folder) / "found.json"
        np.savez(given, allow_pickle=False, **arrays)
        words = [python, "-c", SCRIPT, str(given), str(written), *map(str, seeds)]
        subprocess.run(words, check=True)
        found: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return found
