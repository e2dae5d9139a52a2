"""Decoding image files."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from s2e_optuna.cores import available_cores
from s2e_optuna.errors import DataError

Size = tuple[int, int]
"""Height and width."""

OnImages = Callable[[int, int], None]
"""Called with the number of images decoded so far and in all."""

LARGEST_SIDE, DEFAULT_SIDE = 128, 64
"""Images whose longer side is mostly above the first are resized, by default to the second."""

_LOOKED_AT = 64
"""Images whose size is looked at for that."""

_CHUNK = 256

_NAMED = 20
"""Broken images that a message names."""

_ORIENTATION = 0x0112

_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image upright, by the orientation that its camera has noted (EXIF)."""

_WITH_ALPHA = frozenset({"LA", "RGBA", "PA", "La", "RGBa"})


class BrokenImages(DataError):
    """Image files that cannot be read.

    Parameters
    ----------
    message
        One sentence.
    found
        Path of each and what is wrong with it.
    """

    def __init__(self, message: str, found: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.found = tuple(found)

    @classmethod
    def of(cls, found: Sequence[tuple[str, str]], total: int) -> BrokenImages:
        """Make the sentence about so many of all images."""
        ways = "replace or remove {}, or leave {} out with --skip-broken"
        if len(found) == 1:
            path, reason = found[0]
            return cls(
                f"cannot read the image {path} ({reason}): it may be truncated, so "
                f"{ways.format('it', 'it')}",
                found,
            )
        shown = ", ".join(path for path, _ in found[:_NAMED])
        more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
        return cls(
            f"cannot read the images {shown}{more} ({len(found):,} of {total:,}): they may be "
            f"truncated, so {ways.format('them', 'them')}",
            found,
        )


@contextmanager
def only_our_words() -> Iterator[None]:
    """Keep Pillow's warnings from the terminal; its limit of the size of an image stays.

    Filters belong to the process: this is for all threads that decode inside.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def image_size_of(image_size: int | Size | None) -> Size | None:
    """Return (height, width) of what the user gave; DataError if it is out of range."""
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if size is not None and min(size) < 1:
        raise DataError(f"image_size {image_size} is out of range: give a positive side")
    return size


def default_size(paths: Sequence[str | Path]) -> tuple[Size | None, str | None]:
    """Return the size that large images are resized to where nobody says one, and why, in words.

    Networks that learn from scratch gain little from photographs at full size: 60 of them took six
    times as long as at 32 x 32, and 5 GB.
    """
    chosen = paths[:: max(1, len(paths) // _LOOKED_AT)]
    with only_our_words():
        sizes = [size for path in chosen if (size := image_size(path)) is not None]
    if not sizes or np.median([max(size) for size in sizes]) <= LARGEST_SIDE:
        return None, None
    height, width = sizes[0]
    return (DEFAULT_SIDE, DEFAULT_SIDE), (
        f"images such as {paths[0]} with {width}x{height} pixels are resized to "
        f"{DEFAULT_SIDE}x{DEFAULT_SIDE}; --image-size says another side"
    )


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
    BrokenImages
        Unreadable files, all of them.
    DataError
        Sizes that differ where `size` is None.
    """
    with only_our_words():
        first, shape = _first_shape(paths, size)
        pixels = np.empty((len(paths), 3, *shape), dtype=np.uint8)

        def work(chunk: range) -> tuple[bool, int, list[tuple[str, str]]]:
            all_grey = True
            broken: list[tuple[str, str]] = []
            for i in chunk:
                try:
                    image, grey = decode_image(paths[i], size)
                except BrokenImages as error:
                    broken += error.found
                    continue
                if image.shape[:2] != shape:
                    raise DataError(
                        f"{paths[i]} is {image.shape[1]}x{image.shape[0]} pixels and {first} "
                        f"{shape[1]}x{shape[0]}: give an image size so that all are resized to it"
                    )
                pixels[i] = image.transpose(2, 0, 1)
                all_grey &= grey
            return all_grey, len(chunk), broken

        starts = range(0, len(paths), _CHUNK)
        chunks = [range(i, min(i + _CHUNK, len(paths))) for i in starts]
        all_grey, done = True, 0
        broken: list[tuple[str, str]] = []
        # Large images decode side by side; of small ones a second thread does not read more.
        with ThreadPoolExecutor(max_workers=min(4, available_cores())) as pool:
            for grey, count, found in pool.map(work, chunks):
                all_grey &= grey
                done += count
                broken += found
                if progress is not None:
                    progress(done, len(paths))
    if broken:
        raise BrokenImages.of(broken, len(paths))
    return pixels[:, :1].copy() if all_grey else pixels


def broken_images(
    paths: Sequence[str | Path], progress: OnImages | None = None
) -> list[tuple[str, str]]:
    """Decode all images, keep none, and return the unreadable ones; see `BrokenImages`."""
    found: list[tuple[str, str]] = []

    def work(path: str | Path) -> list[tuple[str, str]]:
        try:
            decode_image(path, (1, 1))
        except BrokenImages as error:
            return list(error.found)
        return []

    with only_our_words(), ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for done, broken in enumerate(pool.map(work, paths), start=1):
            found += broken
            if progress is not None:
                progress(done, len(paths))
    return found


def _first_shape(paths: Sequence[str | Path], size: Size | None) -> tuple[str | Path, Size]:
    """Return the first readable image and its height and width."""
    broken: list[tuple[str, str]] = []
    for path in paths:
        try:
            image, _ = decode_image(path, size)
        except BrokenImages as error:
            broken += error.found
        else:
            return path, (image.shape[0], image.shape[1])
    raise BrokenImages.of(broken, len(paths))


def decode_image(path: str | Path, size: Size | None) -> tuple[NDArray[np.uint8], bool]:
    """Read one image as [H, W, 3], upright and on white, and say whether it is grey.

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
            grey = deep or image.mode in ("1", "L", "LA", "La")
            turned = _TURNED.get(_orientation(image))
            # Pillow's own conversion cuts off at 255 in place of scaling.
            shallow = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if deep else image
            colour = _on_white(shallow)
        if turned is not None:
            colour = colour.transpose(turned)
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
        reason = "no image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise BrokenImages.of([(str(path), reason)], 1) from error


def image_size(path: str | Path) -> Size | None:
    """Return the height and width of an image from its header; None where it cannot be read."""
    try:
        with Image.open(path) as image:
            turned = _orientation(image) in (5, 6, 7, 8)
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None
    return (width, height) if turned else (height, width)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    # What a camera or a program has noted there may be damaged in any way: then it says nothing.
    except (SyntaxError, ValueError, TypeError, KeyError, EOFError, OSError, struct.error):
        return 1


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image in colours; where it is transparent, white shows, as on a page."""
    if image.mode not in _WITH_ALPHA and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    page.alpha_composite(layer)
    return page.convert("RGB")
