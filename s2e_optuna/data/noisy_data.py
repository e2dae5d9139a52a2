"""What a training reads: images, given labels, validation and test parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from s2e_optuna.data.preparation import PIXELS, Preparation
from s2e_optuna.errors import DataError

if TYPE_CHECKING:
    from s2e_optuna.data.encoder import Encoder

NOT_CHECKED = -1
"""True label of a sample that nobody has checked."""

_LOOKED_AT = 4096
"""Samples whose numbers are checked at a time."""

_SKETCHED = 16
"""Numbers of each image by which data are told from others."""


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
        Images [N, channels, height, width] as they were given, uint8 or floats; `preparation`
        says what networks get of them. `x_test` may be None.
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
    preparation
        What is done to images before a network gets them.
    encoder
        What made numbers of the samples as they were given: of a table's cells, or of images or
        texts by a pretrained network. None where they were numbers.
    contents
        A digest of each image or text of ``"train"``, ``"val"`` and ``"test"``, where the numbers
        are features of them.
    pictures
        These images themselves, of each part, where they are no files: to be shown.
    texts
        Texts of each part, where the numbers are features of texts: to be shown.
    files
        Paths of the images of ``"train"``, ``"val"`` and ``"test"``, where they are files.
    reading
        How the data were read, in sentences: what they were taken for, what was left out.
    targets
        Soft labels to learn from in place of `y_train`, float32 [N, C], not negative: a sample
        counts as much as its row sums to. None learns from the given labels.
    val_checked
        True labels of the validation samples that somebody has checked, int64 [V]; `NOT_CHECKED`
        for the others. None where nobody has checked any.
    val_weights
        What each class is worth as a prediction of each validation sample, float32 [V, C]:
        accuracies are the mean weight of what is predicted. None goes by `y_val`.
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
    preparation: Preparation = PIXELS
    encoder: Encoder | None = None
    contents: Mapping[str, NDArray[np.uint64]] = field(default_factory=dict)
    pictures: Mapping[str, Tensor] = field(default_factory=dict)
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reading: tuple[str, ...] = ()
    targets: Tensor | None = None
    val_checked: Tensor | None = None
    val_weights: Tensor | None = None

    def __repr__(self) -> str:
        """Say what it is in a line, without its numbers."""
        return (
            f"NoisyData({self.name!r}, {len(self.y_train)} to train, {len(self.y_val)} to "
            f"validate, {0 if self.y_test is None else len(self.y_test)} to test, images of "
            f"{self.input_shape}, {self.n_classes} classes, labels: {self.noise})"
        )

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

    @cached_property
    def identity(self) -> str:
        """A digest of which training samples these are, in which order, with which labels.

        What is known about samples by their positions alone is only used with the data it came
        from. Of images a few numbers are looked at, of image files the paths;
        `s2e_optuna.data.fingerprint.fingerprint` looks at all.
        """
        files = "\0".join(self.files.get("train", ()))
        digest = hashlib.blake2b(files.encode(), digest_size=16)
        for labels in (self.y_train, self.targets):
            digest.update(b"" if labels is None else labels.numpy().tobytes())
        if isinstance(self.x_train, Tensor):
            rows = self.x_train.reshape(len(self.x_train), -1)
            some = rows[:, :: max(1, rows.shape[1] // _SKETCHED)]
            digest.update(some.contiguous().numpy().tobytes())
        return digest.hexdigest()

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
    """Check images and bring them to [N, channels, height, width]; `Preparation` scales them.

    [N, height, width] becomes one channel, [N, height, width, channels] is turned round: where
    the last axis and not the first is 1, 3 or 4, or, where that says nothing, where the two
    before it are equal and it is not. Features [N, D] become images of one row. Truth values and
    integers in 0..255 become uint8, other numbers float32; features keep double precision where
    they have it.

    Raises
    ------
    DataError
        Not numbers, no samples or NaN.
    """
    values = array.numpy(force=True) if isinstance(array, Tensor) else np.asarray(array)
    if values.dtype.kind not in "buif":
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
    are_features = values.ndim == 2 or values.shape[1:-1] == (1, 1)
    if values.ndim == 2:
        values = values[:, None, None, :]
    elif values.ndim == 3:
        values = values[:, None]
    elif not are_features and _channels_last(values.shape):
        values = values.transpose(0, 3, 1, 2)
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        exact = are_features and values.dtype == np.float64
        with np.errstate(over="ignore"):  # too large numbers become infinite, and are named
            floats = np.array(values, dtype=np.float64 if exact else np.float32, order="C")
        if not (np.isfinite(low) and np.isfinite(high) and _all_finite(floats)):
            bad = np.flatnonzero(~np.isfinite(floats.reshape(len(values), -1)).all(axis=1))
            what, advice = ("images", "pixels") if not are_features else ("samples", "features")
            repair = (
                "fill them in, for example with sklearn.impute.SimpleImputer"
                if are_features
                else "remove or repair them"
            )
            raise DataError(
                f"{len(bad)} of the {part} {what} hold NaN or infinite {advice}, the first is "
                f"number {bad[0]}: {repair}"
            )
        return torch.from_numpy(floats)
    if low < 0 or high > 255:
        return torch.from_numpy(
            np.array(values, dtype=np.float64 if are_features else np.float32, order="C")
        )
    return torch.from_numpy(np.array(values, dtype=np.uint8, order="C"))


def _all_finite(values: NDArray[np.generic]) -> bool:
    """Whether all numbers are finite, without as many truth values at once."""
    return all(
        bool(np.isfinite(values[start : start + _LOOKED_AT]).all())
        for start in range(0, len(values), _LOOKED_AT)
    )


def _channels_last(shape: tuple[int, ...]) -> bool:
    _, first, middle, last = shape
    if (first in (1, 3, 4)) != (last in (1, 3, 4)):
        return last in (1, 3, 4)
    return first == middle != last


def as_labels(
    array: ArrayLike | Tensor, n_samples: int, part: str, n_classes: int | None = None
) -> Tensor:
    """Check labels and bring them to int64 [N].

    Parameters
    ----------
    array
        Labels [N].
    n_samples
        N.
    part
        Name of the part, for messages.
    n_classes
        C, where it is known.

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
