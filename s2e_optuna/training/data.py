"""What a training reads: images, given labels, validation and test parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from s2e_optuna.training.errors import DataError
from s2e_optuna.training.noise import corrupt_labels, transition_matrix

SPLIT_SEED = 20200
"""Seed of every split of a data set; fixed, so that all runs see the same parts."""

FLOAT_LIMIT = 100.0
"""Largest magnitude taken as a scaled pixel or feature; 0..255 as floats is a mistake."""


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

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.x_train.shape[1:]
        return channels, height, width

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
            f"the {part} labels have type {values.dtype}: labels must be integers 0 .. C-1, "
            "none of them missing"
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


def stratified_order(labels: ArrayLike, rng: np.random.Generator) -> NDArray[np.int64]:
    """Order samples at random so that every leading part has the classes in proportion."""
    values = np.asarray(labels)
    order = rng.permutation(len(values))
    position = np.empty(len(values))
    for label in np.unique(values):
        members = order[values[order] == label]
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(position[order], kind="stable")]


def holdout_size(n_samples: int) -> int:
    """Size of a validation part cut from training data: a tenth, but 500 if a fifth allows."""
    return max(1, n_samples // 10, min(500, n_samples // 5))


def from_arrays(
    x_train: ArrayLike | Tensor,
    y_train: ArrayLike | Tensor,
    x_val: ArrayLike | Tensor | None = None,
    y_val: ArrayLike | Tensor | None = None,
    x_test: ArrayLike | Tensor | None = None,
    y_test: ArrayLike | Tensor | None = None,
    *,
    name: str = "arrays",
    noise: str | None = None,
    noise_rate: float | None = None,
    seed: int = 0,
    validation: str = "auto",
    train_size: int | None = None,
    n_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
) -> NoisyData:
    """Build a `NoisyData` from arrays, with every check.

    Without a validation part, random halves of the test part become validation and test;
    without either, or with ``validation="noisy"``, validation is cut from the noisy training
    data.

    Parameters
    ----------
    x_train, y_train, x_val, y_val, x_test, y_test
        Images (see `as_images`) and integer labels.
    name
        What the data set is called in reports.
    noise, noise_rate, seed
        Kind of label noise to put on the training labels, its rate and its seed. Without
        `noise` the labels are taken as they are and the truth counts as unknown.
    validation
        ``"auto"``, ``"clean"`` or ``"noisy"``.
    train_size
        Use only that many training samples, drawn at random in proportion to the classes.
    n_classes, class_names
        Number and names of the classes; by default what the labels show.
    ids
        One name for each training sample.

    Raises
    ------
    DataError
        Anything about the input that cannot be trained on.
    """
    if validation not in ("auto", "clean", "noisy"):
        raise DataError(f"unknown validation {validation!r}: choose auto, clean or noisy")
    images, labels = _part(x_train, y_train, "training")
    val = None if x_val is None and y_val is None else _part(x_val, y_val, "validation")
    test = None if x_test is None and y_test is None else _part(x_test, y_test, "test")
    for what, part in (("validation", val), ("test", test)):
        if part is not None and part[0].shape[1:] != images.shape[1:]:
            raise DataError(
                f"the {what} images are {list(part[0].shape[1:])} and the training images "
                f"{list(images.shape[1:])} (channels, height, width): make them the same size"
            )
    n_classes = _count_classes(labels, [p[1] for p in (val, test) if p], n_classes, class_names)
    names = tuple(class_names) if class_names else tuple(str(c) for c in range(n_classes))
    names_of_samples = tuple(ids) if ids is not None else tuple(map(str, range(len(labels))))
    if len(names_of_samples) != len(labels):
        raise DataError(f"{len(names_of_samples)} ids for {len(labels)} training images")

    rng = np.random.default_rng(SPLIT_SEED)
    if val is None and test is not None and validation != "noisy":
        if len(test[1]) < 2:
            raise DataError("the test part has one sample: give two or more, or a validation part")
        order = torch.from_numpy(rng.permutation(len(test[1])))
        half = len(order) // 2
        val, test = _take(test, order[:half]), _take(test, order[half:])

    if train_size is not None and train_size != len(labels):
        if not n_classes <= train_size <= len(labels):
            raise DataError(
                f"train_size {train_size} is out of range: choose {n_classes} (one sample a "
                f"class) to {len(labels)} (all of them)"
            )
        kept = np.sort(stratified_order(labels.numpy(), rng)[:train_size])
        images, labels = _take((images, labels), torch.from_numpy(kept))
        names_of_samples = tuple(names_of_samples[i] for i in kept)

    clean, noise_words = labels if noise is not None else None, "none added"
    if noise is not None:
        if noise_rate is None:
            raise DataError(f"noise {noise!r} needs a noise_rate, for example 0.3")
        matrix = transition_matrix(noise, noise_rate, n_classes)
        labels = torch.from_numpy(
            corrupt_labels(labels.numpy(), matrix, np.random.default_rng(seed))
        )
        noise_words = f"{noise} {noise_rate:g} (seed {seed})"
    elif noise_rate is not None:
        raise DataError("noise_rate was given without noise: choose noise symmetric or pair")

    if val is None or validation == "noisy":
        if validation == "clean" and clean is None:
            raise DataError(
                "there is no clean validation part: give x_val and y_val (or a test part), or "
                "use validation noisy"
            )
        size = holdout_size(len(labels))
        if size >= len(labels):
            raise DataError("the training part is too small to cut a validation part from it")
        order = torch.from_numpy(stratified_order(labels.numpy(), rng))
        out, rest = order[:size].sort().values, order[size:].sort().values
        validation = "clean" if validation == "clean" else "noisy"
        val_labels = clean if validation == "clean" and clean is not None else labels
        val = images[out], val_labels[out]
        images, labels = images[rest], labels[rest]
        clean = None if clean is None else clean[rest]
        names_of_samples = tuple(names_of_samples[i] for i in rest.tolist())
    else:
        validation = "clean"
    return NoisyData(
        name=name,
        x_train=images,
        y_train=labels,
        y_clean=clean,
        x_val=val[0],
        y_val=val[1],
        x_test=None if test is None else test[0],
        y_test=None if test is None else test[1],
        n_classes=n_classes,
        class_names=names,
        validation=validation,
        noise=noise_words,
        ids=names_of_samples,
    )


Part = tuple[Tensor, Tensor]


def _part(images: ArrayLike | Tensor | None, labels: ArrayLike | Tensor | None, what: str) -> Part:
    if images is None or labels is None:
        raise DataError(f"the {what} part needs both images and labels, one of them is missing")
    checked = as_images(images, what)
    return checked, as_labels(labels, len(checked), what)


def _take(part: Part, index: Tensor) -> Part:
    return part[0][index], part[1][index]


def _count_classes(
    labels: Tensor,
    others: Sequence[Tensor],
    n_classes: int | None,
    class_names: Sequence[str] | None,
) -> int:
    """Find the number of classes and refuse labels beyond it and classes without samples."""
    if n_classes is None:
        n_classes = (
            len(class_names)
            if class_names
            else 1 + max(int(part.max()) for part in (labels, *others))
        )
    if class_names and len(class_names) != n_classes:
        raise DataError(f"{len(class_names)} class names for {n_classes} classes")
    if n_classes < 2:
        raise DataError("all labels are 0: training needs at least two classes")
    for part, what in zip(
        (labels, *others), ("training", "validation or test", "validation or test"), strict=False
    ):
        as_labels(part, len(part), what, n_classes)
    counts = torch.bincount(labels, minlength=n_classes)
    empty = torch.nonzero(counts == 0).flatten().tolist()
    if empty:
        shown = ", ".join(class_names[c] if class_names else str(c) for c in empty[:5])
        raise DataError(
            f"{len(empty)} of {n_classes} classes have no training sample (class {shown}): "
            "add samples, or number the classes 0 .. C-1 without gaps"
        )
    return n_classes
