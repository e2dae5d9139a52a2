"""What becomes of wide vectors, such as those of a pretrained network, fitted on those to train.

The mean is taken off. Wide vectors are reduced to their coordinates in the first principal
components. All columns are divided by one number, their standard deviation: scaled one by one,
components that say little would count as much as the first ones, and those of new samples might be
anything. On CIFAR-10N (9,000 images, efficientnet-lite0, plain training, test accuracy of the best
epochs; labels random1 / worst): 256 components of 1,280 columns 75.2% / 71.4%, whitened 73.7% /
69.5%, all columns standardised 74.2% / 68.4%, in twice the time.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.cores import one_thread
from s2e_optuna.data.file_digests import Digests
from s2e_optuna.data.preparation import MOST_DEVIATIONS
from s2e_optuna.data.pretrained_vectors import Floats, make_folder
from s2e_optuna.errors import DataError
from s2e_optuna.writable import whole_file

WIDE = 512
"""Vectors of more numbers are reduced by default."""

COMPONENTS = 256
"""To so many principal components."""

WIDEST = 8192
"""Of wider vectors the components would take hours and gigabytes."""

Numbers = NDArray[np.float64]


class Rows(Protocol):
    """Vectors, some at a time."""

    width: int

    def __len__(self) -> int:
        """Return how many there are."""

    def parts(self) -> Iterator[Floats]:
        """Yield all of them, some at a time [B, D]."""


@dataclass(frozen=True, eq=False)
class Projection:
    """What becomes of the vectors of a network.

    Attributes
    ----------
    mean
        Over the training part, float64 [D].
    components
        Principal components divided by the scale, float64 [D, K]; None keeps all columns.
    scale
        What all columns are divided by.
    kept
        Share of the variance that the components hold.
    """

    mean: Numbers
    components: Numbers | None
    scale: float
    kept: float

    @classmethod
    def fit(cls, vectors: Rows, size: int | None) -> Projection:
        """Look at the training part.

        Parameters
        ----------
        vectors
            Of its samples.
        size
            Number of components; 0 keeps all columns, None reduces those of more than `WIDE`.
        """
        width, total = vectors.width, len(vectors)
        if size is None:
            size = COMPONENTS if width > WIDE else 0
        size = 0 if size >= width else size
        if size and width > WIDEST:
            raise DataError(
                f"the vectors have {width:,} numbers, too many for principal components: make "
                "them shorter, for example pool them in the network, or say `components` 0"
            )
        mean = sum(part.sum(axis=0, dtype=np.float64) for part in vectors.parts()) / total
        squares = np.zeros(width)
        covariance = np.zeros((width, width)) if size else None
        for part in vectors.parts():
            centred = part - mean
            squares += np.square(centred).sum(axis=0)
            if covariance is not None:
                covariance += centred.T @ centred
        variance = float(squares.sum()) / total
        size = min(size, total - 1)  # further ones are noise
        if covariance is None or size < 1 or variance == 0:
            return cls(np.asarray(mean), None, float(np.sqrt(variance / width)) or 1.0, 1.0)
        values, axes = np.linalg.eigh(covariance / total)
        values, axes = values[::-1][:size], axes[:, ::-1][:, :size]
        # Of the two directions of an axis one is chosen, whatever the library gives.
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(size)])
        scale = float(np.sqrt(values.mean())) or 1.0
        return cls(np.asarray(mean), axes / scale, scale, float(values.sum() / variance))

    def apply(self, vectors: Rows) -> Tensor:
        """Return what the head gets, float32 [N, 1, 1, K]."""
        width = len(self.mean) if self.components is None else self.components.shape[1]
        found = np.empty((len(vectors), width), dtype=np.float32)
        done = 0
        for part in vectors.parts():
            centred = part - self.mean
            made = centred / self.scale if self.components is None else centred @ self.components
            found[done : done + len(part)] = made.clip(-MOST_DEVIATIONS, MOST_DEVIATIONS)
            done += len(part)
        return torch.from_numpy(found[:, None, None])

    @property
    def arrays(self) -> dict[str, Numbers]:
        """Its arrays by name."""
        found = {"mean": self.mean}
        return found if self.components is None else found | {"components": self.components}

    @property
    def numbers(self) -> dict[str, float]:
        """Its numbers by name."""
        return {"scale": self.scale, "kept": self.kept}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Its arrays, to be kept with a model."""
        return {name: torch.from_numpy(array.copy()) for name, array in self.arrays.items()}

    @classmethod
    def from_stored(cls, numbers: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Projection:
        """Make it again of what `numbers` and `tensors` returned.

        Raises
        ------
        KeyError, ValueError, TypeError
            They are damaged.
        """
        columns = {name: array.numpy() for name, array in arrays.items()}
        scale, kept = float(numbers["scale"]), float(numbers["kept"])
        return cls(columns["mean"], columns.get("components"), scale, kept)

    def words(self, each: str) -> str:
        """Say how many numbers there are.

        Parameters
        ----------
        each
            Of what: ``"an image"``.
        """
        return f"{len(self.mean):,} numbers {each}{self.reduction}"

    @property
    def reduction(self) -> str:
        """What they are reduced to, as the end of a sentence; empty where they are not."""
        if self.components is None:
            return ""
        return (
            f", reduced to {self.components.shape[1]:,} principal components "
            f"({self.kept * 100:.0f}% of their variance; --components 0 keeps all)"
        )


def fitted_projection(
    folder: Path | None, vectors: Rows, contents: Digests, size: int | None
) -> Projection:
    """Fit a projection, or read an earlier one: equal in all processes, to the bit.

    Parameters
    ----------
    folder
        Where it is kept; None keeps it nowhere.
    vectors
        Of the training part.
    contents
        Digests of its samples.
    size
        See `Projection.fit`.
    """
    place = None
    if folder is not None:
        named = hashlib.blake2b(f"{size}\0".encode(), digest_size=16)
        named.update(contents.tobytes())
        place = folder / f"{named.hexdigest()}.npz"
        with (
            contextlib.suppress(OSError, ValueError, KeyError, EOFError, BadZipFile),
            np.load(place, allow_pickle=False) as file,
        ):
            return Projection(
                file["mean"],
                file["components"] if "components" in file.files else None,
                *map(float, file["numbers"]),
            )
    with one_thread():
        found = Projection.fit(vectors, size)
    if place is not None:
        with contextlib.suppress(OSError):
            make_folder(place.parent)
            numbers = np.array([found.scale, found.kept])
            with whole_file(place) as partial, partial.open("wb") as file:
                np.savez(file, allow_pickle=False, numbers=numbers, **found.arrays)
    return found
