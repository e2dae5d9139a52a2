"""Trainings of the studies: each is a file, shared by all studies, and is done once.

    runs = trained([Training(setting, "coteaching", schedule, seed), ...], frame)

Trainings of the same setting, method and seed are done side by side as one stack, stacks in
``frame.workers`` processes. The files lie in ``runs/trainings/SETTING/METHOD-SEED-KEY.npz``.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.schedules import Schedule
from s2e_optuna.search.processes import process_context
from studies.settings import Frame, Setting, commit, digest, hardware

if TYPE_CHECKING:
    from s2e_optuna.data import NoisyData
    from s2e_optuna.training import TrainConfig

STACK = 8
"""Trainings side by side, at most."""


@dataclass(frozen=True)
class Training:
    """One training; `schedule` is None for methods that keep everything."""

    setting: Setting
    method: str
    schedule: Schedule | None
    seed: int

    def path(self, frame: Frame) -> Path:
        """Where its result lies."""
        source = Path(frame.source(self.setting)).name
        rates = None if self.schedule is None else self.schedule.rates.tolist()
        key = digest([self.setting.told(), source, self.method, rates, self.seed])
        method = self.method.replace(":", "-").replace("=", "")
        name = f"{method}-{self.seed}-{key}.npz"
        return frame.runs / "trainings" / self.setting.name / name


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes
    ----------
    training
        What was asked for.
    curves
        Name in `s2e_optuna.training.CURVES` to numbers by epoch, shape [T]; NaN where not
        measured.
    seconds
        Its share of the time that its stack took.
    failure
        Why it failed, or None; its curves are shorter then.
    hardware, commit
        Where it was run.
    """

    training: Training
    curves: Mapping[str, NDArray[np.float32]]
    seconds: float
    failure: str | None
    hardware: str
    commit: str

    def last(self, curve: str, epochs: int = 10) -> float:
        """Mean over the last epochs; NaN if none of them has a number, or it failed."""
        tail = self.curves[curve][-epochs:]
        usable = self.failure is None and np.isfinite(tail).any()
        return float(np.nanmean(tail)) if usable else math.nan

    def best(self, curve: str = "test_accuracy") -> float:
        """Highest number of all epochs, as in the paper's Table 3: chosen on the test data."""
        return math.nan if self.failure is not None else float(np.nanmax(self.curves[curve]))

    def at_best_validation(self, curve: str = "test_accuracy") -> float:
        """Read the epoch with the best validation accuracy, the first of equals."""
        if self.failure is not None:
            return math.nan
        return float(self.curves[curve][int(np.nanargmax(self.curves["validation_accuracy"]))])


def trained(trainings: Iterable[Training], frame: Frame) -> list[Run]:
    """Do the trainings that are not done yet and return all, in order.

    With ``frame.trains`` off, those that are there.
    """
    wanted = list(trainings)
    if not frame.trains:
        return [read_run(one, frame) for one in wanted if one.path(frame).exists()]
    missing = {t.path(frame): t for t in wanted if not t.path(frame).exists()}
    stacks = list(_stacks(list(missing.values())))
    started, done = time.monotonic(), 0
    for stack, line in _work(stacks, frame):
        done += len(stack)
        passed = time.monotonic() - started
        left = passed / done * (len(missing) - done)
        print(f"[{done}/{len(missing)}, about {_duration(left)} left] {line}", flush=True)
    return [read_run(training, frame) for training in wanted]


def _stacks(missing: Sequence[Training]) -> Iterable[list[Training]]:
    groups: dict[Any, list[Training]] = {}
    for training in missing:
        groups.setdefault((training.setting, training.method, training.seed), []).append(training)
    for group in groups.values():
        yield from (group[i : i + STACK] for i in range(0, len(group), STACK))


