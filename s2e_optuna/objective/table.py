"""The curves of a trial as CSV text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike


def curve_table(rates: ArrayLike, curves: Mapping[str, ArrayLike]) -> str:
    """Write R(t) and what was measured as CSV, a line an epoch.

    Parameters
    ----------
    rates
        R(t), shape [T].
    curves
        Name to numbers by epoch, shape [epochs that were run]; at most T. A curve without any
        finite number is left out, a single one that is not finite is an empty cell.

    Examples
    --------
    >>> print(curve_table([1, 0.5], {"validation_accuracy": [0.25]}), end="")
    epoch,R,validation_accuracy
    0,1,0.25
    1,0.5,
    """
    columns: dict[str, Sequence[float]] = {"R": np.asarray(rates, dtype=np.float64).tolist()}
    for name, curve in curves.items():
        values = np.asarray(curve, dtype=np.float64)
        if np.isfinite(values).any():
            columns[name] = values.tolist()
    lines = [",".join(("epoch", *columns))]
    lines += [
        ",".join((str(epoch), *(_cell(column, epoch) for column in columns.values())))
        for epoch in range(len(columns["R"]))
    ]
    return "\n".join(lines) + "\n"


def _cell(column: Sequence[float], epoch: int) -> str:
    if epoch >= len(column) or not math.isfinite(column[epoch]):
        return ""
    return f"{column[epoch]:.6g}"
