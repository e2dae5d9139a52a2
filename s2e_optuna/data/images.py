"""Decoding image files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from s2e_optuna.errors import DataError

Size = tuple[int, int]
"""Height and width."""

OnImages = Callable[[int, int], None]
"""Called with the number of images decoded so far and in all."""

_CHUNK = 256


def image_size_of(image_size: int | Size | None) -> Size | None:
    """Return (height, width) of what the user gave; DataError if it is out of range."""
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if size is not None and min(size) < 1:
        raise DataError(f"image_size {image_size} is out of range: give a positive side")
    return size


def decode_images(
    paths: Sequence[str | Path], size: Size | None = None, progress: OnImages | None = None
) -> NDArray[np.uint8]:
    """Decode images to [N, 3, H, W], or to [N, 1, H, W] when every one of them is grey.

    Parameters
    ----------
    paths
        The files.
    size
        Resize every image to this height and width; None takes that of the first.
    progress
        Told how far it is.

    Raises
    ------
    DataError
        Unreadable files, and sizes that differ where `size` is None.
    """
    with warnings.catch_warnings():
        # Set once for all threads: filters belong to the process. Pillow's size limit stays.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        first, _ = decode_image(paths[0], size)
        shape = first.shape[:2]
        pixels = np.empty((len(paths), 3, *shape), dtype=np.uint8)

        def work(chunk: range) -> tuple[bool, int]:
            all_grey = True
            for i in chunk:
                image, grey = decode_image(paths[i], size)
                if image.shape[:2] != shape:
                    raise DataError(
                        f"{paths[i]} is {image.shape[1]}x{image.shape[0]} pixels and {paths[0]} "
                        f"{shape[1]}x{shape[0]}: give an image size so that all are resized to it"
                    )
                pixels[i] = image.transpose(2, 0, 1)
                all_grey &= grey
            return all_grey, len(chunk)

        starts = range(0, len(paths), _CHUNK)
        chunks = [range(i, min(i + _CHUNK, len(paths))) for i in starts]
        all_grey, done = True, 0
        # Large images decode side by side; of small ones a second thread does not read more.
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            for grey, count in pool.map(work, chunks):
                all_grey &= grey
                done += count
                if progress is not None:
                    progress(done, len(paths))
    return pixels[:, :1].copy() if all_grey else pixels


def decode_image(path: str | Path, size: Size | None) -> tuple[NDArray[np.uint8], bool]:
    """Read one image as [H, W, 3] and say whether it is grey.

    Of 16 bits the upper 8 are kept. Other ranges, whose black and white nobody knows, are refused.
    """
    try:
        with Image.open(path) as image:
            # Pillow scales the range that the header of a PGM file states to 16 bits.
            deep = image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM")
            if image.mode in ("I", "F") and not deep:
                raise DataError(
                    f"{path} has {'float' if image.mode == 'F' else '32-bit'} pixels of unknown "
                    "range: save it with 8 bits, or with 16 bits as PNG, TIFF or PGM"
                )
            grey = deep or image.mode in ("1", "L")
            # Pillow's own conversion cuts off at 255 in place of scaling.
            shallow = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if deep else image
            colour: Image.Image = shallow.convert("RGB")
        if size is not None and colour.size != (size[1], size[0]):
            colour = colour.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(colour), grey
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path} is too large to be decoded safely: shrink or remove it"
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"cannot read the image {path} ({error}): it may be truncated, so replace or remove it"
        ) from error
