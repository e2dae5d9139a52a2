"""Images that are read batch by batch: files too large for memory, arrays too large for a GPU.

A `NoisyData` may hold these in place of its image tensors. All trials of a training share their
batches, so each image is decoded once an epoch however many trials there are.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from s2e_optuna.data.augmentation import Augment, Augmentation
from s2e_optuna.data.decoding import FileBatch, decode, decoder, default_processes
from s2e_optuna.data.images import Size, image_size, only_our_words
from s2e_optuna.data.preparation import Preparation
from s2e_optuna.device import free_memory, to_device
from s2e_optuna.errors import DataError


class ImageStream(Protocol):
    """Images that do not fit into memory and are read batch by batch."""

    def batches(self, samples: Tensor, epoch: int) -> Iterator[Tensor]:
        """Yield the images of each row of positions [S, B] for training, on their device."""

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order, so many at once, on the CPU."""

    def select(self, positions: Tensor) -> ImageStream:
        """Return some of the images."""

    def read(self) -> Tensor:
        """Bring all images into memory [N, channels, height, width], on the CPU."""


Images = Tensor | ImageStream
"""Images [N, channels, height, width], uint8 or float32, or what they are read from."""


MEMORY_SHARE = 0.5
"""Folders that would take more of the machine's memory than this are read batch by batch."""

GPU_SHARE = 0.4
"""Likewise arrays that would take more of a GPU's free memory than this."""

LARGEST_COPY = 1 << 30
"""Bytes of images that are copied in the machine's memory, where each worker does so."""

LARGEST_PREPARED = 1 << 26
"""Bytes of samples that each worker prepares before it trains; more are batch by batch."""

CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux says how much memory a group of processes, such as a container, has."""

OWN_CGROUP = Path("/proc/self/cgroup")
"""Where Linux says in which of these groups this process is."""

READ_AT_ONCE = 256
"""Files that a process decodes before it hands them over."""


class ImageFiles:
    """Image files of one part, decoded by worker processes when they are needed.

    Parameters
    ----------
    paths
        The files.
    size
        Every image is resized to this height and width.
    augment
        Changes the images of training batches in the processes that decode them, for example a
        transform of ``torchvision.transforms.v2``; `TrainConfig.augment` does so on the device
        of the training. Torch's generator is seeded for each image and epoch, so what comes out
        does not depend on the number of workers.
    workers
        Processes that decode, and stay for the next epoch; all `ImageFiles` with the same number
        share them. By default a half of the cores that this process has for itself, at most 8.
        0, and a daemonic process, decode by themselves: faster where an epoch takes a second.
    seed
        Seed of the augmentation.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        size: Size,
        *,
        augment: Augment | None = None,
        workers: int | None = None,
        seed: int = 0,
    ) -> None:
        self.paths = tuple(map(str, paths))
        self.size = size
        self.augment = augment
        self.workers = default_processes() if workers is None else workers
        self.seed = seed
        self._decoder = decoder(self.workers)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, three channels, height and width."""
        return len(self.paths), 3, *self.size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return decode(FileBatch([self.paths[index]], self.size))[0]

    def select(self, positions: Tensor) -> ImageFiles:
        """Return some of the files."""
        paths = [self.paths[i] for i in positions.tolist()]
        return ImageFiles(
            paths, self.size, augment=self.augment, workers=self.workers, seed=self.seed
        )

    def read(self) -> Tensor:
        """Decode all images into memory [N, 3, height, width], uint8."""
        return torch.cat(list(self.chunks(READ_AT_ONCE)))

    def batches(self, samples: Tensor, epoch: int) -> Iterator[Tensor]:
        """Yield the augmented images of each row of positions [S, B], on their device."""
        seeds = range(self.seed + epoch * len(self), self.seed + (epoch + 1) * len(self))
        rows = [
            FileBatch(
                [self.paths[i] for i in row], self.size, self.augment, [seeds[i] for i in row]
            )
            for row in samples.tolist()
        ]
        for images in self._decoder.images(rows):
            yield to_device(images, samples.device)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order and as they are, so many at once, on the CPU."""
        starts = range(0, len(self), size)
        yield from self._decoder.images(
            [FileBatch(self.paths[start : start + size], self.size) for start in starts]
        )


AnyImages = TypeVar("AnyImages", Tensor, ImageFiles)


def take(images: AnyImages, positions: Tensor) -> AnyImages:
    """Return the images at these positions."""
    return images.select(positions) if isinstance(images, ImageFiles) else images[positions]


def prepared(images: Tensor | ImageFiles, preparation: Preparation) -> Tensor | ImageFiles:
    """Return images as networks get them; see `Preparation.apply`.

    Raises
    ------
    DataError
        Image files, where the training images were no pixels.
    """
    if isinstance(images, Tensor):
        return preparation.apply(images)
    if preparation.kind not in ("pixels", "floats"):
        raise DataError(
            "the images are files with pixels, the training images were not: give them as "
            "arrays like those"
        )
    return images


