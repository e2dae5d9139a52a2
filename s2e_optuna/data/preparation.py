"""From numbers as people have them to numbers that networks learn from.

Fitted on the training part, and then the same for every part and for whatever a model predicts.

| numbers | kind | what a network gets |
|---|---|---|
| vectors [N, D] | ``columns`` | each column standardised, cut off at 20 standard deviations |
| bytes, the largest 64 or more | ``pixels`` | divided by 255 |
| the same as floats | ``range`` | divided by 255 |
| numbers with fractions, the largest between 1/4 and 16 | ``floats`` | themselves |
| other images, such as 0/1, 0..16, 0..4095, CT | ``range`` | 0 to 1 over their own range |

A network of 8x8 digits with 20% wrong labels, after 20 epochs, by the largest number it got: error
.46 at 1/16 (0..16 taken for pixels), .19 at 1/4, .10 at 1, .06 at 4, .05 at 16, .07 at 64. So what
fills less than a quarter of 0 .. 1 is never taken for pixels, however it is stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.data.words import count
from s2e_optuna.errors import DataError

MOST_DEVIATIONS = 20.0
"""Standardised numbers are cut off at so many standard deviations."""

SMALLEST_PIXEL, LARGEST_PIXEL = 64, 255
"""Bounds of the largest number of whole ones that are pixels."""

SMALLEST_FLOAT, LARGEST_FLOAT = 0.25, 16.0
"""Bounds of the largest magnitude of numbers that are taken as they are."""

FLOAT_LIMIT = 100.0
"""Largest magnitude that is taken as it is where the training part was; 0..255 is a mistake."""

KINDS = ("pixels", "floats", "range", "columns")

_ROWS = 4096
"""Vectors that are looked at, or standardised, at a time, in double precision."""


@dataclass(frozen=True, eq=False)
class Preparation:
    """What is done to all numbers of a data set.

    Attributes
    ----------
    kind
        One of `KINDS`; see the module.
    low, high
        What becomes 0 and 1, of the kind ``range``.
    mean, deviation
        float64 [D], of the kind ``columns``.
    """

    kind: str = "pixels"
    low: float = 0.0
    high: float = 1.0
    mean: NDArray[np.float64] | None = None
    deviation: NDArray[np.float64] | None = None

    @classmethod
    def fit(cls, images: Tensor) -> Preparation:
        """Find out what numbers are.

        Parameters
        ----------
        images
            Of the training part, [N, channels, height, width] as `as_images` returns them; those
            of one row and one channel are vectors.
        """
        if tuple(images.shape[1:3]) == (1, 1):
            values = images.reshape(len(images), -1).numpy()
            mean = _sum_of_rows(values, lambda rows: rows) / len(values)
            deviation = np.sqrt(
                _sum_of_rows(values, lambda rows: (rows - mean) ** 2) / len(values)
            )
            constant = values.max(axis=0) == values.min(axis=0)  # the mean may be off by a bit
            mean = np.where(constant, values[0].astype(np.float64), mean)
            return cls("columns", mean=mean, deviation=np.where(constant, 1.0, deviation))
        low, high = float(images.min()), float(images.max())
        if images.dtype == torch.uint8:
            is_pixel = high >= SMALLEST_PIXEL or high == 0
            return cls() if is_pixel else cls("range", 0.0, high)
        if low >= 0 and SMALLEST_PIXEL <= high <= LARGEST_PIXEL:
            return cls("range", 0.0, float(LARGEST_PIXEL))
        largest = max(high, -low)
        counted = low >= 0 and high > 1 and bool((images == images.floor()).all())
        if low == high or (not counted and SMALLEST_FLOAT <= largest <= LARGEST_FLOAT):
            return cls("floats")
        return cls("range", min(low, 0.0), high)

    def apply(self, images: Tensor) -> Tensor:
        """Prepare images that `check` lets pass.

        Parameters
        ----------
        images
            [N, channels, height, width] as `as_images` returns them.

        Returns
        -------
        Tensor
            float32, or uint8 pixels, which are divided by 255 when a batch is made.
        """
        if self.kind == "columns":
            return self._standardised(images)
        if self.kind == "range":
            return images.to(torch.float32).sub(self.low).div_(self.high - self.low)
        return images if images.dtype == torch.uint8 else images.to(torch.float32)

    def check(self, images: Tensor, part: str = "new") -> None:
        """Refuse numbers that are not of the kind that the training part had.

        Parameters
        ----------
        images
            [N, channels, height, width] as `as_images` returns them.
        part
            What they are called in messages.

        Raises
        ------
        DataError
            They are on another scale.
        """
        if self.kind == "columns":
            assert self.mean is not None
            if tuple(images.shape[1:]) != (1, 1, len(self.mean)):
                raise DataError(
                    f"the {part} samples are {list(images.shape[1:])}, the training samples had "
                    f"{len(self.mean)} columns: give the same columns"
                )
            return
        low, high = float(images.min()), float(images.max())
        if self.kind == "range":
            width = self.high - self.low
            if not self.low - width <= low <= high <= self.high + width:
                raise DataError(
                    f"the {part} images hold {low:g} to {high:g}, the training images "
                    f"{self.low:g} to {self.high:g}: bring them to the same scale"
                )
        elif images.dtype == torch.uint8:
            if self.kind == "floats" and high < SMALLEST_PIXEL:
                raise DataError(
                    f"the {part} images are whole numbers up to {high:g}, the training images "
                    "numbers with fractions: bring them to the same scale"
                )
        elif max(-low, high) > FLOAT_LIMIT:
            raise DataError(
                f"the {part} images are floats from {low:g} to {high:g}, the training images "
                "were pixels or floats around [0, 1]: store them as uint8, or divide them by 255"
            )

    def _standardised(self, images: Tensor) -> Tensor:
        assert self.mean is not None and self.deviation is not None
        values = images.reshape(len(images), -1).numpy()
        found = np.empty(values.shape, dtype=np.float32)
        for start in range(0, len(values), _ROWS):
            rows = slice(start, start + _ROWS)
            scaled = (values[rows] - self.mean) / self.deviation
            found[rows] = scaled.clip(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        return torch.from_numpy(found).view(images.shape)

    @property
    def copies(self) -> bool:
        """Whether what is prepared lies in memory of its own."""
        return self.kind in ("columns", "range")

    @property
    def words(self) -> str | None:
        """What is done, as a sentence; None where there is nothing to say."""
        if self.kind == "columns":
            assert self.mean is not None
            return f"{count(len(self.mean), 'column')} standardised"
        if self.kind == "range":
            return f"numbers from {self.low:g} to {self.high:g} scaled to 0 to 1"
        return None

    @property
    def scale(self) -> str:
        """What is done, without numbers that depend on all samples: for comparisons."""
        return f"{self.kind} {self.low:g} {self.high:g}" if self.kind == "range" else self.kind

    def stored(self) -> tuple[str, dict[str, Tensor]]:
        """Return it as a text (JSON) and arrays, to be kept with a model."""
        text = json.dumps({"kind": self.kind, "low": self.low, "high": self.high})
        arrays = {"mean": self.mean, "deviation": self.deviation}
        return text, {name: torch.from_numpy(a) for name, a in arrays.items() if a is not None}

    @classmethod
    def from_stored(cls, text: str | None, arrays: Mapping[str, Tensor]) -> Preparation:
        """Make it again of what `stored` returned; models of earlier versions have nothing.

        Raises
        ------
        ValueError
            It is damaged.
        """
        if text is None:
            return cls()
        found: dict[str, Any] = json.loads(text)
        columns = {name: array.numpy().astype(np.float64) for name, array in arrays.items()}
        if found["kind"] not in KINDS or (found["kind"] == "columns") != (len(columns) == 2):
            raise ValueError(f"unknown preparation {found['kind']}")
        return cls(found["kind"], float(found["low"]), float(found["high"]), **columns)


def _sum_of_rows(
    values: NDArray[Any], of: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Sum what a function makes of rows, in double precision, without a copy of all.

    The sum so far is the first row of the next ones: bit by bit what one sum would be.
    """
    total = of(values[:_ROWS].astype(np.float64)).sum(axis=0)
    for start in range(_ROWS, len(values), _ROWS):
        rows = of(values[start : start + _ROWS].astype(np.float64))
        total = np.concatenate([total[None], rows]).sum(axis=0)
    return np.asarray(total)


AS_THEY_ARE = Preparation("floats")
"""Floats around [0, 1]: nothing is done."""

PIXELS = Preparation()
"""Pixels, and floats around [0, 1]: nothing is done."""
