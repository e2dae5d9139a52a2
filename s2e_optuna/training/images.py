"""Image folders: one folder a class, optionally below train/, val/ and test/."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from s2e_optuna.training.errors import DataError

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
)
"""File names taken as images; other files in a class folder are left alone."""


@dataclass(frozen=True, eq=False)
class ImagePart:
    """Decoded images of one part.

    Attributes
    ----------
    images
        uint8 [N, channels, height, width].
    labels
        int64 [N].
    paths
        Path of each image below the folder that the user named.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    paths: tuple[str, ...]


def read_image_folder(
    folder: str | Path, image_size: int | tuple[int, int] | None = None
) -> tuple[dict[str, ImagePart], tuple[str, ...]]:
    """Read a folder of class folders, or one with train/, val/ and test/ above them.

    Parameters
    ----------
    folder
        ``folder/class/image`` or ``folder/train/class/image`` (and val, test).
    image_size
        Resize every image to this side, or (height, width).

    Returns
    -------
    tuple
        Parts by name (``"train"`` and, where there are such folders, ``"val"``, ``"test"``)
        and the class names in alphabetical order, which is the order of the labels.

    Raises
    ------
    DataError
        No images, classes that differ between the parts, unreadable files, differing sizes.
    """
    root = Path(folder)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if size is not None and min(size) < 1:
        raise DataError(f"image_size {image_size} is out of range: give a positive side")
    parts = {"train": root / "train"} if (root / "train").is_dir() else {"train": root}
    if parts["train"] != root:
        parts |= {name: root / name for name in ("val", "test") if (root / name).is_dir()}
    class_names = _subfolders(parts["train"])
    if not class_names:
        raise DataError(
            f"{parts['train']} holds no folders: put the images of each class in a folder of its "
            "own, as in folder/class/image.png"
        )
    files: dict[str, list[tuple[Path, int]]] = {}
    for part, place in parts.items():
        unknown = sorted(set(_subfolders(place)) - set(class_names))
        if unknown:
            raise DataError(
                f"{place} has the class {unknown[0]!r} that {parts['train']} has not: "
                "use the same class folders in every part"
            )
        files[part] = [
            (path, label)
            for label, name in enumerate(class_names)
            for path in _image_files(place / name)
        ]
        if not files[part]:
            raise DataError(f"{place} holds no images: expected files such as class/image.png")
    every = [path for part in files.values() for path, _ in part]
    pixels = _decode_all(every, size)
    result: dict[str, ImagePart] = {}
    start = 0
    for part, listed in files.items():
        labels = np.array([label for _, label in listed], dtype=np.int64)
        paths = tuple(path.relative_to(root).as_posix() for path, _ in listed)
        result[part] = ImagePart(pixels[start : start + len(listed)], labels, paths)
        start += len(listed)
    return result, tuple(class_names)


def _subfolders(folder: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    names = sorted(os.path.join(d, f) for d, _, found in os.walk(folder) for f in found)
    return [Path(n) for n in names if os.path.splitext(n)[1].lower() in EXTENSIONS]


def _decode_all(paths: Sequence[Path], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Decode to [N, 3, H, W], or [N, 1, H, W] when every image is grey."""
    first, _ = _decode(paths[0], size)
    shape = first.shape[:2]
    pixels = np.empty((len(paths), 3, *shape), dtype=np.uint8)

    def work(chunk: range) -> bool:
        all_grey = True
        for i in chunk:
            image, grey = _decode(paths[i], size)
            if image.shape[:2] != shape:
                raise DataError(
                    f"{paths[i]} is {image.shape[1]}x{image.shape[0]} pixels and {paths[0]} "
                    f"{shape[1]}x{shape[0]}: give image_size so that all are resized to one size"
                )
            pixels[i] = image.transpose(2, 0, 1)
            all_grey &= grey
        return all_grey

    step = 256
    chunks = [range(i, min(i + step, len(paths))) for i in range(0, len(paths), step)]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        all_grey = all(list(pool.map(work, chunks)))
    return pixels[:, :1].copy() if all_grey else pixels


def _decode(path: Path, size: tuple[int, int] | None) -> tuple[NDArray[np.uint8], bool]:
    """Read one image as [H, W, 3] and say whether it is grey. Pillow's size limit stays."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                grey = image.mode in ("1", "L")
                colour: Image.Image = image.convert("RGB")
        if size is not None and colour.size != (size[1], size[0]):
            colour = colour.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(colour), grey
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path} is too large to be decoded safely: shrink or remove it"
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"cannot read the image {path} ({error}): it may be truncated, so replace or remove it"
        ) from error
