"""Labels and predicted probabilities as plain arrays: what is taken, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2e_optuna.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Real = NDArray[np.floating[Any]]
"""float32 or float64: functions return what they were given."""

SMALLEST = 1e-4
"""Probabilities below count as this: how sure a network is beyond that says nothing."""

_ROWS_AT_ONCE = 4096


def as_probabilities(pred_probs: ArrayLike) -> Real:
    """Return class probabilities [..., C] whose rows sum to one, float32 where they were that.

    Raises
    ------
    DataError
        They are not numbers of at least two axes, or no probabilities.
    """
    values = np.asarray(pred_probs)
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    if values.ndim < 2 or values.shape[-1] < 1:
        raise DataError(
            f"pred_probs has the shape {values.shape}: give a row a sample and a column a class"
        )
    if values.size and not (values.min() >= 0 and np.isfinite(values.max())):  # NaN is neither
        raise DataError("pred_probs must be probabilities, some numbers are below 0 or not finite")
    sums = values.sum(axis=-1, keepdims=True)
    if np.abs(sums - 1).max(initial=0.0) <= 1e-4:
        return values
    if sums.min(initial=1.0) <= 0 or np.abs(sums - 1).max() > 1e-2:
        raise DataError("rows of pred_probs must sum to 1: divide each by its sum")
    return np.asarray(values / sums)  # rounded by who wrote them


def as_labels(labels: ArrayLike, n_samples: int, n_classes: int) -> Ints:
    """Return labels as integers [N] in 0 .. C-1.

    Parameters
    ----------
    labels
        Labels [N].
    n_samples, n_classes
        N and C.

    Raises
    ------
    DataError
        Another number of labels than samples, no integers, or classes that have no column.
    """
    values = np.asarray(labels)
    if values.shape != (n_samples,):
        raise DataError(
            f"labels has the shape {values.shape} and pred_probs {n_samples} rows: give one label "
            "for each row"
        )
    found = values.astype(np.int64)
    if values.size and not np.array_equal(found, values):
        raise DataError("labels must be integers, the columns of pred_probs")
    if values.size and not 0 <= found.min() <= found.max() < n_classes:
        raise DataError(
            f"labels lie in {found.min()} .. {found.max()} and pred_probs has {n_classes} "
            f"columns: number the classes 0 .. {n_classes - 1}"
        )
    return found


def logits(pred_probs: Real) -> Floats:
    """Return logarithms [..., C] less their mean over classes, float64."""
    logs = np.log(np.maximum(pred_probs, SMALLEST), dtype=np.float64)
    return np.asarray(logs - logs.mean(axis=-1, keepdims=True))


def softmax(values: Floats) -> Floats:
    """Return the softmax over the last axis."""
    shares = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def blocks(n_rows: int) -> list[slice]:
    """Cut rows into blocks, so that temporary arrays stay small."""
    return [slice(start, start + _ROWS_AT_ONCE) for start in range(0, n_rows, _ROWS_AT_ONCE)]
