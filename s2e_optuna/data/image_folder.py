"""From a folder of images, and perhaps tables of labels, to `NoisyData`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s2e_optuna.data.assemble import assemble
from s2e_optuna.data.division import NONE, Division, Found, divide
from s2e_optuna.data.image_cache import known_broken, read_images, remember_broken
from s2e_optuna.data.images import (
    DEFAULT_SIDE,
    BrokenImages,
    OnImages,
    Size,
    broken_images,
    default_size,
)
from s2e_optuna.data.label_tables import read_labels, tie_labels
from s2e_optuna.data.layouts import ImageListing, list_image_folder
from s2e_optuna.data.matching import Samples
from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.data.preparation import PIXELS
from s2e_optuna.data.strata import Rows
from s2e_optuna.data.streaming import ImageFiles, should_stream
from s2e_optuna.data.words import count, some
from s2e_optuna.errors import DataError


@dataclass(frozen=True)
class LabelFiles:
    """Files with labels, and what their columns are called.

    Attributes
    ----------
    labels
        Given labels of training samples.
    columns
        Keyword arguments of `read_labels`: path_column, label_column, clean_column, split_column.
    val_labels, test_labels
        Labels of validation and test samples.
    """

    labels: str | Path | None
    columns: Mapping[str, str | None]
    val_labels: str | Path | None = None
    test_labels: str | Path | None = None

    @property
    def any(self) -> bool:
        """Whether there is such a file."""
        return any(f is not None for f in (self.labels, self.val_labels, self.test_labels))

    def divide(
        self, found: Found, samples: Samples, where: str, validation: str
    ) -> tuple[Division, str]:
        """Read the files and divide the samples; also say what the training labels are.

        Parameters
        ----------
        found
            What the folder holds.
        samples
            Its images by name.
        where
            Where they lie, for messages.
        validation
            ``"auto"``, ``"clean"`` or ``"noisy"``.
        """
        table, lists = None, {}
        if self.labels is not None:
            read = read_labels(self.labels, samples=samples, **self.columns)
            table = tie_labels(read, samples, where)
        for part, file in (("val", self.val_labels), ("test", self.test_labels)):
            if file is not None:
                read = read_labels(file, samples=samples)
                lists[part] = tie_labels(read, samples, where, part)
        words = "as given" if table is None else f"labels of {table.source}"
        return divide(found, table, lists, validation), words


@dataclass(frozen=True)
class FolderOptions:
    """How a folder is read.

    Attributes
    ----------
    size
        Height and width that images are resized to; None keeps those of small ones.
    label_from_name
        See `list_image_folder`.
    skip_broken
        Leave out images that cannot be read.
    cache
        Folder for decoded images.
    progress
        Told how many images have been decoded, and how many there are.
    """

    size: Size | None
    label_from_name: str | None
    skip_broken: bool
    cache: Path
    progress: OnImages | None


def load_image_folder(
    folder: Path,
    files: LabelFiles,
    how: FolderOptions,
    options: Mapping[str, Any],
    layout: str | None = None,
) -> NoisyData:
    """Read a folder of images.

    Parameters
    ----------
    folder
        See `list_image_folder`.
    files
        Tables with labels.
    how
        How it is read.
    options
        Further keyword arguments of `assemble`.
    layout
        What the data were taken for; by default what the folder looks like.

    Raises
    ------
    DataError
        What is in the way, in one sentence.
    """
    listing = list_image_folder(
        folder, labelled=files.labels is None, label_from_name=how.label_from_name
    )
    if layout is not None:
        listing = replace(listing, layout=layout)
    other_parts = listing.labels[listing.parts != "train"]
    found = Found(
        listing.parts, listing.labels, listing.class_names, bool((other_parts != NONE).any())
    )
    if not files.any:
        division = divide(found)
    else:
        samples = Samples(listing.paths, folder, parts=listing.parts)
        division, words = files.divide(found, samples, str(folder), options["validation"])
        options = {**options, "noise_words": words}
    if not how.skip_broken:
        return _assembled(folder, listing, division, how, options)
    position = {str(folder / path): i for i, path in enumerate(listing.paths)}
    every = [str(folder / listing.paths[i]) for rows in division.rows.values() for i in rows]
    broken = known_broken(every, how.cache)
    streamed = options.get("features") is None  # features are computed file by file anyway
    if broken is None and streamed and should_stream(every, how.size) is not None:
        broken = [path for path, _ in broken_images(every, how.progress)]
        remember_broken(every, broken, how.cache)
    broken = broken or []
    while True:
        rest = division
        if broken:
            said = (
                f"{count(len(broken), 'broken image')} left out: "
                f"{some([os.path.relpath(path, folder) for path in broken])}"
            )
            rest = division.without([position[path] for path in broken], said)
        try:
            return _assembled(folder, listing, rest, how, options)
        except BrokenImages as error:  # seen now that they are decoded
            broken += [path for path, _ in error.found]
            remember_broken(every, broken, how.cache)


def _assembled(
    folder: Path,
    listing: ImageListing,
    division: Division,
    how: FolderOptions,
    options: Mapping[str, Any],
) -> NoisyData:
    if "train" not in division.rows:
        raise DataError(f"no training image of {folder} can be read")
    paths = {part: [listing.paths[i] for i in rows] for part, rows in division.rows.items()}
    size, resized = how.size, None
    with_features = options.get("features") is not None
    if with_features:
        size = size or (DEFAULT_SIDE, DEFAULT_SIDE)  # only label noise by instance looks at them
    elif size is None:
        size, resized = default_size([folder / path for path in paths["train"]])

    def read(wanted: Mapping[str, tuple[str, Rows]]) -> dict[str, Tensor]:
        # One array for all parts, so that they agree on colour; each part is a slice of it.
        chosen = {
            part: [paths[source][i] for i in index] for part, (source, index) in wanted.items()
        }
        every = [path for part in chosen.values() for path in part]
        shape = size if with_features else should_stream([folder / p for p in every], size)
        if shape is not None:
            streams: dict[str, Any] = {
                part: ImageFiles([folder / path for path in part_files], shape)
                for part, part_files in chosen.items()
            }
            return streams
        pixels = torch.from_numpy(read_images(folder, every, size, how.cache, how.progress))
        slices = torch.split(pixels, [len(part) for part in chosen.values()])
        return dict(zip(chosen, slices, strict=True))

    above = str(folder.resolve())
    return assemble(
        {part: torch.from_numpy(values) for part, values in division.labels.items()},
        read,
        y_clean=None if division.clean is None else torch.from_numpy(division.clean),
        name=folder.resolve().name,
        class_names=division.class_names,
        n_classes=None,
        ids=tuple(paths["train"]),
        files={
            part: [os.path.join(above, path) for path in found] for part, found in paths.items()
        },
        preparation=PIXELS,  # files say their range, however dark the images are
        layout=listing.layout,
        words=(*division.words, *listing.words, *([] if resized is None else [resized])),
        **{**options, **division.checked_options},
    )
