"""Co-teaching by `s2e_optuna.training.train`."""

from __future__ import annotations

import time

import numpy as np
from task import Task, tell, wait_for_turns

from s2e_optuna.data import from_arrays
from s2e_optuna.training import TrainConfig, train

task = Task()
test = task.test_images, task.y_test
data = from_arrays(task.images, task.y, *test, x_test=test[0], y_test=test[1])
config = TrainConfig(
    network=task.network,
    epochs=task.epochs,
    batch_size=task.batch_size,
    evaluate_every=task.epochs,
    stop="last",
)
turns = wait_for_turns()


def on_epoch(epoch, reports):
    """End a turn, and wait for the next."""
    global started
    if epoch < task.epochs - 1:  # the last one measures accuracies, too
        tell(seconds=time.perf_counter() - started)
        next(turns, None)  # where none is wanted any more, the last epoch follows
        started = time.perf_counter()


rates = np.full((task.trials, task.epochs), task.kept / task.batch_size)
next(turns)
started = time.perf_counter()
runs = train("coteaching", list(rates), data, config, on_epoch)
tell(test_accuracy=float(np.mean([run.test_accuracy[-1] for run in runs])))
