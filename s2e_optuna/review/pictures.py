"""Pictures for a page, drawn anew from files or arrays: no file is handed out as it is."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

LARGEST = 1000
"""Pixels of a picture's longer side; larger ones are made smaller."""


def png_of_file(path: str, largest: int = LARGEST) -> bytes:
    """Return the picture of a file as PNG, turned as its camera says.

    Parameters
    ----------
    path
        The file.
    largest
        Pixels of the longer side, at most.

    Raises
    ------
    OSError
        It is no picture that can be read.
    """
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (largest, largest))  # a photograph's decoder skips the rest
            made = ImageOps.exif_transpose(opened).convert("RGBA")
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(f"{path} is no picture") from error
    return _png(made, largest)


def png_of_array(image: NDArray[np.generic], largest: int = LARGEST) -> bytes:
    """Return an image [C, H, W] on any scale as PNG."""
    return _png(Image.fromarray(bytes_of(image)), largest)


def png_of_bytes(pixels: NDArray[np.uint8], largest: int = LARGEST) -> bytes:
    """Return what `bytes_of` has made as PNG."""
    return _png(Image.fromarray(pixels), largest)


def bytes_of(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return an image [C, H, W] on any scale as bytes [H, W], in colour [H, W, 3]."""
    values = image.astype(np.float64)
    values = values.transpose(1, 2, 0) if len(values) == 3 else values.mean(0)
    if image.dtype != np.uint8:
        low, high = float(values.min()), float(values.max())
        values = (values - low) / ((high - low) or 1.0) * 255.0
    return np.rint(values).astype(np.uint8)


def _png(made: Image.Image, largest: int) -> bytes:
    made.thumbnail((largest, largest))
    file = io.BytesIO()
    made.save(file, "PNG")
    return file.getvalue()
