"""Record real trainings of random schedules: a table to test searches on.

    python -m studies.record_table digits-sym50
    python -m studies.record_table mnist-pair45 --data data/mnist27k.npz --workers 2

A search that is tried on real trainings can be tried a handful of times; on a table of recorded
ones, thousands of times. Each task is one data set with one kind of noise. Its schedules are drawn
from S2E's space at theta = 1 and trained with Co-teaching, in stacks that share a seed; some
schedules are repeated with other seeds, so that the noise of a single training is known.

The command resumes: every finished stack is a file of its own under ``runs/``, and when all are
there they are gathered in ``studies/data/TASK.npz``:

==================  ===================================================  ==================
array               meaning                                              shape, type
==================  ===================================================  ==================
x                   parameters of the schedule, in the space's order     [n, 19] float64
seed                seed of the training; the same for a whole stack     [n] int64
schedule            index of the schedule; repeats have the same         [n] int32
validation          validation accuracy by epoch                         [n, T] float32
test                test accuracy by epoch                               [n, T] float32
==================  ===================================================  ==================

The tables of digits were recorded with ``--schedules 512 --repeated 16 --repeats 10``.

Which tasks may be used for tuning and which are for judging is in `TASKS`, and was written down
before either was done. ``mnist-sym20`` has not been recorded, for want of time: nothing is judged
at 20% noise.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import track

from s2e_optuna.schedules import Schedule, get_space

DATA = Path(__file__).parent / "data"
RUNS = Path("runs/tables")


@dataclass(frozen=True)
class Task:
    """A training task; see `s2e_optuna.training` for the settings."""

    use: Literal["tune", "judge"]
    source: str
    noise: str
    noise_rate: float
    network: str = "mlp"
    train_size: int | None = None
    clean_size: int | None = None  # of the validation part, and of the test part
    epochs: int = 60
    batch_size: int = 16


def _mnist(noise: str, rate: float, network: str = "mlp") -> Task:
    # Evaluating every epoch on all 5,000 and 5,000 images would cost more than the training.
    return Task(
        "judge",
        "mnist",
        noise,
        rate,
        network,
        train_size=2500 if network == "mlp" else 1250,
        clean_size=1000,
        epochs=40,
        batch_size=32,
    )


TASKS = {
    "digits-sym20": Task("tune", "digits", "symmetric", 0.2),
    "digits-sym50": Task("tune", "digits", "symmetric", 0.5),
    "digits-pair45": Task("tune", "digits", "pair", 0.45),
    "mnist-sym20": _mnist("symmetric", 0.2),
    "mnist-sym50": _mnist("symmetric", 0.5),
    "mnist-pair45": _mnist("pair", 0.45),
    "mnist-cnn1-sym50": _mnist("symmetric", 0.5, "cnn1"),
}


def schedule_points(n: int, n_repeated: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the points: n schedules, then ``repeats`` more trainings of the first few."""
    x = np.random.default_rng(20200707).random((n, len(get_space("s2e").parameters)))
    index = np.concatenate([np.arange(n), np.tile(np.arange(n_repeated), repeats)])
    return x[index], index


def train_stack(name: str, source: str, x: np.ndarray, seed: int, path: Path) -> None:
    """Train one stack and write what came of it."""
    schedules = [
        Schedule.clipped(rates) for rates in get_space("s2e").rates(x, TASKS[name].epochs)
    ]
    validation, test = train_schedules(name, source, schedules, seed)
    partial = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(partial, validation=validation.astype(np.float32), test=test.astype(np.float32))
    partial.rename(path)  # a stack that was broken off leaves no file of its name


def train_schedules(
    name: str, source: str, schedules: Sequence[Schedule], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Train a task's schedules as one stack: validation and test accuracy by epoch [P, T]."""
    import torch

    from s2e_optuna.data import load_data
    from s2e_optuna.training import TrainConfig, train

    torch.set_num_threads(1)
    task = TASKS[name]
    data = load_data(
        source,
        noise=task.noise,
        noise_rate=task.noise_rate,
        seed=0,
        train_size=task.train_size,
    )
    assert data.x_test is not None and data.y_test is not None
    some = slice(task.clean_size)
    data = replace(
        data,
        x_val=data.x_val[some],
        y_val=data.y_val[some],
        x_test=data.x_test[some],
        y_test=data.y_test[some],
    )
    config = TrainConfig(
        epochs=task.epochs, network=task.network, batch_size=task.batch_size, seed=seed
    )
    results = train("coteaching", schedules, data, config)
    return (
        np.array([result.validation_accuracy for result in results]),
        np.array([result.test_accuracy for result in results]),
    )


def record(
    name: str, source: str, n: int, n_repeated: int, repeats: int, stack: int, workers: int
) -> Path:
    """Train what is missing and gather the table."""
    folder = RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    x, index = schedule_points(n, n_repeated, repeats)
    # Repeats of a schedule must not share a stack: they would share its seed.
    stacks = [np.arange(i, min(i + stack, len(x))) for i in range(0, len(x), stack)]
    if any(len(set(index[rows])) < len(rows) for rows in stacks):
        raise SystemExit("--repeated must be at least --stack, or repeats would share a seed.")
    paths = [folder / f"stack-{i:05d}.npz" for i in range(len(stacks))]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(train_stack, name, source, x[stacks[i]], 1000 + i, paths[i])
            for i in missing
        ]
        for job in track(as_completed(jobs), f"{name}: stacks", total=len(jobs)):
            job.result()
    parts = [np.load(path) for path in paths]
    DATA.mkdir(exist_ok=True)
    target = DATA / f"{name}.npz"
    np.savez_compressed(
        target,
        x=x,
        seed=np.concatenate([np.full(len(rows), 1000 + i) for i, rows in enumerate(stacks)]),
        schedule=index.astype(np.int32),
        validation=np.concatenate([part["validation"] for part in parts]),
        test=np.concatenate([part["test"] for part in parts]),
        task=json.dumps(asdict(TASKS[name])),
    )
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", help="where the data are, if not the task's own source")
    parser.add_argument("--schedules", type=int, default=504)
    parser.add_argument("--repeated", type=int, default=8, help="schedules that are repeated")
    parser.add_argument("--repeats", type=int, default=7, help="how often each of them is")
    parser.add_argument("--stack", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    source = arguments.data or TASKS[arguments.task].source
    target = record(
        arguments.task,
        source,
        arguments.schedules,
        arguments.repeated,
        arguments.repeats,
        arguments.stack,
        arguments.workers,
    )
    print(f"wrote {target} ({target.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
