"""Vectors of images and texts, computed once, kept by content (long: each way to read and fill).

A folder for each network with its preprocessing. It holds blocks of about a thousand vectors, each
a file that is written in one step: what was killed goes on behind the last block, and images that
are renamed, moved or divided in another way are known. Blocks are mapped: more vectors than fit
into memory can be used.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import socket
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from s2e_optuna.cores import available_cores
from s2e_optuna.data.file_digests import Digests, digest_of, digests_of_files
from s2e_optuna.data.images import BrokenImages, OnImages, decode_image, only_our_words
from s2e_optuna.data.pretrained_networks import FeatureNetwork, feature_network
from s2e_optuna.device import on_device, resolve_device, to_device
from s2e_optuna.errors import DataError
from s2e_optuna.writable import whole_file

BLOCK = 1024
"""Vectors in a file."""

BLOCK_SECONDS = 60.0
"""Fewer are written where computing them takes longer."""

KEPT_DAYS = 60
"""Folders that nobody has used for so many days are removed when another one is made."""

_BATCH = {"cpu": 32, "cuda": 256}
"""Images that a network gets at a time."""

_AHEAD = 3
"""Batches that are decoded while a network computes."""

_MOST_THREADS = 16

_logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]


class Pictures(Protocol):
    """Images one by one, with a digest of each one's content."""

    digests: Digests

    def image(self, index: int) -> Image.Image:
        """Return an image in RGB; raise `BrokenImages` where it cannot be read."""


class FilePictures:
    """Image files.

    Parameters
    ----------
    paths
        The files.
    cache
        Where digests of files are remembered.
    """

    def __init__(self, paths: Sequence[str], cache: Path | None) -> None:
        self.paths = paths
        self.digests = digests_of_files(paths, cache)

    def image(self, index: int) -> Image.Image:
        """Return an image upright and on white, of 16 bits the upper 8; see `decode_image`."""
        return Image.fromarray(decode_image(self.paths[index], None)[0])


class PixelPictures:
    """Images in memory.

    Parameters
    ----------
    pixels
        uint8 [N, 1 or 3, height, width].
    """

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels
        shape = str(tuple(pixels.shape[1:])).encode()
        self.digests = np.array(
            [digest_of(shape + one.contiguous().numpy().tobytes()) for one in pixels],
            dtype=np.uint64,
        )

    def image(self, index: int) -> Image.Image:
        """Return an image."""
        return Image.fromarray(self.pixels[index].expand(3, -1, -1).permute(1, 2, 0).numpy())


class Vectors:
    """Vectors of some images, most of them on disk.

    Parameters
    ----------
    blocks
        Arrays [B, D].
    places
        Number of the block and row in it of each image, int64 [N, 2].
    """

    def __init__(self, blocks: Sequence[Floats], places: NDArray[np.int64]) -> None:
        self._blocks, self._places = blocks, places
        self.width = int(blocks[0].shape[1])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: slice) -> Floats:
        places = self._places[rows]
        found = np.empty((len(places), self.width), dtype=np.float32)
        for block in np.unique(places[:, 0]).tolist():
            here = places[:, 0] == block
            found[here] = self._blocks[block][places[here, 1]]
        return found

    def parts(self) -> Iterator[Floats]:
        """Yield all of them, some at a time."""
        for start in range(0, len(self), BLOCK):
            yield self[start : start + BLOCK]


def vectors_folder(cache: Path | None, *what: object) -> Path | None:
    """Return the folder for vectors that depend on all this; None where none are kept."""
    if cache is None:
        return None
    text = "\0".join(map(str, what))
    return cache / "features" / hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class VectorStore:
    """The vectors of one network with its preprocessing.

    Parameters
    ----------
    folder
        Where they lie; None keeps them in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.blocks: list[Floats] = []
        self._places: dict[int, tuple[int, int]] = {}
        if folder is None or not folder.is_dir():
            return
        with contextlib.suppress(OSError):  # only for `remove_unused`
            os.utime(folder)
        for place in sorted(folder.glob("*.block")):
            try:
                self._take(*_map_block(place))
            except (OSError, ValueError, EOFError):  # damaged: computed anew
                _logger.info("The vectors in %s cannot be read", place)

    def place_of(self, digest: int) -> tuple[int, int] | None:
        """Return number of the block and row in it of an image; None where it is new."""
        return self._places.get(digest)

    def add(self, digests: Sequence[int], vectors: Floats) -> None:
        """Keep vectors: on disk, or where that is not possible in memory."""
        named = np.array(digests, dtype=np.uint64)
        place = _write_block(self.folder, named, vectors)
        if place is not None:
            named, vectors = _map_block(place)
        self._take(named, vectors)

    def vectors(self, digests: Digests) -> Vectors:
        """Return the vectors of images that are known."""
        places = [self._places[digest] for digest in digests.tolist()]
        return Vectors(self.blocks, np.array(places, dtype=np.int64).reshape(-1, 2))

    def _take(self, digests: Digests, vectors: Floats) -> None:
        if vectors.ndim != 2 or len(vectors) != len(digests):
            raise ValueError("no block of vectors")
        if self.blocks and vectors.shape[1] != self.blocks[0].shape[1]:
            raise ValueError("vectors of another width")
        number = len(self.blocks)
        self.blocks.append(vectors)
        for row, digest in enumerate(digests.tolist()):
            self._places[digest] = number, row


def _map_block(place: Path) -> tuple[Digests, Floats]:
    """Read the digests of a block, and map its vectors, which stand behind them."""
    with place.open("rb") as file:
        digests: Digests = np.load(file, allow_pickle=False)
        np.lib.format.read_magic(file)
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
    return digests, np.memmap(place, kind, "r", start, shape)


def _write_block(folder: Path | None, digests: Digests, vectors: Floats) -> Path | None:
    """Write a block in one step; return where, or None if that was not possible."""
    if folder is None:
        return None
    place = folder / f"{uuid4().hex}.block"
    try:
        make_folder(folder)
        with whole_file(place) as partial, partial.open("wb") as file:
            np.save(file, digests, allow_pickle=False)
            np.save(file, np.ascontiguousarray(vectors), allow_pickle=False)
    except OSError as error:
        _logger.info("Vectors are not kept in %s: %s", folder, error)
        return None
    return place


def make_folder(folder: Path) -> None:
    """Make a folder of the cache, and room for it."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        remove_unused(folder.parent)


