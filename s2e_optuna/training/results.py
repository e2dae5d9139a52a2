"""What a training hands back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.training.model import Model


@dataclass(frozen=True)
class EpochReport:
    """One trial after one epoch; accuracies and losses are means over the trial's networks.

    Attributes
    ----------
    trial
        Position in the list of schedules.
    epoch
        From 0, as in ``rates[epoch]``.
    validation_accuracy, validation_loss
        On the validation part; NaN in epochs without an evaluation.
    test_accuracy
        On the test part; only to be reported, never to choose anything. NaN without one.
    training_accuracy, training_loss
        On the given labels, from the forward passes of the training, over all samples.
    label_precision
        Share of clean samples among the kept; NaN where the truth is unknown.
    kept_share
        Share of samples that were kept.
    validation_half_1, validation_half_2
        What the trial is judged by, see `validation_value`, on either half of the samples, each
        with its share of every class: an epoch that one half has chosen is judged without favour
        by the other.
    validation_metric, test_metric
        `TrainConfig.metric` on these parts; NaN where it is accuracy.
    """

    trial: int
    epoch: int
    validation_accuracy: float
    validation_loss: float
    test_accuracy: float
    training_accuracy: float
    training_loss: float
    label_precision: float
    kept_share: float
    validation_half_1: float = math.nan  # checkpoints of earlier versions have none
    validation_half_2: float = math.nan
    validation_metric: float = math.nan
    test_metric: float = math.nan

    @property
    def validation_value(self) -> float:
        """What the trial is judged by: its validation accuracy, or the metric in its place."""
        chosen = self.validation_metric
        return self.validation_accuracy if math.isnan(chosen) else chosen


CURVES = tuple(field.name for field in fields(EpochReport))[2:]
"""Names of the numbers measured each epoch, in `EpochReport` and in `TrainResult.curves`."""

Curve = NDArray[np.float64]


class _Named:
    """A curve of a result under its name: ``result.test_accuracy``."""

    def __set_name__(self, owner: type[TrainResult], name: str) -> None:
        self._name = name

    def __get__(self, result: TrainResult, owner: type[TrainResult]) -> Curve:
        return result.curves[self._name]


@dataclass(frozen=True, eq=False)
class TrainResult:
    """One finished, stopped or failed trial.

    Attributes
    ----------
    method, seed
        What was run.
    rates
        R(t) as given, float64 [T].
    status
        ``"complete"``, ``"stopped"`` (by `on_epoch`) or ``"failed"``.
    failure
        What went wrong and in which epoch, or None.
    curves
        Name in `CURVES` to one number an epoch that was run; see `EpochReport`. Each is an
        attribute, too: ``result.test_accuracy``.
    model
        The networks as they were after `stopped_epoch`; None when the trial failed.
    stopped_epoch
        Epoch, from 0, whose networks `model` holds: the last one that was run, or that with the
        best `validation_value` (the first of them) with ``TrainConfig(stop="best")``.
    kept_counts
        How often each training sample was kept in the last epochs (a tenth of all, at least
        5), summed over the networks, int64 [N].
    offered_counts
        How often it could have been kept, int64 [N].
    training_probabilities
        Class probabilities of the training samples, averaged over the networks, float32 [N, C];
        None unless they were asked for and the trial is complete.
    seconds
        Wall-clock time; epochs of a stack are shared out evenly among its trials.
    samples
        `NoisyData.identity` of what was trained on: counts and probabilities go by position.
    """

    method: str
    seed: int
    rates: NDArray[np.float64]
    status: str
    failure: str | None
    curves: Mapping[str, Curve]
    model: Model | None
    stopped_epoch: int | None
    kept_counts: NDArray[np.int64]
    offered_counts: NDArray[np.int64]
    training_probabilities: NDArray[np.float32] | None = field(default=None, repr=False)
    seconds: float = 0.0
    samples: str = ""

    validation_accuracy = _Named()
    validation_loss = _Named()
    test_accuracy = _Named()
    training_accuracy = _Named()
    training_loss = _Named()
    label_precision = _Named()
    kept_share = _Named()
    validation_half_1 = _Named()
    validation_half_2 = _Named()
    validation_metric = _Named()
    test_metric = _Named()

    @property
    def validation_value(self) -> Curve:
        """What it is judged by, an epoch: validation accuracy, or the metric in its place."""
        chosen = self.validation_metric
        return self.validation_accuracy if np.isnan(chosen).all() else chosen

    @property
    def epochs(self) -> int:
        """Epochs that were run."""
        return len(self.kept_share)


def curves_of(reports: Sequence[EpochReport]) -> dict[str, Curve]:
    """Turn a trial's reports into one array for each measured number."""
    return {name: np.array([getattr(r, name) for r in reports], dtype=float) for name in CURVES}
