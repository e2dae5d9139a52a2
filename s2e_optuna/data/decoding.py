"""Processes that decode images, and stay from one epoch to the next.

A process that starts imports torch, which takes seconds: as long as decoding thousands of images.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from s2e_optuna.data.augmentation import Augment
from s2e_optuna.data.images import Size, decode_image, only_our_words
from s2e_optuna.errors import DataError

MOST_PROCESSES = 8
"""More decode no faster than a training learns."""


@dataclass(frozen=True, eq=False)
class FileBatch:
    """Files that are decoded together.

    Attributes
    ----------
    paths
        The files.
    size
        Every image is resized to this height and width.
    augment
        What changes them; None leaves them as they are.
    seeds
        Seed of the augmentation of each.
    """

    paths: Sequence[str]
    size: Size
    augment: Augment | None = None
    seeds: Sequence[int] = ()


def decode(batch: FileBatch) -> Tensor:
    """Return the images of a batch [B, 3, height, width], uint8 if nothing changes them."""
    with only_our_words():
        images = [
            torch.tensor(decode_image(path, batch.size)[0]).permute(2, 0, 1)
            for path in batch.paths
        ]
    if batch.augment is not None:
        with torch.random.fork_rng(devices=[]):
            for i, seed in enumerate(batch.seeds):
                torch.manual_seed(seed)
                images[i] = batch.augment(images[i].contiguous())
    return torch.stack(images)


def default_processes() -> int:
    """Return a half of the cores that this process has for itself, at most 8.

    A search gives each of its workers as many threads as it has cores for it.
    """
    return min(MOST_PROCESSES, torch.get_num_threads() // 2)


def decoder(processes: int) -> Decoder:
    """Return the decoder with so many processes; all who hold it at a time share it."""
    return _DECODERS.setdefault(processes, Decoder(processes))


class Decoder:
    """Decodes batches, with processes that start when they are needed and end with it.

    Parameters
    ----------
    processes
        How many; 0 decodes in this process.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        # By process, because a forked one must neither use nor end those of its parent.
        self._idle: dict[int, list[_Loader]] = {}

    def __reduce__(self) -> tuple[Callable[[int], Decoder], tuple[int]]:
        return decoder, (self.processes,)

    def images(self, batches: Sequence[FileBatch]) -> Iterator[Tensor]:
        """Yield the images of each batch, while the next ones are decoded.

        Raises
        ------
        DataError
            A file that is no image, or a damaged one.
        """
        # A daemonic process, such as one of a multiprocessing.Pool, may have no children. A single
        # batch would only be waited for.
        if not self.processes or len(batches) < 2 or multiprocessing.current_process().daemon:
            yield from map(decode, batches)
            return
        idle = self._idle.setdefault(os.getpid(), [])
        try:
            loader = idle.pop()
        except IndexError:  # none yet, or another thread uses them
            loader = _Loader(self.processes)
        yield from loader.images(batches)
        idle.append(loader)  # not one that was left in the middle: its processes end


_DECODERS: WeakValueDictionary[int, Decoder] = WeakValueDictionary()


class _Loader:
    """A DataLoader that keeps its processes, and is told its batches each time."""

    def __init__(self, processes: int) -> None:
        self._batches: list[FileBatch] = []
        self._loader: DataLoader[Tensor | DataError] = DataLoader(
            _Decoding(),
            sampler=self._batches,
            batch_size=None,
            num_workers=processes,
            persistent_workers=True,
            # Never fork a process that may use CUDA and threads.
            multiprocessing_context="spawn",
            worker_init_fn=partial(_end_without, os.getpid()),
            generator=torch.Generator(),  # else it would draw of everybody's random numbers
        )

    def images(self, batches: Sequence[FileBatch]) -> Iterator[Tensor]:
        self._batches[:] = batches
        for images in self._loader:
            if isinstance(images, DataError):
                raise images
            yield images
        self._batches.clear()


class _Decoding(Dataset[Tensor | DataError]):
    """What the processes do."""

    def __getitem__(self, batch: FileBatch) -> Tensor | DataError:
        try:
            return decode(batch)
        except DataError as error:  # raised here, it would arrive with its traceback as message
            return error


def _end_without(parent: int, _: int) -> None:
    """End a decoding process whose parent was killed while it started.

    PyTorch's own watch begins when it has started, and takes who is its parent by then for it.
    """
    if os.getppid() != parent:
        os._exit(1)
