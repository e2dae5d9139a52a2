"""Predictions by networks that have not seen the sample: cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.data.assemble import stratified_order
from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.data.streaming import take
from s2e_optuna.errors import DataError
from s2e_optuna.training.config import TrainConfig
from s2e_optuna.training.methods import get_method
from s2e_optuna.training.model import predict_proba
from s2e_optuna.training.results import EpochReport
from s2e_optuna.training.trainer import ScheduleLike, train


@dataclass(frozen=True, eq=False)
class Unseen:
    """Class probabilities by trainings that have not seen the sample.

    Attributes
    ----------
    training
        Of each training sample, by the one training that left it out; float32 [N, C].
    clean
        Of clean validation samples, by trainings that neither learnt from them nor were stopped
        by them; float32 [F, V, C]. None where their labels are as noisy as the others, or the
        method learns from some of them.
    held_out
        Of validation samples whose labels are as noisy as the others, means over the trainings;
        float32 [V, C], else None.
    samples
        `NoisyData.identity` of what was predicted; empty where nobody noted it.
    """

    training: NDArray[np.float32]
    clean: NDArray[np.float32] | None = None
    held_out: NDArray[np.float32] | None = None
    samples: str = ""


def check_folds(folds: int, n_samples: int) -> None:
    """Raise DataError unless training samples can be split into so many folds, none empty."""
    if folds < 2:
        raise DataError(f"folds {folds} is out of range: choose 2 or more")
    if folds > n_samples:
        raise DataError(f"{n_samples} samples are too few for {folds} folds")


def unseen_probabilities(
    method: str,
    schedule: ScheduleLike,
    data: NoisyData,
    config: TrainConfig,
    folds: int = 5,
    on_epoch: Callable[[int, int], None] | None = None,
) -> Unseen:
    """Predict each training sample by a training that has not seen it: cross-validation.

    The same trainings predict the validation samples. Where these are clean and trainings are
    stopped at their best validation epoch, each is stopped by one half and predicts the other:
    a network is a little too good on what has chosen its epoch.

    Parameters
    ----------
    method, schedule, data, config
        As for `train`; fold f trains with the seed ``config.seed + f``.
    folds
        Number of trainings, 2 or more, each on all folds but one.
    on_epoch
        Called with the fold and the number of its finished epochs.

    Returns
    -------
    Unseen
        Probabilities of the training samples and of clean validation samples.

    Raises
    ------
    DataError
        What `train` and `check_folds` refuse; a training diverged.
    """
    check_folds(folds, len(data.y_train))
    n_samples = len(data.y_train)
    order = stratified_order(data.y_train.numpy(), np.random.default_rng(config.seed))
    fold_of = np.empty(n_samples, dtype=np.int64)
    fold_of[order] = np.arange(n_samples) % folds  # neighbours in this order are of one kind
    found = np.empty((n_samples, data.n_classes), dtype=np.float32)
    clean = data.validation == "clean"
    halves = None
    if clean and config.stop == "best" and len(data.y_val) > 1:
        halves = _halves(data, config.seed)
    of_validation = []
    for fold in range(folds):
        rest, out = (torch.from_numpy(np.flatnonzero(mask)) for mask in
                     (fold_of != fold, fold_of == fold))  # fmt: skip
        part = replace(
            data,
            x_train=take(data.x_train, rest),
            y_train=data.y_train[rest],
            y_clean=None,
            x_test=None,
            y_test=None,
        )
        if halves is not None:
            stopping = halves[fold % 2]
            x_val, y_val = take(data.x_val, stopping), data.y_val[stopping]
            part = replace(part, x_val=x_val, y_val=y_val, y_val_clean=None)
        batch_size = None if config.batch_size is None else min(config.batch_size, len(rest))
        settings = replace(
            config,
            seed=config.seed + fold,
            batch_size=batch_size,
            evaluate_every=config.epochs if config.stop == "last" else config.evaluate_every,
        )
        tell = None if on_epoch is None else _telling(on_epoch, fold)
        (run,) = train(method, [schedule], part, settings, tell)
        if run.status != "complete" or run.model is None:
            raise DataError(f"a training of the cross-validation failed: {run.failure}")
        found[out.numpy()] = predict_proba(run.model, take(data.x_train, out), config.device)
        if not (clean and get_method(method).uses_clean_data):
            of_validation.append(predict_proba(run.model, data.x_val, config.device))
    if not of_validation:
        return Unseen(found, samples=data.identity)
    predicted = np.stack(of_validation)
    if not clean:
        return Unseen(found, held_out=predicted.mean(axis=0), samples=data.identity)
    clean_ones = predicted if halves is None else _by_the_others(predicted, halves)
    return Unseen(found, clean_ones, samples=data.identity)


def _halves(data: NoisyData, seed: int) -> tuple[Tensor, Tensor]:
    """Divide the validation samples in two, each with its share of every class."""
    order = torch.from_numpy(stratified_order(data.y_val.numpy(), np.random.default_rng(seed)))
    return order[::2].sort().values, order[1::2].sort().values


def _by_the_others(
    predicted: NDArray[np.float32], halves: tuple[Tensor, Tensor]
) -> NDArray[np.float32]:
    """Keep what was predicted by trainings that the other half has stopped [F // 2, V, C]."""
    each = len(predicted) // 2
    kept = np.empty((each, *predicted.shape[1:]), dtype=predicted.dtype)
    for half, samples in enumerate(halves):
        kept[:, samples.numpy()] = predicted[1 - half :: 2][:each, samples.numpy()]
    return kept


def _telling(
    on_epoch: Callable[[int, int], None], fold: int
) -> Callable[[int, list[EpochReport]], None]:
    def tell(epoch: int, _: list[EpochReport]) -> None:
        on_epoch(fold, epoch + 1)

    return tell