class HostImages:
    """Images in the machine's memory that are brought to a GPU batch by batch.

    Parameters
    ----------
    images
        [N, channels, height, width] on the CPU.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def select(self, positions: Tensor) -> HostImages:
        """Return some of the images."""
        return HostImages(self.images[positions.cpu()])

    def read(self) -> Tensor:
        """Return all images [N, channels, height, width]."""
        return self.images

    def batches(self, samples: Tensor, epoch: int) -> Iterator[Tensor]:
        """Yield the images of each row of positions [S, B], on their device."""
        for row in samples.cpu():
            yield to_device(self.images[row], samples.device)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order, so many at once, on the CPU."""
        yield from torch.split(self.images, size)


class PreparedRows(HostImages):
    """Samples in the machine's memory that are prepared batch by batch.

    Parameters
    ----------
    images
        [N, channels, height, width] as they were given, on the CPU.
    preparation
        What is done to them.
    """

    def __init__(self, images: Tensor, preparation: Preparation) -> None:
        super().__init__(images)
        self.preparation = preparation

    def select(self, positions: Tensor) -> PreparedRows:
        """Return some of the samples."""
        return PreparedRows(self.images[positions.cpu()], self.preparation)

    def read(self) -> Tensor:
        """Return all samples, prepared."""
        return self.preparation.apply(self.images)

    def batches(self, samples: Tensor, epoch: int) -> Iterator[Tensor]:
        """Yield the prepared samples of each row of positions [S, B], on their device."""
        for row in samples.cpu():
            # Ten times as fast as indexing.
            chosen = self.preparation.apply(self.images.index_select(0, row))
            yield to_device(chosen, samples.device)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Yield all samples in order, prepared, so many at once, on the CPU."""
        yield from map(self.preparation.apply, torch.split(self.images, size))


class AugmentedImages:
    """Images that are augmented as they are read for training, and only then.

    Parameters
    ----------
    images
        What they are read from.
    augmentation
        What changes them.
    """

    def __init__(self, images: ImageStream, augmentation: Augmentation) -> None:
        self.images = images
        self.augmentation = augmentation

    def select(self, positions: Tensor) -> AugmentedImages:
        """Return some of the images."""
        return AugmentedImages(self.images.select(positions), self.augmentation)

    def read(self) -> Tensor:
        """Return all images [N, channels, height, width] as they are."""
        return self.images.read()

    def batches(self, samples: Tensor, epoch: int) -> Iterator[Tensor]:
        """Yield the augmented images of each row of positions [S, B], on their device."""
        return self.augmentation.batches(self.images.batches(samples, epoch), epoch)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Yield all images in order and as they are, so many at once, on the CPU."""
        return self.images.chunks(size)


def images_for(
    images: Tensor | ImageFiles, device: torch.device, copies: int = 1
) -> Tensor | ImageFiles | HostImages:
    """Bring images to a device, or leave them where they are if they are too large for it.

    Parameters
    ----------
    images
        Where they are.
    device
        Where they are needed.
    copies
        How often they should fit.
    """
    if not isinstance(images, Tensor):
        return images
    if device.type == "cpu":
        return HostImages(images) if (copies - 1) * images.nbytes > LARGEST_COPY else images
    if copies * images.nbytes > GPU_SHARE * free_memory(device):
        return HostImages(images)
    return images.to(device)


def should_stream(paths: Sequence[str | Path], size: Size | None) -> Size | None:
    """Return the images' size if together they are too large for the memory there is.

    Parameters
    ----------
    paths
        Files.
    size
        What they are resized to; None takes the size of the first readable one.
    """
    with only_our_words():
        found = size or next(filter(None, map(image_size, paths)), None)
    if found is None:
        return None  # decoding will say what is wrong with them
    height, width = found
    too_large = 3 * height * width * len(paths) > MEMORY_SHARE * _memory()
    return (height, width) if too_large else None


def _memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its container's."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _limits():
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            memory = min(memory, int(limit.read_text()))
    return memory


def _limits() -> Iterator[Path]:
    """Yield the files that may limit this process's memory, of version 1 and 2 of cgroups.

    In a container its group looks like the root; without one, as in a job of Slurm, a process
    finds limits in its own group and in all that this lies in.
    """
    yield CGROUPS / "memory" / "memory.limit_in_bytes"
    yield CGROUPS / "memory.max"
    with contextlib.suppress(OSError):
        for line in OWN_CGROUP.read_text().splitlines():
            if line.startswith("0::/"):  # version 2
                group = CGROUPS / line.removeprefix("0::/")
                while CGROUPS in group.parents:
                    yield group / "memory.max"
                    group = group.parent
