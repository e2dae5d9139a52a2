"""Predictions by networks that have not seen the sample: cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.data.noisy_data import NOT_CHECKED, NoisyData
from s2e_optuna.data.strata import dealt
from s2e_optuna.data.streaming import take
from s2e_optuna.errors import DataError
from s2e_optuna.training.config import TrainConfig, default_batch_size
from s2e_optuna.training.jobs import Runner, Tell, in_parts, in_turn
from s2e_optuna.training.methods import get_method
from s2e_optuna.training.model import predict_proba
from s2e_optuna.training.results import EpochReport, TrainResult
from s2e_optuna.training.setup import Share, takes_own_batches
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
        by them; float32 [F, V, C]. Where their labels are as noisy as the others, of those that
        are checked; None where none is, or the method learns from some of them.
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
    fold_of = folds_of(data.y_train.numpy(), folds, config.seed)
    found = np.empty((len(fold_of), data.n_classes), dtype=np.float32)
    clean = data.validation == "clean"
    halves = None
    if clean and config.stop == "best" and len(data.y_val) > 1:
        halves = validation_halves(data, config.seed)
    outs = [np.flatnonzero(fold_of == fold) for fold in range(folds)]
    shares = [
        Share(
            config.seed + fold,
            np.setdiff1d(np.arange(len(fold_of)), out),
            None if halves is None else halves[fold % 2].numpy(),
        )
        for fold, out in enumerate(outs)
    ]
    learns = clean and get_method(method).uses_clean_data
    jobs = [
        _Folds(method, schedule, config, tuple(some), learns)
        for some in _side_by_side(shares, method, data, config, run.processes)
    ]
    first = np.cumsum([0, *(len(job.shares) for job in jobs)])

    def tell(place: int, epoch: int, _: bool) -> None:
        if on_epoch is not None:
            for fold in range(first[place], first[place + 1]):
                on_epoch(fold, epoch)

    of_validation = []
    trained = [one for group in run(jobs, data, tell) for one in group]
    for out, (unseen, validation) in zip(outs, trained, strict=True):
        found[out] = unseen
        if validation is not None:
            of_validation.append(validation)
    if not of_validation:
        return Unseen(found, samples=data.identity)
    predicted = np.stack(of_validation)
    if not clean:
        checked = None
        if data.val_checked is not None:
            checked = predicted[:, (data.val_checked != NOT_CHECKED).numpy()]
        return Unseen(found, checked, predicted.mean(axis=0), data.identity)
    clean_ones = predicted if halves is None else _by_the_others(predicted, halves)
    return Unseen(found, clean_ones, samples=data.identity)


def folds_of(labels: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Deal samples out to folds, each with its share of every given label.

    Parameters
    ----------
    labels
        Given labels [N].
    folds, seed
        How many folds, and which of the ways to deal.

    Returns
    -------
    ndarray
        The fold of each sample, integers [N].
    """
    return dealt(labels, folds, np.random.default_rng(seed))


def validation_halves(data: NoisyData, seed: int) -> tuple[Tensor, Tensor]:
    """Divide the validation samples in two, each with its share of every class."""
    half = torch.from_numpy(dealt(data.y_val.numpy(), 2, np.random.default_rng(seed)))
    return (half == 0).nonzero().flatten(), (half == 1).nonzero().flatten()


def _by_the_others(
    predicted: NDArray[np.float32], halves: tuple[Tensor, Tensor]
) -> NDArray[np.float32]:
    """Keep what was predicted by trainings that the other half has stopped [F // 2, V, C]."""
    each = len(predicted) // 2
    kept = np.empty((each, *predicted.shape[1:]), dtype=predicted.dtype)
    for half, samples in enumerate(halves):
        kept[:, samples.numpy()] = predicted[1 - half :: 2][:each, samples.numpy()]
    return kept


def _side_by_side(
    shares: Sequence[Share], method: str, data: NoisyData, config: TrainConfig, processes: int
) -> list[Sequence[Share]]:
    """Divide folds into those that train in one stack: a part for each process, or one by one."""
    size = _batch_size(config, shares)
    steps = {len(share.samples) // size for share in shares if share.samples is not None}
    together = len(steps) == 1 and takes_own_batches(method, data, config)
    return in_parts(shares, processes if together else len(shares))


def _batch_size(config: TrainConfig, shares: Sequence[Share]) -> int:
    """Return the batch size of folds: as asked for, or as the first of them would have."""
    least = min(len(share.samples) for share in shares if share.samples is not None)
    return min(config.batch_size or default_batch_size(least), least)


@dataclass(frozen=True, eq=False)
class _Folds:
    """Trainings side by side, each without its fold."""

    method: str
    schedule: ScheduleLike
    config: TrainConfig
    shares: tuple[Share, ...]
    learns_from_validation: bool

    def __call__(
        self, data: NoisyData, tell: Tell
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32] | None]]:
        """Train; of each predict what is left out [n, C] and the validation samples [V, C]."""
        config = self.config
        settings = replace(
            config,
            seed=self.shares[0].seed,
            batch_size=_batch_size(config, self.shares),
            evaluate_every=config.epochs if config.stop == "last" else config.evaluate_every,
        )
        part = replace(data, y_clean=None, x_test=None, y_test=None)
        shares: Sequence[Share] | None = self.shares
        if len(self.shares) == 1:  # any method, on any data
            part, shares = _alone(part, self.shares[0]), None

        def on_epoch(epoch: int, _: list[EpochReport]) -> None:
            tell(epoch + 1, False)

        schedules = [self.schedule] * len(self.shares)
        runs = train(self.method, schedules, part, settings, on_epoch, shares=shares)
        return [
            self._predict(run, share, data) for run, share in zip(runs, self.shares, strict=True)
        ]

    def _predict(
        self, run: TrainResult, share: Share, data: NoisyData
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        if run.status != "complete" or run.model is None:
            raise DataError(f"a training of the cross-validation failed: {run.failure}")
        out = np.ones(len(data.y_train), dtype=bool)
        out[share.samples] = False
        left_out = take(data.x_train, torch.from_numpy(np.flatnonzero(out)))
        unseen = predict_proba(run.model, left_out, self.config.device)
        if self.learns_from_validation:
            return unseen, None
        return unseen, predict_proba(run.model, data.x_val, self.config.device)


def _alone(data: NoisyData, share: Share) -> NoisyData:
    """Return the data of one fold: its training samples, and those that stop it."""
    assert share.samples is not None
    kept = torch.from_numpy(share.samples)
    part = replace(data, x_train=take(data.x_train, kept), y_train=data.y_train[kept])
    if part.targets is not None:
        part = replace(part, targets=part.targets[kept])
    return (
        part if share.validation is None else stopped_by(part, torch.from_numpy(share.validation))
    )


def stopped_by(data: NoisyData, stopping: Tensor) -> NoisyData:
    """Return the data with some of their validation samples only, by positions."""
    return replace(
        data, x_val=take(data.x_val, stopping), y_val=data.y_val[stopping], y_val_clean=None
    )
