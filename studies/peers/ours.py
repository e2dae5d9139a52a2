"""Co-teaching by `s2e_optuna.training.train`."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from task import Task

from s2e_optuna.data import from_arrays
from s2e_optuna.training import TrainConfig, train

task = Task()
test = task.test_images, task.y_test
data = from_arrays(task.images, task.y, *test, x_test=test[0], y_test=test[1])
epochs = task.epochs + 1
config = TrainConfig(
    network="mlp", epochs=epochs, batch_size=task.batch_size, evaluate_every=epochs, stop="last"
)
ends = []


def on_epoch(*_):
    ends.append(time.perf_counter())


rates = np.full((task.trials, epochs), task.kept / task.batch_size)
started = time.perf_counter()
runs = train("coteaching", list(rates), data, config, on_epoch)
seconds = np.diff([started, *ends])
told = {
    "first": seconds[0],
    "seconds": seconds[1:].tolist(),
    "test_accuracy": float(np.mean([run.test_accuracy[-1] for run in runs])),
}
json.dump(told, sys.stdout)
