"""What pictures are drawn of: schedules with values, distributions over them, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from s2e_optuna.schedules import Schedule

Array = NDArray[np.float64]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class ScoredSchedule:
    """A schedule and the value its trial reached."""

    schedule: Schedule
    value: float


@dataclass(frozen=True)
class Band:
    """A distribution over R(t): its median and its 10 % and 90 % quantiles, shape [T] each."""

    name: str
    median: Array
    low: Array
    high: Array

    @classmethod
    def of_rates(cls, name: str, rates: ArrayLike) -> Band:
        """Summarise n curves.

        Parameters
        ----------
        name
            What they are drawn from.
        rates
            Kept shares, shape [n, T].
        """
        low, median, high = np.quantile(np.asarray(rates, dtype=np.float64), (0.1, 0.5, 0.9), 0)
        return cls(name, median, low, high)


@dataclass(frozen=True)
class LearningCurves:
    """What one method reached by epoch, over seeds.

    Parameters
    ----------
    name
        The method.
    values
        Shape [seeds, epochs], for example accuracies in [0, 1]; NaN where there is none.
    """

    name: str
    values: Array = field(repr=False)

    def __post_init__(self) -> None:
        values = np.atleast_2d(np.asarray(self.values, dtype=np.float64))
        object.__setattr__(self, "values", values)


def spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Choose ``count`` items evenly, the first and the last among them; all if there are fewer."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
