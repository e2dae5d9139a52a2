"""Features of a frozen, pretrained network in place of images.

Images in arrays are brought to 0..255 before, by the range of those to train; with two views
vectors are the mean of those of an image and its mirror image. See
`s2e_optuna.data.frozen_features` for what follows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s2e_optuna.data.frozen_features import AskedFeatures, Encoded, FittedFeatures
from s2e_optuna.data.images import OnImages
from s2e_optuna.data.preparation import PIXELS, Preparation
from s2e_optuna.data.pretrained_networks import FeatureNetwork, feature_network
from s2e_optuna.data.pretrained_vectors import (
    FilePictures,
    ImageShard,
    Pictures,
    PixelPictures,
    VectorStore,
    vectors_folder,
    vectors_of,
)
from s2e_optuna.data.projection import Projection
from s2e_optuna.data.split import PART_WORDS
from s2e_optuna.data.streaming import ImageFiles
from s2e_optuna.errors import DataError

_VERSION = "s2e features 1"

Images = Tensor | ImageFiles | Sequence[str]
"""Images as `as_images` returns them, or files, perhaps by their paths alone."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PretrainedFeatures(FittedFeatures[FeatureNetwork]):
    """From images to what the head of a model gets.

    Attributes
    ----------
    views
        1, or 2 for the mean of an image's vector and its mirror image's.
    side
        Height and width of the images that the network gets; None is its own.
    pixels
        What brings images in arrays to 0..1.
    """

    views: int
    side: int | None
    pixels: Preparation

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
        store = _store(self.cache, self.network, self.views)
        found = vectors_of(
            pictures, self.network, store, views=self.views, device=device, progress=progress
        )
        return self.projection.apply(found)

    @property
    def identity(self) -> str:
        """See `FittedFeatures`."""
        side = "" if self.side is None else f" at {self.side}x{self.side}"
        views = "" if self.views == 1 else f", {self.views} views"
        return f"{super().identity}{side}{views}"

    @property
    def _each(self) -> str:
        return f"an image{' (mean of an image and its mirror image)' if self.views == 2 else ''}"

    def _found(self) -> FeatureNetwork:
        return feature_network(self.name, self.side, self.function)

    def _settings(self) -> dict[str, Any]:
        return {"views": self.views, "side": self.side, "pixels": self.pixels.stored()[0]}

    @classmethod
    def _of_settings(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        pixels = Preparation.from_stored(stored["pixels"], {})
        return {"views": int(stored["views"]), "side": stored["side"], "pixels": pixels}


@dataclass(frozen=True, eq=False, kw_only=True)
class Features(AskedFeatures[FeatureNetwork, PretrainedFeatures]):
    """Which features of images are asked for; files alone are computed elsewhere.

    Attributes
    ----------
    views, side
        See `PretrainedFeatures`.
    """

    views: int = 1
    side: int | None = None

    def __post_init__(self) -> None:
        if self.views not in (1, 2):
            raise DataError(f"`views` must be 1 or 2, but is {self.views!r}.")
        super().__post_init__()

    def _found(self) -> FeatureNetwork:
        return feature_network(self.name, self.side)

    def encode(
        self, images: Mapping[str, Images], preparation: Preparation | None
    ) -> Encoded[PretrainedFeatures]:
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
        store = _store(self.cache, self.network, views)
        paths, digests = every.paths, every.digests.tolist()

        def shard(rows: tuple[int, ...]) -> ImageShard:
            assert paths is not None
            return ImageShard(
                name=self.network.name,
                side=self.side,
                views=views,
                identity=self.network.identity,
                paths=tuple(paths[i] for i in rows),
                digests=tuple(digests[i] for i in rows),
                positions=rows,
            )

        vectors_of(
            every,
            self.network,
            store,
            views=views,
            device=self.device,
            progress=self.progress,
            extract=None if paths is None else self._elsewhere(shard),
        )

        def fit(projection: Projection) -> PretrainedFeatures:
            return PretrainedFeatures(
                name=self.name,
                weights=self.network.weights,
                projection=projection,
                cache=self.cache,
                views=views,
                side=self.side,
                pixels=pixels,
            )

        contents = {part: some.digests for part, some in pictures.items()}
        return self._encoded(store, contents, fit)

    def _pixels(self, train: Images, preparation: Preparation | None) -> Preparation:
        if self.fitted is not None:
            return self.fitted.pixels
        if not isinstance(train, Tensor):
            return PIXELS
        _check_images(train)
        return Preparation.fit(train) if preparation is None else preparation


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


def _store(cache: Path | None, network: FeatureNetwork, views: int) -> VectorStore:
    return VectorStore(vectors_folder(cache, _VERSION, network.identity, views))


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