def remove_unused(root: Path) -> None:
    """Remove the folders in a folder of the cache that nobody has used for `KEPT_DAYS`."""
    oldest = time.time() - KEPT_DAYS * 86_400
    for folder in root.iterdir():
        with contextlib.suppress(OSError):  # another process may be faster
            if folder.is_dir() and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)


Computed = tuple[list[int], Floats, list[int]]
"""Positions of some samples, their vectors [B, D], and positions of broken ones."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Shard(ABC):
    """Samples whose vectors may be computed by another process, or on another machine.

    Attributes
    ----------
    name
        Which network, as users name it.
    identity
        The network's, as it has to be there, too.
    positions
        Of the samples among all.
    device
        Where to compute.
    """

    name: str
    identity: str
    positions: tuple[int, ...]
    device: str = "cpu"

    @abstractmethod
    def compute(self) -> Computed:
        """Compute the vectors.

        Raises
        ------
        DataError
            Network or files are others than where the shard was made, or not there.
        """

    def check(self, identity: str) -> None:
        """Refuse a network of another identity than where the shard was made."""
        if identity != self.identity:
            raise DataError(
                f"the features {self.name} are others on {socket.gethostname()} than here: give "
                "all machines the same weights and versions"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageShard(Shard):
    """Image files.

    Attributes
    ----------
    side, views
        See `feature_network`, and how many views.
    paths
        The files, under the same paths there.
    digests
        Of their contents, as they have to be.
    """

    side: int | None
    views: int
    paths: tuple[str, ...]
    digests: tuple[int, ...]

    def compute(self) -> Computed:
        """See `Shard`."""
        network = _network(self.name, self.side)
        self.check(network.identity)
        pictures = FilePictures(self.paths, None)
        host = socket.gethostname()
        for path, digest, known in zip(
            self.paths, pictures.digests.tolist(), self.digests, strict=True
        ):
            if digest != known:
                raise DataError(f"{path} is another file on {host} than here: share one folder")
        good: list[int] = []
        bad: list[int] = []
        vectors: list[Floats] = []
        rows = range(len(self.paths))
        for some, found, broken in _computed(pictures, network, rows, self.views, self.device):
            good += [self.positions[i] for i in some]
            bad += [self.positions[i] for i in broken]
            vectors += [found] if some else []
        return good, np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32), bad


Compute = Callable[[Sequence[int]], Iterator[Computed]]
"""Computes the vectors of samples at these positions, in any order."""

Extract = Callable[[Sequence[Shard]], Iterator[Computed]]
"""Computes shards, in any order."""

SHARD = 512
"""Samples of a shard."""


@lru_cache(maxsize=1)
def _network(name: str, side: int | None) -> FeatureNetwork:
    return feature_network(name, side)


def vectors_of(
    pictures: Pictures,
    network: FeatureNetwork,
    store: VectorStore,
    *,
    views: int = 1,
    device: str = "auto",
    progress: OnImages | None = None,
    extract: Compute | None = None,
) -> Vectors:
    """Return the vectors of images; those that no earlier call has computed are computed now.

    Parameters
    ----------
    pictures
        The images.
    network
        What computes them.
    store
        Where they are kept.
    views
        2 averages the vectors of each image and its mirror image.
    device
        Where to compute.
    progress
        Told how many of the new ones have been computed, and how many there are.
    extract
        Computes the vectors of images at these positions, in place of this process.

    Raises
    ------
    BrokenImages
        Images that cannot be read, all of them; the vectors of the others are kept.
    DataError
        The network cannot take the images.
    """

    def compute(new: Sequence[int]) -> Iterator[Computed]:
        if extract is not None:
            return extract(new)
        return _computed(pictures, network, new, views, device)

    if broken := fill(store, pictures.digests, compute, progress):
        digests = pictures.digests.tolist()
        alike = [i for i, digest in enumerate(digests) if digest in broken]
        raise BrokenImages.of(_reasons(pictures, alike), len(digests))
    return store.vectors(pictures.digests)


def fill(
    store: VectorStore,
    digests: Digests,
    compute: Compute,
    progress: OnImages | None = None,
) -> set[int]:
    """Compute the vectors that are not kept yet; return digests of broken samples.

    Parameters
    ----------
    store
        Where they are kept: some at a time, so that what was killed goes on behind them.
    digests
        Of the samples' contents.
    compute
        Yields the vectors of samples at these positions.
    progress
        Told how many of the new ones have been computed, and how many there are.
    """
    _, first = np.unique(digests, return_index=True)
    named = digests.tolist()
    new = [i for i in np.sort(first).tolist() if store.place_of(named[i]) is None]
    broken: set[int] = set()
    kept: list[int] = []
    vectors: list[Floats] = []
    written = time.monotonic()

    def write() -> None:
        nonlocal written
        if kept:
            store.add([named[i] for i in kept], np.concatenate(vectors))
        kept.clear()
        vectors.clear()
        written = time.monotonic()

    done = 0
    for indices, found, bad in compute(new):
        done += len(indices) + len(bad)
        broken |= {named[i] for i in bad}
        kept += indices
        vectors += [found] if len(indices) else []
        if len(kept) >= BLOCK or time.monotonic() - written > BLOCK_SECONDS:
            write()
        if progress is not None:
            progress(done, len(new))
    write()
    return broken


def _reasons(pictures: Pictures, indices: Sequence[int]) -> list[tuple[str, str]]:
    """Return paths of broken images, and what is wrong with them."""
    found: list[tuple[str, str]] = []
    for index in indices:
        try:
            pictures.image(index)
        except BrokenImages as error:
            found += error.found
    return found


def _computed(
    pictures: Pictures, network: FeatureNetwork, new: Sequence[int], views: int, device: str
) -> Iterator[Computed]:
    """Yield the vectors of images; the next ones are decoded meanwhile."""
    if not new:
        return
    place = resolve_device(device)
    network.module.to(place).to(memory_format=torch.channels_last)
    size = _BATCH[place.type]
    threads = min(_MOST_THREADS, available_cores())

    def prepared(index: int) -> Tensor | None:
        try:
            image = pictures.image(index)
        except BrokenImages:  # see `_reasons`
            return None
        return network.prepared(image)

    with only_our_words(), on_device(place), ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Sequence[int], list[Future[Tensor | None]]]] = deque()
        starts = iter(range(0, len(new), size))
        try:
            while True:
                for start in starts:
                    rows = new[start : start + size]
                    waiting.append((rows, [pool.submit(prepared, row) for row in rows]))
                    if len(waiting) > _AHEAD:
                        break
                if not waiting:
                    break
                rows, futures = waiting.popleft()
                results = [future.result() for future in futures]
                images = [one for one in results if one is not None]
                good = [row for row, one in zip(rows, results, strict=True) if one is not None]
                found = np.empty((0, 0), dtype=np.float32)
                if images:
                    found = _of_batch(network, images, views, place)
                yield good, found, [row for row in rows if row not in good]
        finally:
            pool.shutdown(cancel_futures=True)
            if place.type == "cuda":
                network.module.cpu()  # the training needs the memory


def _of_batch(
    network: FeatureNetwork, images: Sequence[Tensor], views: int, place: torch.device
) -> Floats:
    if len({one.shape for one in images}) > 1:
        sizes = sorted({f"{one.shape[2]}x{one.shape[1]}" for one in images})
        raise DataError(
            f"the network of {network.name} gets images of different sizes, such as {sizes[0]} "
            f"and {sizes[1]}: say one with `image_size`, or let its function return a "
            "preprocessing, too"
        )
    batch = to_device(torch.stack(list(images)), place).contiguous(
        memory_format=torch.channels_last
    )
    try:
        found = network.vectors(batch)
        if views == 2:
            found = (found + network.vectors(batch.flip(3))) / 2
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        if isinstance(error, DataError | torch.OutOfMemoryError):
            raise
        raise DataError(
            f"the network of {network.name} cannot take images of {list(batch.shape[1:])} "
            f"(channels, height, width): {str(error).splitlines()[0]}"
        ) from error
    vectors: Floats = found.cpu().numpy()
    if not np.isfinite(vectors).all():
        raise DataError(f"the network of {network.name} gives NaN or infinite features")
    return vectors
