"""A trained model that stands on its own, and what it predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from s2e_optuna.data.encoder import Encoder
from s2e_optuna.data.new_samples import (
    ImagePaths,
    NewSamples,
    Raw,
    TableCells,
    decode_like,
    new_samples,
    readable_blocks,
)
from s2e_optuna.data.noisy_data import as_images
from s2e_optuna.data.preparation import PIXELS, Preparation
from s2e_optuna.data.pretrained import PretrainedFeatures
from s2e_optuna.data.streaming import ImageFiles, prepared
from s2e_optuna.data.table_columns import TableColumns
from s2e_optuna.data.text_features import TextFeatures
from s2e_optuna.data.wide_vectors import WideVectors
from s2e_optuna.data.words import count
from s2e_optuna.device import on_device, resolve_device
from s2e_optuna.errors import DataError
from s2e_optuna.training.evaluation import iterate_probabilities
from s2e_optuna.training.networks import (
    InputShape,
    NetworkFactory,
    Parameters,
    StackedModels,
    StackedNetwork,
    make_network,
    unstack,
)

BLOCK = 1024
"""New samples that are read and predicted at a time."""


@dataclass(frozen=True, eq=False)
class Model:
    """One or more networks of the same architecture whose probabilities are averaged.

    Attributes
    ----------
    network
        Name in `NETWORKS`, or ``"package.module:function"`` of a user's own.
    input_shape
        Channels, height and width.
    class_names
        Names of the C classes, in the order of the outputs.
    states
        State dict of each network's plain `torch.nn` twin, on the CPU.
    factory
        What builds the network where the name alone does not tell.
    preparation
        What is done to images before the networks get them.
    encoder
        What makes numbers of a table's cells, of texts or of images, or fewer of wide vectors;
        None where the model was trained on numbers as they were.
    """

    network: str
    input_shape: InputShape
    class_names: tuple[str, ...]
    states: tuple[Parameters, ...]
    factory: NetworkFactory | None = None
    preparation: Preparation = PIXELS
    encoder: Encoder | None = None

    @property
    def classes_(self) -> NDArray[np.str_]:
        """Names of the classes, in the order of the probabilities."""
        return np.array(self.class_names)

    @property
    def takes_vectors(self) -> bool:
        """Whether a sample is a row of numbers and no image."""
        return tuple(self.input_shape[:2]) == (1, 1)

    def predict_proba(self, X: Any, device: str = "cpu") -> NDArray[np.float32]:
        """Predict class probabilities of new samples [N, C], in the order of `classes_`.

        Parameters
        ----------
        X
            Samples as people have them: an array of what the model was trained on; the path of a
            folder of images, of an image, of an ``.npz`` file or of a table; a list of images'
            paths; a DataFrame; or, where it was trained on texts, a list of texts.
        device
            ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

        Raises
        ------
        DataError
            The samples cannot be read, or are not like those that the model was trained on.
        """
        return predict_samples(self, self._samples(X), device=device).probabilities

    def _samples(self, X: Any) -> NewSamples:
        is_list = isinstance(X, list | tuple) and bool(X) and isinstance(X[0], str)
        if not (isinstance(self.encoder, TextFeatures) and is_list):
            return new_samples(X)
        cells = TableCells("the list", {self.encoder.column: tuple(map(str, X))})
        return NewSamples(tuple(map(str, range(len(X)))), cells, ())

    def predict(self, X: Any, device: str = "cpu") -> NDArray[np.str_]:
        """Predict the names of the classes of new samples [N]; see `predict_proba`."""
        return np.asarray(self.classes_[self.predict_proba(X, device).argmax(axis=1)])

    def stacked(self, device_type: str = "cpu") -> StackedModels:
        """Put the networks side by side again, to be run on such a device."""
        architecture: StackedNetwork = make_network(
            self.factory or self.network,
            self.input_shape,
            len(self.class_names),
            device_type=device_type,
        )
        names = self.states[0]
        return StackedModels(
            architecture, {name: torch.stack([s[name] for s in self.states]) for name in names}
        )

    def modules(self) -> list[nn.Module]:
        """Return the networks as ordinary `torch.nn` modules in evaluation mode.

        They take prepared images, scaled to [0, 1] where those are pixels.
        """
        stacked = self.stacked()
        return [unstack(stacked, index).eval() for index in range(len(self.states))]


def predict_proba(
    model: Model, images: ArrayLike | Tensor | ImageFiles, device: str = "cpu"
) -> NDArray[np.float32]:
    """Predict class probabilities, averaged over the model's networks.

    Parameters
    ----------
    model
        A trained model.
    images
        In any layout and on the scale that the training data had, or files, with the model's
        image size.
    device
        Where to compute: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns
    -------
    ndarray
        float32 [N, C].

    Raises
    ------
    DataError
        The images are of another size or scale, or cannot be read as images; there is no such
        device.
    """
    if isinstance(images, ImageFiles):
        _check_shape(model, images.shape[1:])
        return _predictor(model, device)(prepared(images, model.preparation))
    return _predictor(model, device)(_checked(model, as_images(images, "new")))


def _predictor(model: Model, device: str) -> Callable[[Tensor | ImageFiles], NDArray[np.float32]]:
    """Build the networks once; return what predicts prepared images."""
    place = resolve_device(device)
    stacked = model.stacked(place.type)
    with on_device(place):
        tensors = {name: tensor.to(place) for name, tensor in stacked.parameters.items()}

    def predict(images: Tensor | ImageFiles) -> NDArray[np.float32]:
        with on_device(place):
            chunks = iterate_probabilities(
                stacked.network, tensors, images, networks=len(model.states)
            )
            found: NDArray[np.float32] = torch.cat([chunk[0].cpu() for chunk in chunks]).numpy()
        return found

    return predict


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of new samples.

    Attributes
    ----------
    ids
        Names of the samples that could be read.
    probabilities
        float32 [N, C].
    words
        What was done to read them, in sentences.
    """

    ids: tuple[str, ...]
    probabilities: NDArray[np.float32]
    words: tuple[str, ...]


