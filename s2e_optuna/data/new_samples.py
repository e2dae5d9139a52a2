"""Samples to predict, as people have them: folders, images, arrays; with labels or without."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s2e_optuna.data.array_layouts import read_samples
from s2e_optuna.data.arrow_images import arrow_images
from s2e_optuna.data.feature_tables import columns_of_frame, is_feature_table, read_columns
from s2e_optuna.data.folder_contents import EXTENSIONS, LeftOut, check_name, images_below
from s2e_optuna.data.images import BrokenImages, Size, decode_images
from s2e_optuna.data.named_sets import default_root, named_set
from s2e_optuna.data.noisy_data import as_images
from s2e_optuna.data.spec import DATA_SETS
from s2e_optuna.data.words import count
from s2e_optuna.errors import DataError

_WEIGHTS, _HALF, _BITS = (19595, 38470, 7471), 1 << 15, 16
"""How colours become grey (ITU-R BT.601), as Pillow computes it in whole numbers."""


@dataclass(frozen=True)
class ImagePaths:
    """Image files that nobody has decoded yet."""

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: slice) -> ImagePaths:
        return ImagePaths(self.paths[rows])


@dataclass(frozen=True)
class TableCells:
    """Rows of a table, none of whose cells has been read as a number yet.

    Attributes
    ----------
    where
        The table, for messages.
    columns
        Cells of each column by name.
    """

    where: str
    columns: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, rows: slice) -> TableCells:
        return TableCells(self.where, {name: c[rows] for name, c in self.columns.items()})


Raw = Tensor | ImagePaths | TableCells
"""Samples before anything fitted is done to them: numbers as `as_images` gives them, or files."""


@dataclass(frozen=True, eq=False)
class NewSamples:
    """Samples whose classes are asked for.

    Attributes
    ----------
    ids
        One name for each: its path below the folder, or its row.
    raw
        The samples, in this order.
    words
        What they were taken for, in sentences.
    """

    ids: tuple[str, ...]
    raw: Raw
    words: tuple[str, ...]


def new_samples(source: Any, data_root: str | Path | None = None) -> NewSamples:
    """Find samples to predict; labels that lie beside them are not looked at.

    Parameters
    ----------
    source
        What `load_data` takes: a folder of images in any layout, one image, an ``.npz`` file, a
        table, the name of a data set; or a list of paths of images, an array of samples, or a
        DataFrame.
    data_root
        Folder for downloads.

    Raises
    ------
    DataError
        There are no samples.
    """
    if isinstance(source, str | Path):
        return _named(source, data_root)
    if isinstance(source, list | tuple) and source and isinstance(source[0], str | Path):
        paths = tuple(map(str, source))
        return NewSamples(paths, ImagePaths(paths), (f"read as {count(len(paths), 'image')}",))
    if hasattr(source, "columns") and hasattr(source, "__getitem__"):
        return _of_table(TableCells("the new table", columns_of_frame(source)))
    samples = as_images(source, "new")
    return NewSamples(_rows(len(samples)), samples, (f"read as {count(len(samples), 'sample')}",))


def _named(source: str | Path, data_root: str | Path | None) -> NewSamples:
    place = Path(source).expanduser()
    if isinstance(source, str) and source in DATA_SETS:
        found = named_set(source, data_root, download=True)
        parts = {name[2:]: x for name, x in found.arrays.items() if name.startswith("x_")}
        return _of_parts(parts, {}, found.layout)
    root = default_root() if data_root is None else Path(data_root).expanduser()
    if (stored := arrow_images(place, root)) is not None:
        return _of_folder(stored.folder)
    if is_feature_table(place):
        return _of_table(TableCells(str(place), read_columns(place)))
    if place.is_dir():
        return _of_folder(place)
    if place.suffix.lower() in EXTENSIONS and place.is_file():
        return NewSamples((place.name,), ImagePaths((str(place),)), ("read as an image",))
    if place.suffix == ".npz":
        return _of_parts(*read_samples(place))
    if place.exists():
        raise DataError(
            f"{place} is neither a folder of images, nor an image, nor an .npz file, nor a "
            "table: give one of these"
        )
    raise DataError(
        f"there is no {place}: give a folder of images, an image, an .npz file or a table"
    )


def _of_table(cells: TableCells) -> NewSamples:
    said = f"read as a table of {count(len(cells), 'row')}, {count(len(cells.columns), 'column')}"
    return NewSamples(_rows(len(cells)), cells, (said,))


def _of_folder(folder: Path) -> NewSamples:
    left_out = LeftOut()
    check_name(str(folder))
    paths = images_below(folder, left_out)
    if not paths:
        raise DataError(f"{folder} holds no images: expected files such as 1.png")
    ids = tuple(os.path.relpath(path, folder).replace(os.sep, "/") for path in paths)
    said = f"read as a folder of {count(len(ids), 'image')}"
    return NewSamples(ids, ImagePaths(tuple(paths)), (said, *left_out.words()))


def _of_parts(parts: dict[str, Any], ids: dict[str, Sequence[str]], layout: str) -> NewSamples:
    """Put all parts of a data set one after the other; of several, ids begin with the part."""
    found = {part: as_images(x, part) for part, x in parts.items() if x is not None}
    names: list[str] = []
    for part, samples in found.items():
        own = ids.get(part) or _rows(len(samples))
        names += own if len(found) == 1 else [f"{part}/{name}" for name in own]
    sizes = ", ".join(f"{len(samples):,} {part}" for part, samples in found.items())
    said = f"{len(names):,}" if len(found) == 1 else sizes
    kinds = {(samples.dtype, samples.shape[1:]) for samples in found.values()}
    if len({shape for _, shape in kinds}) > 1:
        raise DataError(f"the parts of {layout} have samples of different shapes: make them equal")
    every = list(found.values())
    if len(kinds) > 1:
        every = [samples.to(torch.float64) for samples in every]
    return NewSamples(
        tuple(names),
        every[0] if len(every) == 1 else torch.cat(every),
        (f"read as {layout}: {said} to predict",),
    )


def _rows(size: int) -> tuple[str, ...]:
    return tuple(map(str, range(size)))


def decode_like(paths: ImagePaths, channels: int, size: Size) -> tuple[Tensor, int]:
    """Decode images to what a model has learnt from.

    Parameters
    ----------
    paths
        The files.
    channels, size
        Channels, height and width.

    Returns
    -------
    images : Tensor
        uint8 [N, channels, height, width]; 3 channels where `channels` is neither 1 nor 3.
    coloured : int
        How many of them are in colour and were turned grey.

    Raises
    ------
    BrokenImages
        Files that cannot be read, all of them.
    """
    pixels = torch.from_numpy(decode_images(paths.paths, size))
    if channels != 1:
        return pixels.expand(-1, 3, -1, -1), 0
    if pixels.shape[1] == 1:
        return pixels, 0
    first, *others = pixels.unbind(1)
    coloured = sum(torch.stack([(first != o).flatten(1).any(1) for o in others]).any(0).tolist())
    weights = torch.tensor(_WEIGHTS, dtype=torch.int32).view(1, 3, 1, 1)
    summed = (pixels.to(torch.int32) * weights).sum(1, keepdim=True, dtype=torch.int32)
    grey = (summed + _HALF) >> _BITS
    return grey.to(torch.uint8), int(coloured)


def readable_blocks(
    samples: NewSamples,
    size: int,
    use: Callable[[Raw], None],
    *,
    skip_broken: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[int]:
    """Use all samples, some at a time; return positions of those that could be read.

    Parameters
    ----------
    samples
        The samples.
    size
        How many are used at a time.
    use
        Called with samples; where it raises `BrokenImages`, again without these.
    skip_broken
        Leave out images that cannot be read.
    progress
        Told how many have been used, and how many there are.

    Raises
    ------
    BrokenImages
        Images that cannot be read, all of them, unless they are left out.
    """
    broken: list[tuple[str, str]] = []
    positions: list[int] = []
    for rows in _blocks(len(samples.ids), size):
        part, chosen = samples.raw[rows.start : rows.stop], list(rows)
        try:
            use(part)
        except BrokenImages as error:
            broken += error.found
            bad = {path for path, _ in error.found}
            assert isinstance(part, ImagePaths)
            chosen = [row for row, path in zip(rows, part.paths, strict=True) if path not in bad]
            if skip_broken and chosen:
                use(ImagePaths(tuple(path for path in part.paths if path not in bad)))
        positions += chosen
        if progress is not None:
            progress(rows.stop, len(samples.ids))
    if broken and not skip_broken:
        raise BrokenImages.of(broken, len(samples.ids))
    if not positions:
        raise DataError("none of the images can be read: replace them")
    return positions


def _blocks(total: int, size: int) -> Iterator[range]:
    for start in range(0, total, size):
        yield range(start, min(start + size, total))
