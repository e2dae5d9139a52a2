"""Numbers that say how good a training was, and the scores of a way of training.

A training is worth the model that one would keep: that of its epoch with the best validation
accuracy (``stop="best"``). The validation accuracy by which trainings are compared is the mean of
their three best epochs. With ``stop="last"``, as in the paper, both are means over the last
epochs. Another metric (`s2e_optuna.metrics`) takes the place of validation accuracy in all of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SCORED = ("test_accuracy", "validation_accuracy", "label_precision")
"""Curves of a training that are compared."""

METRIC_SCORES = ("test_metric", "validation_metric")
"""Those that are compared besides, where the metric is another than accuracy."""

Curve = Sequence[float] | np.ndarray[Any, Any]
"""One number an epoch."""


def last_epochs(epochs: int) -> int:
    """Epochs at the end over which accuracies are averaged: a tenth, at least 5, at most all."""
    return min(epochs, max(5, -(-epochs // 10)))


def mean_of_last(curve: Curve, count: int) -> float:
    """Mean of the last ``count`` numbers of a curve, of those that were measured; NaN of none."""
    tail = np.asarray(curve, dtype=np.float64)[-count:]
    measured = tail[~np.isnan(tail)]
    return float(measured.mean()) if measured.size else math.nan


BEST_EPOCHS = 3
"""Epochs whose mean is the value of a training that is stopped in time. The best epoch alone is
noisier, and a mean over neighbouring epochs keeps networks of after the best one: chosen on
recorded trainings, see `studies/stopping.py`."""


def best_epoch(accuracy: Curve) -> int | None:
    """Epoch (from 0) at which to stop a training: the first with the best validation accuracy.

    Parameters
    ----------
    accuracy
        Validation accuracy by epoch [T]; NaN where it was not measured.

    Returns
    -------
    int or None
        None if it was never measured.
    """
    curve = np.asarray(accuracy, dtype=np.float64)
    return None if np.isnan(curve).all() else int(np.nanargmax(curve))


def stopped_accuracy(accuracy: Curve) -> float:
    """Return the value of a training that is stopped in time: the mean over its best epochs.

    Parameters
    ----------
    accuracy
        Validation accuracy by epoch [T], so far; NaN where it was not measured.

    Returns
    -------
    float
        Mean of the `BEST_EPOCHS` best, of fewer if there are fewer; NaN of none.
    """
    curve = np.asarray(accuracy, dtype=np.float64)
    best = np.sort(curve[~np.isnan(curve)])[-BEST_EPOCHS:]
    return float(best.mean()) if best.size else math.nan


def judged(validation: Curve, stop: str) -> float:
    """Return the validation accuracy by which a training is compared; NaN if it has none.

    Parameters
    ----------
    validation
        Validation accuracy by epoch [T]; NaN where it was not measured.
    stop
        ``"best"``: mean of the three best epochs. ``"last"``: mean of the last ones.
    """
    if stop == "last":
        return mean_of_last(validation, last_epochs(len(validation)))
    return stopped_accuracy(validation)


def reached(curve: Curve, validation: Curve, stop: str) -> float:
    """Return what another curve says of the model that is kept, for example its test accuracy.

    Parameters
    ----------
    curve
        Numbers by epoch [T].
    validation
        Validation accuracy by epoch [T], which decides when the training is stopped.
    stop
        ``"best"``: the curve at the best epoch. ``"last"``: its mean over the last epochs.
    """
    if stop == "last":
        return mean_of_last(curve, last_epochs(len(curve)))
    epoch = best_epoch(validation)
    return math.nan if epoch is None else float(curve[epoch])


def cross_judged(first: Curve, second: Curve, stop: str) -> float:
    """Return the accuracy of the model that is kept, by samples that have not chosen its epoch.

    Parameters
    ----------
    first, second
        Validation accuracies by epoch [T] on the two halves of the validation part. The epoch
        that is best by one is judged by the other, both ways round.
    stop
        As for `judged`.
    """
    return (reached(second, first, stop) + reached(first, second, stop)) / 2


def number_or_none(value: float) -> float | None:
    """Return a number as JSON knows it: None for NaN and infinities."""
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class MethodScore:
    """How well one way of training did, over several seeds.

    Attributes
    ----------
    method
        Name in `s2e_optuna.training.METHODS`.
    schedule
        R(t), T rates.
    test_accuracy
        One number a seed, of the model that is kept, see `reached`. NaN without a test part.
    validation_accuracy
        One number a seed, by which trainings are compared, see `judged`; that of the model that
        is kept where another metric compares them.
    label_precision
        As for `test_accuracy`; NaN where the truth is unknown.
    expected_validation
        One number a seed: validation accuracy (or metric) by samples that have not chosen the
        epoch, see `cross_judged`. Empty in results of earlier versions.
    seconds
        Wall-clock seconds of training, all seeds together.
    stopped_epoch
        Epoch, from 0, of the model that is kept, one a seed, None where a training failed; empty
        where all train to the end.
    last_epochs
        Mean test accuracy over the last epochs, one a seed: what training to the end gives.
    curves
        Name (``test_accuracy``, ``validation_accuracy``, ``label_precision``) to one tuple of
        numbers by epoch for each seed; a training that failed has NaN in all its epochs.
    test_metric, validation_metric
        The metric in place of accuracy, one number a seed: of the model that is kept, and by
        which trainings are compared. Empty where it is accuracy.
    searched
        Values of the parameters that were searched beside the schedule, by name.
    """

    method: str
    schedule: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    label_precision: tuple[float, ...]
    seconds: float
    curves: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict, repr=False)
    stopped_epoch: tuple[int | None, ...] = ()
    last_epochs: tuple[float, ...] = ()
    expected_validation: tuple[float, ...] = ()

    @property
    def unflattered(self) -> tuple[float, ...]:
        """`expected_validation`; in results of earlier versions `validation_value`."""
        return self.expected_validation or self.validation_value

    test_metric: tuple[float, ...] = ()
    validation_metric: tuple[float, ...] = ()
    searched: Mapping[str, float] = field(default_factory=dict)

    @property
    def test_value(self) -> tuple[float, ...]:
        """What it is compared by on the test part: accuracy, or the metric in its place."""
        return self.test_metric or self.test_accuracy

    @property
    def validation_value(self) -> tuple[float, ...]:
        """The same on the validation part."""
        return self.validation_metric or self.validation_accuracy

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON, with mean and sample standard deviation; null for no number."""
        numbers: dict[str, Any] = {"method": self.method}
        names = ["test_accuracy", "validation_accuracy", "label_precision"]
        names += [name for name in METRIC_SCORES if getattr(self, name)]
        for name in names:
            values = getattr(self, name)
            numbers[name] = [number_or_none(value) for value in values]
            numbers[f"{name}_mean"] = number_or_none(float(np.mean(values)))
            numbers[f"{name}_std"] = (
                number_or_none(float(np.std(values, ddof=1))) if len(values) > 1 else None
            )
        last = [number_or_none(value) for value in self.last_epochs]
        expected = [number_or_none(value) for value in self.expected_validation]
        curves = {
            name: [[number_or_none(value) for value in curve] for curve in seeds]
            for name, seeds in self.curves.items()
        }
        return {
            **numbers,
            "stopped_epoch": list(self.stopped_epoch),
            "last_epochs": last,
            "last_epochs_mean": _mean_or_none(self.last_epochs),
            "expected_validation": expected,
            "expected_validation_mean": _mean_or_none(self.expected_validation),
            "seconds": self.seconds,
            "schedule": list(self.schedule),
            "curves": curves,
            **({"searched": dict(self.searched)} if self.searched else {}),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> MethodScore:
        """Read what `to_dict` wrote; KeyError or TypeError if it is something else."""

        def floats(values: Sequence[float | None]) -> tuple[float, ...]:
            return tuple(math.nan if value is None else float(value) for value in values)

        def numbers(name: str) -> tuple[float, ...]:
            return floats(content[name])

        return cls(
            method=str(content["method"]),
            schedule=numbers("schedule"),
            test_accuracy=numbers("test_accuracy"),
            validation_accuracy=numbers("validation_accuracy"),
            label_precision=numbers("label_precision"),
            seconds=float(content["seconds"]),
            stopped_epoch=tuple(content.get("stopped_epoch", ())),  # earlier versions had none
            last_epochs=floats(content.get("last_epochs", ())),
            expected_validation=floats(content.get("expected_validation", ())),
            **{name: floats(content.get(name, ())) for name in METRIC_SCORES},
            searched=content.get("searched", {}),
            curves={
                name: tuple(floats(curve) for curve in seeds)
                for name, seeds in content.get("curves", {}).items()
            },
        )


def _mean_or_none(values: Sequence[float]) -> float | None:
    return number_or_none(float(np.mean(values))) if values else None