def predict_samples(
    model: Model,
    samples: NewSamples,
    *,
    device: str = "cpu",
    skip_broken: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Predict new samples, some at a time, so that more of them than fit into memory can be.

    Parameters
    ----------
    model
        A trained model.
    samples
        What to predict.
    device
        Where to compute.
    skip_broken
        Leave out images that cannot be read, and say so.
    progress
        Told how many have been predicted, and how many there are.

    Raises
    ------
    DataError
        They are not like those that the model was trained on, or images cannot be read.
    """
    channels, height, width = model.input_shape
    found: list[NDArray[np.float32]] = []
    coloured = 0
    encoder = model.encoder
    if isinstance(encoder, PretrainedFeatures | TextFeatures):
        _ = encoder.network  # what is missing is said before the first sample is read
    if isinstance(samples.raw, ImagePaths) and isinstance(encoder, TextFeatures):
        raise DataError(
            f"the model was trained on texts, and these are images: give a table with the column "
            f"{encoder.column}"
        )
    if isinstance(encoder, WideVectors):
        width = encoder.width
    are_numbers = model.takes_vectors and (encoder is None or isinstance(encoder, WideVectors))
    if isinstance(samples.raw, ImagePaths) and are_numbers:
        raise DataError(
            f"the model was trained on rows of {count(width, 'number')}, and these are images: "
            "give rows of numbers"
        )
    predict = _predictor(model, device)

    def use(raw: Raw) -> None:
        nonlocal coloured
        if isinstance(raw, TableCells):
            raw = _encoded(model, raw, device)
        if isinstance(encoder, PretrainedFeatures) and not _is_encoded(model, raw):
            raw = encoder.encode(raw.paths if isinstance(raw, ImagePaths) else raw, device)
        if isinstance(raw, Tensor):
            found.append(predict(_checked(model, raw)))
            return
        images, number = decode_like(raw, channels, (height, width))
        if tuple(images.shape[1:]) != tuple(model.input_shape):
            raise DataError(
                f"the model was trained on arrays of {channels} channels, which files of images "
                "have not: give arrays like those"
            )
        coloured += number
        if model.preparation.kind == "range":  # files say their own range
            model.preparation.check(images)
        found.append(predict(model.preparation.apply(images)))

    positions = readable_blocks(samples, BLOCK, use, skip_broken=skip_broken, progress=progress)
    words = []
    if (left_out := len(samples.ids) - len(positions)) > 0:
        words.append(f"{count(left_out, 'broken image')} left out")
    if coloured:
        words.append(f"{count(coloured, 'image')} turned grey, as those to train were")
    ids = _names(model, samples)
    return Predictions(tuple(ids[i] for i in positions), np.concatenate(found), tuple(words))


def _encoded(model: Model, cells: TableCells, device: str) -> Tensor:
    """Return the numbers [N, 1, 1, D] that the cells of a table were in training."""
    if isinstance(model.encoder, TextFeatures):
        return model.encoder.encode(model.encoder.texts(cells.columns, cells.where), device)
    if not isinstance(model.encoder, TableColumns):
        raise DataError(
            f"{cells.where} is a table, and the model knows no columns, for it was trained on "
            "images or arrays, or by a version that kept none: train it on a table"
        )
    raw = model.encoder.cast(cells.columns, cells.where)
    return torch.from_numpy(model.encoder.apply(raw, np.arange(len(cells)))[:, None, None])


def _is_encoded(model: Model, raw: Raw) -> bool:
    return isinstance(raw, Tensor) and tuple(raw.shape[1:]) == tuple(model.input_shape)


def _names(model: Model, samples: NewSamples) -> Sequence[str]:
    """Return one name a sample: of a table's rows those in the column that named them before."""
    if isinstance(samples.raw, TableCells) and isinstance(
        model.encoder, TableColumns | TextFeatures
    ):
        found = samples.raw.columns.get(model.encoder.naming or "", ())
        if found and len(set(found)) == len(found):
            return found
    return samples.ids


def _checked(model: Model, images: Tensor) -> Tensor:
    """Return images as a model's networks get them, if they are like those to train."""
    if isinstance(model.encoder, WideVectors) and not _is_encoded(model, images):
        return model.encoder.encode(images)
    _check_shape(model, images.shape[1:])
    model.preparation.check(images)
    return model.preparation.apply(images)


def _check_shape(model: Model, shape: Sequence[int]) -> None:
    if tuple(shape) == tuple(model.input_shape):
        return
    if model.takes_vectors and tuple(shape[:2]) == (1, 1):
        raise DataError(
            f"the samples have {count(shape[2], 'column')}, the model was trained on "
            f"{model.input_shape[2]:,}: give the same columns"
        )
    raise DataError(
        f"the images are {list(shape)} (channels, height, width), the model was trained on "
        f"{list(model.input_shape)}: bring them to that size"
    )
