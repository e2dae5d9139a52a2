"""Rows of many numbers in arrays, such as features that somebody has computed: made narrower.

Columns of one kind, whose deviations are alike, are reduced to the first principal components as
the vectors of a network are, see `s2e_optuna.data.projection`; others are standardised before. A
search of 24 trials on CIFAR-10N (9,000 images, 1,280 features of efficientnet-lite0, labels worst)
ended with a validation error of 26.2% so, and of 27.5% on components of standardised columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s2e_optuna.data.file_digests import digests_of_rows
from s2e_optuna.data.frozen_features import Encoded
from s2e_optuna.data.preparation import Preparation
from s2e_optuna.data.pretrained_vectors import Floats, vectors_folder
from s2e_optuna.data.projection import WIDE, WIDEST, Projection, fitted_projection
from s2e_optuna.data.split import PART_WORDS
from s2e_optuna.data.words import count
from s2e_optuna.errors import DataError

NO_COMPONENTS = "--components is for features and for rows of numbers in arrays: leave it out"
"""What is said where samples have none."""

_VERSION = "s2e wide vectors 1"

ALIKE = 10.0
"""Columns are of one kind where the largest deviation is at most so many times the median."""

_ROWS = 1024
"""Vectors that are standardised at a time."""

_COLUMNS = "columns."
"""Begins the names of what standardises them among stored arrays."""


@dataclass(frozen=True, eq=False)
class WideVectors:
    """From wide vectors to what a network gets; all that was fitted.

    Attributes
    ----------
    columns
        Standardises them.
    projection
        What becomes of the standardised ones.
    """

    columns: Preparation
    projection: Projection

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return len(self.projection.mean)

    @property
    def words(self) -> str:
        """What was done, as a sentence."""
        assert self.columns.deviation is not None
        alike = len(np.unique(self.columns.deviation)) == 1
        how = f"{count(self.width, 'column')} on one scale" if alike else self.columns.words
        return f"{how}{self.projection.reduction}"

    def encode(self, vectors: Tensor, part: str = "new") -> Tensor:
        """Return what a network gets of vectors [N, 1, 1, D], float32 [N, 1, 1, K].

        Raises
        ------
        DataError
            They have another number of columns.
        """
        self.columns.check(vectors, part)
        return self.projection.apply(_Standardised(vectors, self.columns))

    def stored(self) -> tuple[str, dict[str, Tensor]]:
        """Return it as a text (JSON) and arrays, to be kept with a model."""
        text, arrays = self.columns.stored()
        named = {f"{_COLUMNS}{name}": array for name, array in arrays.items()}
        numbers = {"columns": text, **self.projection.numbers}
        return json.dumps(numbers), {**named, **self.projection.tensors}

    @classmethod
    def from_stored(cls, text: str, arrays: Mapping[str, Tensor]) -> WideVectors:
        """Make it again of what `stored` returned.

        Raises
        ------
        KeyError, ValueError, TypeError
            It is damaged.
        """
        found: dict[str, Any] = json.loads(text)
        columns = {
            name.removeprefix(_COLUMNS): array
            for name, array in arrays.items()
            if name.startswith(_COLUMNS)
        }
        rest = {name: array for name, array in arrays.items() if not name.startswith(_COLUMNS)}
        return cls(
            Preparation.from_stored(found["columns"], columns),
            Projection.from_stored(found, rest),
        )


@dataclass(frozen=True, eq=False)
class Narrowed:
    """How vectors are made narrower; see `s2e_optuna.data.load_data`.

    Attributes
    ----------
    components
        Principal components; None decides by the width, 0 leaves vectors as they are.
    cache
        Folder for what was fitted; None keeps nothing.
    fitted
        What is used in place of fitting it.
    """

    components: int | None = None
    cache: Path | None = None
    fitted: WideVectors | None = None

    def encode(self, parts: Mapping[str, Tensor]) -> Encoded[WideVectors] | None:
        """Make the vectors of all parts narrower, fitted on those to train.

        Returns
        -------
        Encoded or None
            None where they are left as they are.

        Raises
        ------
        DataError
            Components of images are asked for, or of vectors that are too wide.
        """
        if not self._applies(parts["train"]):
            return None
        contents = {part: digests_of_rows(some) for part, some in parts.items()}
        fitted = self.fitted
        if fitted is None:
            columns = _scaled(Preparation.fit(parts["train"]))
            train = contents["train"]
            folder = vectors_folder(self.cache, _VERSION, train.tobytes().hex())
            rows = _Standardised(parts["train"], columns)
            fitted = WideVectors(columns, fitted_projection(folder, rows, train, self.components))
        numbers = {
            part: fitted.encode(some, PART_WORDS.get(part, part)) for part, some in parts.items()
        }
        return Encoded(numbers, fitted, contents)

    def _applies(self, vectors: Tensor) -> bool:
        if tuple(vectors.shape[1:3]) != (1, 1):
            if self.components and self.fitted is None:
                raise DataError(NO_COMPONENTS)
            return False
        if self.fitted is not None:
            return True
        width = vectors.shape[3]
        if self.components is None:
            return WIDE < width <= WIDEST
        return 0 < self.components < width


def _scaled(columns: Preparation) -> Preparation:
    """Divide columns by one number where their deviations are alike."""
    assert columns.deviation is not None
    varying = columns.deviation[columns.deviation != 1.0]  # what constant ones are given
    if not len(varying) or varying.max() > ALIKE * np.median(varying):
        return columns
    return replace(columns, deviation=np.full(len(columns.deviation), varying.max()))


class _Standardised:
    """Standardised vectors, some at a time."""

    def __init__(self, vectors: Tensor, columns: Preparation) -> None:
        self._vectors, self._columns = vectors, columns
        self.width = int(vectors.shape[3])

    def __len__(self) -> int:
        return len(self._vectors)

    def parts(self) -> Iterator[Floats]:
        """Yield all of them."""
        for rows in torch.split(self._vectors, _ROWS):
            yield np.asarray(self._columns.apply(rows)[:, 0, 0].numpy())
