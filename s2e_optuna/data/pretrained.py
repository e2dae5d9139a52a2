"""Features of a frozen, pretrained network in place of images: what is asked, and what is fitted.

| step | what it does |
|---|---|
| pixels | images in arrays are brought to 0..255, by the range of those to train |
| network | with its own preprocessing; with two views the mean of an image and its mirror image |
| projection | centre, principal components, scale: see `s2e_optuna.data.projection` |
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s2e_optuna.data.file_digests import Digests
from s2e_optuna.data.images import OnImages
from s2e_optuna.data.preparation import PIXELS, Preparation
from s2e_optuna.data.pretrained_networks import FeatureNetwork, feature_network
from s2e_optuna.data.pretrained_vectors import (
    SHARD,
    Computed,
    Extract,
    FilePictures,
    Pictures,
    PixelPictures,
    Shard,
    VectorStore,
    vectors_folder,
    vectors_of,
)
from s2e_optuna.data.projection import Projection, fitted_projection
from s2e_optuna.data.split import PART_WORDS
from s2e_optuna.data.streaming import ImageFiles
from s2e_optuna.errors import DataError, check_integer

_VERSION = "s2e features 1"

Images = Tensor | ImageFiles | Sequence[str]
"""Images as `as_images` returns them, or files, perhaps by their paths alone."""


@dataclass(frozen=True, eq=False)
class PretrainedFeatures:
    """From images to what the head of a model gets; all that was fitted, and nothing that runs.

    Attributes
    ----------
    name
        The network, as `feature_network` takes it.
    weights
        Digest of its weights.
    views
        1, or 2 for the mean of an image's vector and its mirror image's.
    side
        Height and width of the images that the network gets; None is its own.
    pixels
        What brings images in arrays to 0..1.
    projection
        What becomes of the vectors.
    function
        What builds the network where it is the user's own.
    cache
        Folder for vectors and digests; None keeps none.
    """

    name: str
    weights: str
    views: int
    side: int | None
    pixels: Preparation
    projection: Projection
    function: Callable[[], Any] | None = None
    cache: Path | None = None

    @cached_property
    def network(self) -> FeatureNetwork:
        """The network.

        Raises
        ------
        DataError
            It is not there, or its weights are others than those in training.
        """
        found = feature_network(self.name, self.side, self.function)
        if found.weights != self.weights:
            raise DataError(
                f"the weights of {self.name} are others than those that the model was trained "
                "on: give it the same ones"
            )
        return found

    def encode(
        self, images: Images, device: str = "auto", progress: OnImages | None = None
    ) -> Tensor:
        """Return what the head gets of images, float32 [N, 1, 1, K].

        Parameters
        ----------
        images
            As `as_images` returns them, or paths of files.
        device
            Where the network runs.
        progress
            Told how many have been done, and how many there are.

        Raises
        ------
        DataError
            They cannot be read, or are not like those to train.
        """
        pictures = _pictures(images, self.pixels, _digests(self.cache))
        store = VectorStore(
            vectors_folder(self.cache, _VERSION, self.network.identity, self.views)
        )
        found = vectors_of(
            pictures, self.network, store, views=self.views, device=device, progress=progress
        )
        return self.projection.apply(found)

    @property
    def identity(self) -> str:
        """What makes features others, in words, without what depends on all samples."""
        side = "" if self.side is None else f" at {self.side}x{self.side}"
        views = "" if self.views == 1 else f", {self.views} views"
        return f"features {self.name} {self.weights[:8]}{side}{views}"

    @property
    def words(self) -> str:
        """What was done, as a sentence."""
        views = " (mean of an image and its mirror image)" if self.views == 2 else ""
        return f"features of {self.name}: {self.projection.words(f'an image{views}')}"

    def stored(self) -> tuple[str, dict[str, Tensor]]:
        """Return it as a text (JSON) and arrays, to be kept with a model."""
        pixels, _ = self.pixels.stored()
        text = {
            "name": self.name,
            "weights": self.weights,
            "views": self.views,
            "side": self.side,
            "pixels": pixels,
            **self.projection.numbers,
        }
        return json.dumps(text), self.projection.tensors

    @classmethod
    def from_stored(
        cls,
        text: str,
        arrays: Mapping[str, Tensor],
        function: Callable[[], Any] | None = None,
        cache: Path | None = None,
    ) -> PretrainedFeatures:
        """Make it again of what `stored` returned.

        Raises
        ------
        KeyError, ValueError, TypeError
            It is damaged.
        """
        found: dict[str, Any] = json.loads(text)
        return cls(
            str(found["name"]),
            str(found["weights"]),
            int(found["views"]),
            found["side"],
            Preparation.from_stored(found["pixels"], {}),
            Projection.from_stored(found, arrays),
            function,
            cache,
        )


@dataclass(frozen=True, eq=False)
class Features:
    """Which features are asked for; see `s2e_optuna.data.load_data`.

    Attributes
    ----------
    name, views, components, side
        See `DataSpec` and `feature_network`.
    device
        Where the network runs.
    cache
        Folder for vectors and digests; None keeps none.
    progress
        Told how many images have been done, and how many there are.
    fitted
        What is used in place of fitting it.
    extract
        Computes the vectors of files, in place of this process.
    """

    name: str
    views: int = 1
    components: int | None = None
    side: int | None = None
    device: str = "auto"
    cache: Path | None = None
    progress: OnImages | None = None
    fitted: PretrainedFeatures | None = None
    extract: Extract | None = None
    network: FeatureNetwork = field(init=False)

    def __post_init__(self) -> None:
        if self.views not in (1, 2):
            raise DataError(f"`views` must be 1 or 2, but is {self.views!r}.")
        if self.components is not None:
            check_integer("components", self.components, 0)
        # At once: weights that are missing are said before anything is read.
        network = (
            feature_network(self.name, self.side) if self.fitted is None else self.fitted.network
        )
        object.__setattr__(self, "network", network)

    def encode(self, images: Mapping[str, Images], preparation: Preparation | None) -> Encoded:
        """Turn the images of all parts into what the head gets, fitted on those to train.

        Parameters
        ----------
        images
            Of each part.
        preparation
            What brings those in arrays to 0..1; None fits it to the training part.

        Raises
        ------
        DataError
            They are no images, or cannot be read.
        """
        pixels = self._pixels(images["train"], preparation)
        digests = _digests(self.cache)
        pictures = {part: _pictures(some, pixels, digests, part) for part, some in images.items()}
        every = _All(list(pictures.values()))
        views = self.views if self.fitted is None else self.fitted.views
        store = VectorStore(vectors_folder(self.cache, _VERSION, self.network.identity, views))
        vectors_of(
            every,
            self.network,
            store,
            views=views,
            device=self.device,
            progress=self.progress,
            extract=self._elsewhere(every, views),
        )
        contents = {part: some.digests for part, some in pictures.items()}
        vectors = {part: store.vectors(some) for part, some in contents.items()}
        fitted = self.fitted
        if fitted is None:
            fitted = PretrainedFeatures(
                self.name,
                self.network.weights,
                views,
                self.side,
                pixels,
                fitted_projection(
                    store.folder, vectors["train"], contents["train"], self.components
                ),
                cache=self.cache,
            )
        made = {part: fitted.projection.apply(some) for part, some in vectors.items()}
        return Encoded(made, fitted, contents)

    def _elsewhere(
        self, every: _All, views: int
    ) -> Callable[[Sequence[int]], Iterator[Computed]] | None:
        """Return what lets others compute the vectors of files, if somebody does."""
        extract, paths = self.extract, every.paths
        if extract is None or paths is None:
            return None
        digests = every.digests.tolist()

        def compute(new: Sequence[int]) -> Iterator[Computed]:
            rows = [tuple(new[start : start + SHARD]) for start in range(0, len(new), SHARD)]
            return extract(
                [
                    Shard(
                        self.network.name,
                        self.side,
                        views,
                        self.network.identity,
                        tuple(paths[i] for i in some),
                        tuple(digests[i] for i in some),
                        some,
                    )
                    for some in rows
                ]
            )

        return compute

    def _pixels(self, train: Images, preparation: Preparation | None) -> Preparation:
        if self.fitted is not None:
            return self.fitted.pixels
        if not isinstance(train, Tensor):
            return PIXELS
        _check_images(train)
        return Preparation.fit(train) if preparation is None else preparation


@dataclass(frozen=True, eq=False)
class Encoded:
    """Images that have become vectors.

    Attributes
    ----------
    images
        What the head gets of each part, float32 [N, 1, 1, K].
    encoder
        What has made it.
    contents
        A digest of each image, by part.
    """

    images: dict[str, Tensor]
    encoder: PretrainedFeatures
    contents: dict[str, Digests]


class _All:
    """The images of several parts, one after the other."""

    def __init__(self, parts: Sequence[Pictures]) -> None:
        self.digests = np.concatenate([part.digests for part in parts])
        self._parts = parts
        self._ends = np.cumsum([len(part.digests) for part in parts])

    @property
    def paths(self) -> list[str] | None:
        """Absolute paths of all images; None where some are no files."""
        files = [part for part in self._parts if isinstance(part, FilePictures)]
        if len(files) < len(self._parts):
            return None
        return [os.path.abspath(path) for part in files for path in part.paths]

    def image(self, index: int) -> Any:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self._parts[part].image(index - (int(self._ends[part - 1]) if part else 0))


def _pictures(
    images: Images, pixels: Preparation, digests: Path | None, part: str = "new"
) -> Pictures:
    if not isinstance(images, Tensor):
        paths = images.paths if isinstance(images, ImageFiles) else images
        return FilePictures(paths, digests)
    _check_images(images)
    pixels.check(images, PART_WORDS.get(part, part))
    scaled = pixels.apply(images)
    if scaled.dtype != torch.uint8:
        low, high = float(scaled.min()), float(scaled.max())
        if pixels.kind != "range" and not 0 <= low <= high <= 1:
            raise DataError(
                f"the {PART_WORDS.get(part, part)} images hold {low:g} to {high:g}, and a "
                "pretrained network takes pixels: give 0..255, or 0..1"
            )
        scaled = scaled.mul(255).round().clamp(0, 255).to(torch.uint8)
    return PixelPictures(scaled)


def _check_images(images: Tensor) -> None:
    channels, height, _ = images.shape[1:]
    if channels not in (1, 3) or (channels, height) == (1, 1):
        raise DataError(
            f"the samples are {list(images.shape[1:])} (channels, height, width), and pretrained "
            "features are those of images: give images, grey or in colour, or leave `features` out"
        )


def _digests(cache: Path | None) -> Path | None:
    return None if cache is None else cache / "fingerprints"
