"""Decoded images in a file that all processes of a machine map into memory.

Decoding takes about 0.1 ms for an image of 32x32 pixels and many times that for photographs, and
each worker, each seed and each later command would do it again. So the pixels are written once,
as a plain array, and mapped: processes share the pages, and data larger than the memory can be
trained on. The file's name is a digest of the list of images with their sizes and times of
change: where one of them changes, another file is made.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.images import OnImages, Size, decode_images

SMALLEST = 4 << 20
"""Image files of fewer bytes altogether are decoded each time: it is a matter of a second."""

KEPT_DAYS = 14
"""Files that nobody has used for so many days are removed when another one is written."""

_FORMAT = "s2e images 3"

_logger = logging.getLogger(__name__)


def read_images(
    root: Path,
    paths: Sequence[str],
    size: Size | None,
    folder: Path | None,
    progress: OnImages | None = None,
) -> NDArray[np.uint8]:
    """Decode images, or map what an earlier process has decoded.

    Parameters
    ----------
    root, paths
        The images: paths below the folder.
    size
        Height and width to resize to, or None.
    folder
        Where decoded images are kept; None keeps none.
    progress
        Told how far the decoding is.

    Returns
    -------
    ndarray
        uint8 [N, channels, height, width]. Mapped pages are copied when written to, so that
        nobody changes the file.

    Raises
    ------
    DataError
        See `decode_images`.
    """
    files = [os.path.join(root, path) for path in paths]
    if folder is None:
        return decode_images(files, size, progress)
    digest = hashlib.sha256(f"{_FORMAT}\0{root.resolve()}\0{size}\0".encode())
    total = 0
    for path, file in zip(paths, files, strict=True):
        with contextlib.suppress(OSError):  # decoding will say what is wrong with it
            found = os.stat(file)
            total += found.st_size
            digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    if total < SMALLEST:
        return decode_images(files, size, progress)
    place = folder / f"{digest.hexdigest()[:32]}.npy"
    mapped = _map(place)
    if mapped is None:
        pixels = decode_images(files, size, progress)
        if not _write(place, pixels):
            return pixels
        mapped = _map(place)
        if mapped is None:
            return pixels
    return mapped


def known_broken(files: Sequence[str], folder: Path) -> list[str] | None:
    """Return which of these files were found to be broken; None where nobody has looked.

    Parameters
    ----------
    files
        Paths of images.
    folder
        Where that is kept.
    """
    place = folder / f"{_listing_digest(files)}.broken.npy"
    try:
        found: NDArray[np.int64] = np.load(place, allow_pickle=False)
        os.utime(place)
        return [files[position] for position in found]
    except (OSError, ValueError, EOFError, IndexError):  # not there, or damaged: look again
        return None


def remember_broken(files: Sequence[str], broken: Collection[str], folder: Path) -> None:
    """Keep which of these files are broken, as long as none of them changes.

    Parameters
    ----------
    files
        Paths of all files that were read.
    broken
        Those that could not be.
    folder
        Where that is kept.
    """
    positions = [position for position, file in enumerate(files) if file in broken]
    place = folder / f"{_listing_digest(files)}.broken.npy"
    _write(place, np.array(positions, dtype=np.int64))


def _listing_digest(files: Sequence[str]) -> str:
    digest = hashlib.sha256(_FORMAT.encode())
    for file in files:
        with contextlib.suppress(OSError):  # decoding will say what is wrong with it
            found = os.stat(file)
            digest.update(f"{file}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]


def _map(place: Path) -> NDArray[np.uint8] | None:
    """Map a file; None if it is not there or damaged, in which case it is made anew."""
    try:
        pixels: NDArray[np.uint8] = np.load(place, mmap_mode="c", allow_pickle=False)
        os.utime(place)
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.dtype == np.uint8 and pixels.ndim == 4 else None


def _write(place: Path, pixels: NDArray[Any]) -> bool:
    """Write a file in one step; say whether that was possible."""
    partial = place.with_suffix(f".{os.getpid()}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_old(place.parent)
        with partial.open("wb") as file:
            np.save(file, pixels, allow_pickle=False)
        partial.replace(place)
    except OSError as error:
        _logger.info("Decoded images are not kept in %s: %s", place.parent, error)
        with contextlib.suppress(OSError):
            partial.unlink()
        return False
    return True


def _remove_old(folder: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86_400
    for file in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may be faster
            if file.suffix in (".npy", ".partial") and file.stat().st_mtime < oldest:
                file.unlink()