def _work(stacks: list[list[Training]], frame: Frame) -> Iterable[tuple[list[Training], str]]:
    devices = _devices(frame.device)
    jobs = [(stack, frame, devices[i % len(devices)]) for i, stack in enumerate(stacks)]
    if frame.workers == 1 or len(jobs) <= 1:
        for job in jobs:
            yield job[0], train_stack(*job)
        return
    with ProcessPoolExecutor(
        frame.workers, process_context(), _use_threads, (frame.workers,)
    ) as pool:
        futures = {pool.submit(train_stack, *job): job[0] for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:  # Ctrl-C, too: what has not begun is not to begin any more
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _devices(device: str) -> tuple[str, ...]:
    from s2e_optuna.device import split_devices

    return split_devices(device)


def _use_threads(workers: int) -> None:
    import torch

    from s2e_optuna.cores import available_cores

    torch.set_num_threads(max(1, available_cores() // workers))


@lru_cache(maxsize=1)
def load(
    source: str,
    noise: str | None,
    noise_rate: float,
    seed: int,
    train_size: int | None,
    clean_size: int,
) -> NoisyData:
    """Load data; a process that trains again and again on the same ones reads them once."""
    from s2e_optuna.data import load_data

    rate = None if noise is None else noise_rate
    data = load_data(source, noise=noise, noise_rate=rate, seed=seed, train_size=train_size)
    return with_fewer_clean(data, clean_size) if clean_size else data


def with_fewer_clean(data: NoisyData, size: int) -> NoisyData:
    """Leave so many samples of validation and test part, the same ones every time."""
    from torch import Tensor, from_numpy

    if not isinstance(data.x_val, Tensor) or not isinstance(data.x_test, Tensor):
        raise SystemExit("clean_size needs a validation and a test part that fit into memory")
    assert data.y_test is not None
    rng = np.random.default_rng(0)
    val, test = (from_numpy(rng.permutation(len(y))[:size]) for y in (data.y_val, data.y_test))
    return replace(
        data,
        x_val=data.x_val[val],
        y_val=data.y_val[val],
        x_test=data.x_test[test],
        y_test=data.y_test[test],
    )


def data_of(setting: Setting, frame: Frame) -> NoisyData:
    """Load a setting's data."""
    return load(
        frame.source(setting),
        setting.noise,
        setting.noise_rate,
        setting.noise_seed,
        setting.train_size,
        setting.clean_size or 0,
    )


def config_of(setting: Setting, seed: int, device: str = "auto") -> TrainConfig:
    """Say how to train in a setting."""
    from s2e_optuna.training import TrainConfig

    return TrainConfig(
        epochs=setting.epochs,
        network=setting.network,
        batch_size=setting.batch_size,
        optimizer=setting.optimizer,
        learning_rate=setting.learning_rate,
        evaluate_every=setting.evaluate_every,
        seed=seed,
        device=device,
    )


def train_stack(stack: list[Training], frame: Frame, device: str) -> str:
    """Train a stack, write its files, return a line about it."""
    from s2e_optuna.training import train

    first = stack[0]
    config = config_of(first.setting, first.seed, device)
    schedules = [training.schedule for training in stack]
    results = train(first.method, schedules, data_of(first.setting, frame), config)
    for training, result in zip(stack, results, strict=True):
        about = {
            "setting": training.setting.told(),
            "method": training.method,
            "seed": training.seed,
            "seconds": round(result.seconds, 2),
            "failure": result.failure,
            "hardware": hardware(),
            "commit": commit(),
        }
        path = training.path(frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial.npz")
        curves = {name: curve.astype(np.float32) for name, curve in result.curves.items()}
        np.savez(partial, about=json.dumps(about), rates=result.rates, **curves)
        partial.replace(path)  # one that was broken off leaves no file of its name
    reached = ", ".join(
        r.failure or f"{100 * r.test_accuracy[np.isfinite(r.test_accuracy)][-1]:.2f}%"
        for r in results
    )
    seconds = sum(result.seconds for result in results)
    return f"{first.setting.name} {first.method} seed {first.seed}: {reached} ({seconds:.0f} s)"


def read_run(training: Training, frame: Frame) -> Run:
    """Read a finished training."""
    from s2e_optuna.training import CURVES

    with np.load(training.path(frame), allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        curves = {name: file[name] for name in CURVES}
    return Run(
        training, curves, about["seconds"], about["failure"], about["hardware"], about["commit"]
    )


def curves(runs: Iterable[Run], name: str) -> list[list[float | None]]:
    """Return a curve of every training that did not fail, with four digits.

    None where nothing was measured.
    """
    return [
        [round(float(value), 4) if np.isfinite(value) else None for value in run.curves[name]]
        for run in runs
        if run.failure is None
    ]


def _duration(seconds: float) -> str:
    from s2e_optuna.reporting.terminal import duration

    return duration(seconds)
