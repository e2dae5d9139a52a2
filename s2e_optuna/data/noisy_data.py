"""What a training reads: images, given labels, validation and test parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from s2e_optuna.errors import DataError

FLOAT_LIMIT = 100.0
"""Largest magnitude taken as a scaled pixel or feature; 0..255 as floats is a mistake."""


@dataclass(frozen=True, eq=False)
class LabelledSamples:
    """Samples whose labels may be wrong, whatever they are used for.

    Attributes
    ----------
    ids
        One name for each sample.
    given, clean
        Labels in the data and, where they are known, true ones; int64 [N].
    """

    ids: tuple[str, ...]
    given: NDArray[np.int64]
    clean: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class NoisyData:
    """A data set whose training labels may be wrong.

    Attributes
    ----------
    name
        What the data set is called in reports.
    x_train, x_val, x_test
        Images [N, channels, height, width]: uint8 (0..255, scaled to [0, 1] when a batch is
        made) or float32 (taken as they are). `x_test` may be None.
    y_train
        Given labels, int64 [N].
    y_clean
        True labels, int64 [N], or None where nobody knows them.
    y_val, y_test
        Labels of the other parts.
    n_classes
        Number of classes C; labels are 0 .. C-1.
    class_names
        C names.
    validation
        ``"clean"`` or ``"noisy"``: the latter is a part of the noisy training data.
    noise
        What was done to the labels, in words.
    ids
        One name for each training sample: its path, or its row in the source.
    val_ids
        Likewise for a validation part that was cut from the training data; else empty.
    y_val_clean
        True labels of such a part, where they are known.
    validation_source
        Where the validation part comes from: ``"val"``, a part of its own; ``"test"``, half of the
        test part; ``"train"``, cut from the training data.
    reading
        How the data were read, in sentences: what they were taken for, what was left out.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    y_clean: Tensor | None
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor | None
    y_test: Tensor | None
    n_classes: int
    class_names: tuple[str, ...]
    validation: str
    noise: str
    ids: tuple[str, ...]
    val_ids: tuple[str, ...] = ()
    y_val_clean: Tensor | None = None
    validation_source: str = "val"
    reading: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.x_train.shape[1:]
        return channels, height, width

    @property
    def noise_rate(self) -> float | None:
        """Share of wrong training labels as they were drawn; None where nobody knows the truth."""
        if self.y_clean is None:
            return None
        return float((self.y_clean != self.y_train).double().mean())

    def validation_facts(self) -> dict[str, str | int]:
        """Return what stands in results beside `validation`: source and sizes, for JSON."""
        return {
            "validation_source": self.validation_source,
            "validation_samples": len(self.y_val),
            "test_samples": 0 if self.y_test is None else len(self.y_test),
        }

    def labelled_samples(self) -> LabelledSamples:
        """Return the training samples and, behind them, those that were cut from them.

        The latter are a validation part with noisy labels: not trained on, but as doubtful.
        """
        if not self.val_ids or self.validation != "noisy":
            clean = None if self.y_clean is None else self.y_clean.numpy()
            return LabelledSamples(self.ids, self.y_train.numpy(), clean)
        given = torch.cat([self.y_train, self.y_val]).numpy()
        truth = None
        if self.y_clean is not None and self.y_val_clean is not None:
            truth = torch.cat([self.y_clean, self.y_val_clean]).numpy()
        return LabelledSamples((*self.ids, *self.val_ids), given, truth)

    def with_labels(self, given: ArrayLike, noise: str = "labels of the user") -> NoisyData:
        """Return the same data with other given labels for the training part.

        Raises
        ------
        DataError
            The labels do not fit the training part.
        """
        labels = as_labels(given, len(self.y_train), "training", self.n_classes)
        return replace(self, y_train=labels, noise=noise)


def scale_pixels(images: Tensor) -> Tensor:
    """Scale uint8 pixels to [0, 1]; leave floats as they are."""
    return images.to(torch.float32).div_(255.0) if images.dtype == torch.uint8 else images


def as_images(array: ArrayLike | Tensor, part: str) -> Tensor:
    """Check images and bring them to [N, channels, height, width].

    [N, height, width] becomes one channel, [N, height, width, 1|3|4] is turned round, and
    features [N, D] become images of one row. Integers in 0..255 become uint8, floats float32.

    Raises
    ------
    DataError
        Not numbers, no samples, NaN, or pixels out of range.
    """
    values = array.numpy(force=True) if isinstance(array, Tensor) else np.asarray(array)
    if values.dtype.kind not in "uif":
        raise DataError(
            f"the {part} images have type {values.dtype}: give uint8 pixels or float numbers"
        )
    if not 2 <= values.ndim <= 4:
        raise DataError(
            f"the {part} images have shape {list(values.shape)}: give [N, height, width], "
            "[N, channels, height, width], [N, height, width, channels] or features [N, D]"
        )
    if values.size == 0:
        raise DataError(f"the {part} part is empty: give it at least one sample")
    if values.ndim == 2:
        values = values[:, None, None, :]
    elif values.ndim == 3:
        values = values[:, None]
    elif values.shape[3] in (1, 3, 4) and values.shape[1] not in (1, 3, 4):
        values = values.transpose(0, 3, 1, 2)
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (np.isfinite(low) and np.isfinite(high)):
            bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            raise DataError(
                f"{len(bad)} of the {part} images hold NaN or infinite pixels, the first is "
                f"number {bad[0]}: remove or repair them"
            )
        if max(-low, high) > FLOAT_LIMIT:
            raise DataError(
                f"the {part} images are floats from {low:g} to {high:g}: "
                "divide them so that they lie in [0, 1], or store 0..255 as uint8"
            )
        return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
    if low < 0 or high > 255:
        raise DataError(
            f"the {part} images are integers from {low} to {high}: "
            "pixels must lie in 0..255, or be floats in [0, 1]"
        )
    return torch.from_numpy(np.array(values, dtype=np.uint8, order="C"))


def as_labels(
    array: ArrayLike | Tensor, n_samples: int, part: str, n_classes: int | None = None
) -> Tensor:
    """Check labels and bring them to int64 [N].

    Raises
    ------
    DataError
        Not integers, negative, another number of them than of images, or >= `n_classes`.
    """
    values = array.numpy(force=True) if isinstance(array, Tensor) else np.asarray(array)
    if values.ndim != 1:
        raise DataError(
            f"the {part} labels have shape {list(values.shape)}: give one class number a sample"
        )
    if values.dtype.kind not in "ui":
        raise DataError(
            f"the {part} labels have type {values.dtype}: labels must be integers 0 .. C-1 or "
            "names of classes, none of them missing"
        )
    if len(values) != n_samples:
        raise DataError(
            f"the {part} part has {n_samples} images but {len(values)} labels: "
            "give one label for each image"
        )
    if values.size and values.min() < 0:
        raise DataError(
            f"the {part} labels hold {values.min()}: labels must be integers 0 .. C-1, "
            "so drop samples without a label"
        )
    if values.size and n_classes is not None and values.max() >= n_classes:
        raise DataError(
            f"the {part} labels go up to {values.max()} but there are only {n_classes} classes "
            f"(0 .. {n_classes - 1}): correct the labels or the number of classes"
        )
    return torch.from_numpy(values.astype(np.int64))
