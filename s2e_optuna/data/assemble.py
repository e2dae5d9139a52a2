"""From images and labels to `NoisyData`: checks, splits, label noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from s2e_optuna.data.checked import Checked, with_checked
from s2e_optuna.data.class_numbers import number_classes
from s2e_optuna.data.drawn_labels import draw_labels
from s2e_optuna.data.frozen_features import Encoded
from s2e_optuna.data.noise import Noise
from s2e_optuna.data.noisy_data import NOT_CHECKED, NoisyData, as_images, as_labels
from s2e_optuna.data.preparation import AS_THEY_ARE, PIXELS, Preparation
from s2e_optuna.data.pretrained import Features, PretrainedFeatures
from s2e_optuna.data.reading import reading_words, warning_words
from s2e_optuna.data.split import PART_WORDS, holdout_size
from s2e_optuna.data.strata import Rows, stratified_order
from s2e_optuna.data.wide_vectors import Narrowed, WideVectors
from s2e_optuna.errors import DataError

SPLIT_SEED = 20200
"""Seed of every split of a data set; fixed, so that all runs see the same parts."""


Read = Callable[[Mapping[str, tuple[str, Rows]]], dict[str, Tensor]]
"""Reads images: a part's name -> (part of the source, rows of it) to the part's images."""


def from_arrays(
    x_train: ArrayLike | Tensor,
    y_train: ArrayLike | Tensor,
    x_val: ArrayLike | Tensor | None = None,
    y_val: ArrayLike | Tensor | None = None,
    x_test: ArrayLike | Tensor | None = None,
    y_test: ArrayLike | Tensor | None = None,
    *,
    y_clean: ArrayLike | Tensor | None = None,
    name: str = "arrays",
    noise: Noise | None = None,
    noise_rate: float | None = None,
    seed: int = 0,
    validation: str = "auto",
    train_size: int | None = None,
    n_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    layout: str = "arrays",
    words: Sequence[str] = (),
    preparation: Preparation | None = None,
    checked: Checked | None = None,
    known: Mapping[int, int] | None = None,
    features: Features | None = None,
    narrowed: Narrowed | None = None,
) -> NoisyData:
    """Build a `NoisyData` from arrays, with every check.

    Without a validation part, random halves of the test part become validation and test;
    without either, or with ``validation="noisy"``, validation is cut from the noisy training
    data.

    Parameters
    ----------
    x_train, y_train, x_val, y_val, x_test, y_test
        Images (see `as_images`) and labels: numbers 0 .. C-1 or 1 .. C, or names of the classes.
    y_clean
        True labels of the training images, where they are known and `y_train` holds wrong ones;
        used for reports only.
    name
        What the data set is called in reports.
    noise, noise_rate, seed
        Label noise to put on the training labels: a kind with its rate, a file with a transition
        matrix or the matrix itself; and its seed. Without `noise` the labels are taken as they
        are.
    validation
        ``"auto"``, ``"clean"`` or ``"noisy"``.
    train_size
        Use only that many training samples, drawn at random in proportion to the classes.
    n_classes, class_names
        Number and names of the classes; by default what the labels show.
    ids
        One name for each training sample.
    layout, words
        What they were taken for, and what else there is to say, for `NoisyData.reading`.
    preparation
        What is done to images; by default fitted to the training part.
    checked
        True labels of some samples of a validation part that is cut from the training data, see
        `load_data`.
    known
        Of a few rows of the training part the number of the true class: with ``"noisy"`` the part
        that is cut to validate holds them, and they count as checked.
    features
        A pretrained network whose features stand for the images.
    narrowed
        How wide vectors are made narrower.

    Raises
    ------
    DataError
        Anything about the input that cannot be trained on.
    """
    y_all: dict[str, Any] = {"train": y_train, "val": y_val, "test": y_test, "clean": y_clean}
    if n_classes is None:
        y_all, class_names = number_classes(y_all, class_names)
    x_all = {"train": x_train, "val": x_val, "test": x_test}
    given = {part: (x, y_all.get(part)) for part, x in x_all.items()}
    images: dict[str, Tensor] = {}
    labels: dict[str, Tensor] = {}
    for part, (x, y) in given.items():
        if part != "train" and x is None and y is None:
            continue
        images[part], labels[part] = _part(x, y, PART_WORDS[part])
        if images[part].shape[1:] != images["train"].shape[1:]:
            raise DataError(
                f"the {PART_WORDS[part]} images are {list(images[part].shape[1:])} and the "
                f"training images {list(images['train'].shape[1:])} (channels, height, width): "
                "make them the same size"
            )

    def read(wanted: Mapping[str, tuple[str, Rows]]) -> dict[str, Tensor]:
        return {part: _rows(images[source], rows) for part, (source, rows) in wanted.items()}

    data = assemble(
        labels,
        read,
        y_clean=None
        if y_clean is None
        else as_labels(y_all["clean"], len(labels["train"]), "true"),
        name=name,
        noise=noise,
        noise_rate=noise_rate,
        seed=seed,
        validation=validation,
        train_size=train_size,
        n_classes=n_classes,
        class_names=class_names,
        ids=ids,
        layout=layout,
        words=words,
        preparation=preparation,
        known=known,
        features=features,
        narrowed=narrowed,
    )
    return with_checked(data, checked)


def dataset_arrays(dataset: Any, part: str = "training") -> tuple[Tensor, NDArray[np.int64]]:
    """Read a torch ``Dataset`` of (image, label) pairs once, into arrays.

    Images may be tensors, arrays or PIL images; transforms of the data set are applied now, so
    random ones give the same picture in every epoch.

    Raises
    ------
    DataError
        Its items are no such pairs, or its images differ in size.
    """
    images, labels = [], []
    for index in range(len(dataset)):
        item = dataset[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(
                f"item {index} of the {part} data set is a {type(item).__name__}: it must be a "
                "pair of an image and a label"
            )
        images.append(np.asarray(item[0]))
        labels.append(item[1])
        if images[index].shape != images[0].shape:
            raise DataError(
                f"image {index} of the {part} data set has shape {list(images[index].shape)} and "
                f"the first {list(images[0].shape)}: resize them in the data set"
            )
    if not images:
        raise DataError(f"the {part} part is empty: give it at least one sample")
    return as_images(np.stack(images), part), np.asarray(labels)


def assemble(
    labels: Mapping[str, Tensor],
    read: Read,
    *,
    y_clean: Tensor | None,
    name: str,
    noise: Noise | None,
    noise_rate: float | None,
    seed: int,
    validation: str,
    train_size: int | None,
    n_classes: int | None,
    class_names: Sequence[str] | None,
    ids: Sequence[str] | None,
    noise_words: str = "as given",
    layout: str = "arrays",
    words: Sequence[str] = (),
    preparation: Preparation | None = None,
    files: Mapping[str, Sequence[str]] | None = None,
    known: Mapping[int, int] | None = None,
    features: Features | None = None,
    narrowed: Narrowed | None = None,
) -> NoisyData:
    """Split and corrupt labels first, then read the images that are needed; see `from_arrays`.

    Parameters
    ----------
    labels
        Checked labels of the parts ``train`` and perhaps ``val`` and ``test``.
    read
        Reads images of these parts.
    noise_words
        What is known about labels on which no noise is put.
    layout
        What the data were taken for.
    words
        What else there is to say about how they were read, in sentences.
    preparation
        What is done to images; by default fitted to the training part.
    files
        Paths of the images of each part in `labels`, where they are files.
    known
        See `from_arrays`.
    features
        A pretrained network whose features stand for the images.
    narrowed
        How wide vectors are made narrower.
    """
    if validation not in ("auto", "clean", "noisy"):
        raise DataError(f"unknown validation {validation!r}: choose auto, clean or noisy")
    given = labels["train"]
    others = [labels[part] for part in ("val", "test") if part in labels]
    n_classes = _count_classes(given, others, n_classes, class_names)
    names = tuple(class_names) if class_names else tuple(str(c) for c in range(n_classes))
    if y_clean is not None:
        as_labels(y_clean, len(given), "true", n_classes)
    if ids is not None and len(ids) != len(given):
        raise DataError(f"{len(ids)} ids for {len(given)} training images")

    rng = np.random.default_rng(SPLIT_SEED)
    val, test = _validation_and_test(labels, validation, rng)
    first = np.array(sorted(known or ()), dtype=np.int64)
    rows = _training_rows(given, n_classes, train_size, rng, first)
    given = given[torch.from_numpy(rows)]
    clean = None if y_clean is None else y_clean[torch.from_numpy(rows)]
    if noise is not None:
        clean = given
        given, noise_words, said = draw_labels(
            given,
            names,
            noise,
            noise_rate,
            seed,
            lambda: read({"train": ("train", rows)}),
            preparation,
        )
        words = [*words, *said]
    elif noise_rate is not None:
        raise DataError("`noise_rate` needs `noise`: choose symmetric, pair or instance")

    cut = val is None or validation == "noisy"
    if validation == "clean" and val is None and clean is None:
        raise DataError(
            "there is no clean validation part: give x_val and y_val (or a test part), or "
            "use validation noisy"
        )
    kept = np.arange(len(rows))
    if cut:
        out, kept = _cut_validation(given.numpy(), np.flatnonzero(np.isin(rows, first)))
        val = ("train", rows[out])
        val_clean = None if clean is None else clean[torch.from_numpy(out)]
        val_given = given[torch.from_numpy(out)]
        val_labels = val_clean if validation == "clean" and val_clean is not None else val_given
    else:
        assert val is not None
        val_labels = labels[val[0]][torch.from_numpy(val[1])]
    wanted = {"train": ("train", rows[kept]), "val": val}
    if test is not None:
        wanted["test"] = test
    images = read(wanted)
    encoded: Encoded[PretrainedFeatures | WideVectors] | None = None
    pictures: dict[str, Tensor] = {}
    if features is not None:
        pictures = {part: some for part, some in images.items() if isinstance(some, Tensor)}
        encoded = features.encode(images, preparation)
    elif narrowed is not None and preparation is None:
        encoded = narrowed.encode(images)
    if encoded is not None:
        images, preparation = encoded.numbers, AS_THEY_ARE
        words = [encoded.encoder.words, *words]
    if preparation is None:
        x_train = images["train"]
        preparation = Preparation.fit(x_train) if isinstance(x_train, Tensor) else PIXELS
    for part, some in images.items():  # an error now, and not in the first trial
        if isinstance(some, Tensor) and part != "train":
            preparation.check(some, PART_WORDS[part])
    sample_ids = tuple(map(str, range(len(labels["train"])))) if ids is None else tuple(ids)
    still_noisy = cut and validation != "clean"
    chosen = torch.from_numpy(kept)
    return NoisyData(
        name=name,
        x_train=images["train"],
        y_train=given[chosen],
        y_clean=None if clean is None else clean[chosen],
        x_val=images["val"],
        y_val=val_labels,
        x_test=images.get("test"),
        y_test=None if test is None else labels[test[0]][torch.from_numpy(test[1])],
        n_classes=n_classes,
        class_names=names,
        validation="noisy" if still_noisy else "clean",
        noise=noise_words,
        ids=tuple(sample_ids[i] for i in rows[kept]),
        val_ids=tuple(sample_ids[i] for i in val[1]) if cut else (),
        y_val_clean=val_clean if cut else None,
        val_checked=torch.tensor([known.get(int(row), NOT_CHECKED) for row in val[1]])
        if known and still_noisy
        else None,
        validation_source=val[0],
        preparation=preparation,
        encoder=None if encoded is None else encoded.encoder,
        contents={} if encoded is None else encoded.contents,
        pictures=pictures,
        files={
            part: tuple(files[source][row] for row in taken)
            for part, (source, taken) in wanted.items()
        }
        if files
        else {},
        reading=(
            reading_words(layout, len(kept), val, test, n_classes),
            *([] if preparation.words is None else [preparation.words]),
            *words,
            *warning_words(given[chosen], names, val_labels, still_noisy),
        ),
    )


def _part(
    images: ArrayLike | Tensor | None, labels: ArrayLike | Tensor | None, what: str
) -> tuple[Tensor, Tensor]:
    if images is None or labels is None:
        raise DataError(f"the {what} part needs both images and labels, one of them is missing")
    checked = as_images(images, what)
    return checked, as_labels(labels, len(checked), what)


def _rows(images: Tensor, rows: Rows) -> Tensor:
    """Take rows; no copy if they are all of them."""
    if len(rows) == len(images) and (rows == np.arange(len(rows))).all():
        return images
    return images[torch.from_numpy(rows)]


def _validation_and_test(
    labels: Mapping[str, Tensor], validation: str, rng: np.random.Generator
) -> tuple[tuple[str, Rows] | None, tuple[str, Rows] | None]:
    """Say which rows of which part validate and test; None where there are none yet."""
    whole = {part: (part, np.arange(len(values))) for part, values in labels.items()}
    val, test = whole.get("val"), whole.get("test")
    if val is None and test is not None and validation != "noisy":
        size = len(labels["test"])
        if size < 2:
            raise DataError("the test part has one sample: give two or more, or a validation part")
        order = rng.permutation(size)
        return ("test", order[: size // 2]), ("test", order[size // 2 :])
    return val, test


def _training_rows(
    labels: Tensor,
    n_classes: int,
    train_size: int | None,
    rng: np.random.Generator,
    first: Rows,
) -> Rows:
    if train_size is None or train_size == len(labels):
        return np.arange(len(labels))
    if not n_classes <= train_size <= len(labels):
        raise DataError(
            f"train_size {train_size} is out of range: choose {n_classes} (one sample a "
            f"class) to {len(labels)} (all of them)"
        )
    return np.sort(_ahead(first, stratified_order(labels.numpy(), rng))[:train_size])


def _ahead(first: Rows, order: Rows) -> Rows:
    """Put some rows ahead of the others."""
    return np.concatenate([first, order[~np.isin(order, first)]]) if len(first) else order


def _cut_validation(labels: NDArray[np.int64], first: Rows) -> tuple[Rows, Rows]:
    """Cut a validation part from noisy training data; return its rows and the rest.

    Those of `first` are in it, as far as it has room.

    Its random numbers are its own: the same samples are cut whether they are a part of a larger
    set or come alone, with labels that an earlier run has saved.
    """
    size = holdout_size(len(labels))
    if size >= len(labels):
        raise DataError("the training part is too small to cut a validation part from it")
    order = _ahead(first, stratified_order(labels, np.random.default_rng([SPLIT_SEED, 1])))
    return np.sort(order[:size]), np.sort(order[size:])


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
        only = class_names[0] if class_names else "0"
        raise DataError(f"there is only one class ({only}): training needs at least two")
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
