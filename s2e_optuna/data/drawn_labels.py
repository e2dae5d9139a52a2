"""Given labels that are drawn from true ones: label noise of any kind, on any data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from s2e_optuna.data.noise import (
    Noise,
    check_matrix,
    corrupt_labels,
    corrupt_labels_by_instance,
    has_class_names,
    read_transition_matrix,
    transition_matrix,
)
from s2e_optuna.data.noisy_data import scale_pixels
from s2e_optuna.data.preparation import Preparation
from s2e_optuna.data.spec import check_noise_kind, is_matrix_file
from s2e_optuna.data.streaming import ImageFiles
from s2e_optuna.data.words import some
from s2e_optuna.errors import DataError


def draw_labels(
    clean: Tensor,
    class_names: Sequence[str],
    noise: Noise,
    noise_rate: float | None,
    seed: int,
    read: Callable[[], dict[str, Tensor]],
    preparation: Preparation | None,
) -> tuple[Tensor, str, tuple[str, ...]]:
    """Draw given labels.

    Parameters
    ----------
    clean
        True labels, int64 [N].
    class_names
        Names of the classes.
    noise, noise_rate, seed
        See `s2e_optuna.data.from_arrays`.
    read
        Reads the samples' images, of the part ``"train"``.
    preparation
        What is done to images; None fits it to these.

    Returns
    -------
    labels : Tensor
        int64 [N].
    words : str
        What was done.
    sentences : tuple of str
        What else there is to say.

    Raises
    ------
    DataError
        The noise is unknown, or does not fit the classes.
    """
    rng, n_classes = np.random.default_rng(seed), len(class_names)
    if not isinstance(noise, str) or is_matrix_file(noise):
        if noise_rate is not None:
            raise DataError("a transition matrix has its rates in itself: leave `noise_rate` out")
        words = "transition matrix"
        named = False
        if isinstance(noise, str | Path):
            matrix = read_transition_matrix(noise, class_names)
            words, named = f"transition matrix {noise}", has_class_names(noise)
        else:
            matrix = check_matrix(noise)
        if len(matrix) != n_classes:
            raise DataError(
                f"the transition matrix has {len(matrix)} rows for {n_classes} classes: "
                "give it a row and a column for each class"
            )
        drawn = corrupt_labels(clean.numpy(), matrix, rng)
        sentence = f"rows and columns of the transition matrix are {some(class_names, 10)}"
        numbered = list(class_names) == list(map(str, range(n_classes)))
        said = () if named or numbered else (sentence,)
        return torch.from_numpy(drawn), f"{words} (seed {seed})", said
    if noise_rate is None:
        check_noise_kind(noise)
        raise DataError(f"noise {noise!r} needs a noise_rate, for example 0.3")
    if noise == "instance":
        images: Tensor | ImageFiles = read()["train"]
        if isinstance(images, Tensor):
            fitted = Preparation.fit(images) if preparation is None else preparation
            features: Any = scale_pixels(fitted.apply(images)).numpy()
        else:
            features = _reading(images)
        drawn = corrupt_labels_by_instance(clean.numpy(), features, noise_rate, n_classes, rng)
    else:
        matrix = transition_matrix(noise, noise_rate, n_classes)
        drawn = corrupt_labels(clean.numpy(), matrix, rng)
    return torch.from_numpy(drawn), f"{noise} {noise_rate:g} (seed {seed})", ()


def _reading(files: ImageFiles) -> Callable[[NDArray[np.int64]], ArrayLike]:
    return lambda positions: scale_pixels(files.select(torch.from_numpy(positions)).read()).numpy()
