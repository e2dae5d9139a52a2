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
from s2e_optuna.training.jobs import Runner, Tell, in_turn
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
    run: Runner = in_turn,
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
    run
        Runs the trainings; by default this process, one after the other.

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
    jobs = [
        _Fold(
            method,
            schedule,
            replace(config, seed=config.seed + fold),
            np.flatnonzero(fold_of == fold),
            None if halves is None else halves[fold % 2],
            clean and get_method(method).uses_clean_data,
        )
        for fold in range(folds)
    ]

    def tell(fold: int, epoch: int, _: bool) -> None:
        if on_epoch is not None:
            on_epoch(fold, epoch)

    of_validation = []
    for job, (unseen, validation) in zip(jobs, run(jobs, data, tell), strict=True):
        found[job.out] = unseen
        if validation is not None:
            of_validation.append(validation)
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


@dataclass(frozen=True, eq=False)
class _Fold:
    """One training, without its fold."""

    method: str
    schedule: ScheduleLike
    config: TrainConfig
    out: NDArray[np.int64]
    """Samples that are left out."""
    stopping: Tensor | None
    """Validation samples that stop it; None for all."""
    learns_from_validation: bool

    def __call__(
        self, data: NoisyData, tell: Tell
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Train and predict what is left out [n, C] and the validation samples [V, C]."""
        config = self.config
        rest, out = np.ones(len(data.y_train), dtype=bool), torch.from_numpy(self.out)
        rest[self.out] = False
        kept = torch.from_numpy(np.flatnonzero(rest))
        part = replace(
            data,
            x_train=take(data.x_train, kept),
            y_train=data.y_train[kept],
            y_clean=None,
            x_test=None,
            y_test=None,
        )
        if self.stopping is not None:
            x_val, y_val = take(data.x_val, self.stopping), data.y_val[self.stopping]
            part = replace(part, x_val=x_val, y_val=y_val, y_val_clean=None)
        settings = replace(
            config,
            batch_size=None if config.batch_size is None else min(config.batch_size, len(kept)),
            evaluate_every=config.epochs if config.stop == "last" else config.evaluate_every,
        )

        def on_epoch(epoch: int, _: list[EpochReport]) -> None:
            tell(epoch + 1, False)

        (run,) = train(self.method, [self.schedule], part, settings, on_epoch)
        if run.status != "complete" or run.model is None:
            raise DataError(f"a training of the cross-validation failed: {run.failure}")
        unseen = predict_proba(run.model, take(data.x_train, out), config.device)
        if self.learns_from_validation:
            return unseen, None
        return unseen, predict_proba(run.model, data.x_val, config.device)
