"""Random changes to the images of training batches, on the device where these lie.

What an image becomes depends on the seed of the training, the epoch, and its place in the order of
the epoch: it is the same for all trials of a stack, which share their batches, and wherever the
images are read from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from s2e_optuna.errors import DataError, unknown_name

Augment = Callable[[Tensor], Tensor]
"""From one image [channels, height, width] to another of the same shape and type."""

AUGMENTATIONS = ("none", "crop_flip")
"""Names of augmentations."""

SIDE_OF_A_PIXEL = 8
"""`crop_flip` shifts by a pixel for each so many of the side: by 4 of the 32 of CIFAR."""


def check_augment(augment: str | Augment) -> None:
    """Raise `DataError` unless there is such an augmentation."""
    if isinstance(augment, str):
        if augment not in AUGMENTATIONS:
            raise unknown_name("augmentation", augment, AUGMENTATIONS)
    elif not callable(augment):
        raise DataError(f"augment {augment!r} is neither a name nor a function of an image")


def augment_name(augment: str | Augment) -> str:
    """Return a name, or how a function or transform of the user's is written."""
    if hasattr(augment, "__qualname__"):
        return f"{augment.__module__}:{augment.__qualname__}"
    return str(augment)


@dataclass(frozen=True)
class Augmentation:
    """What changes the images of a training, and its seed.

    Attributes
    ----------
    augment
        ``"crop_flip"``, or a function of one image.
    seed
        Of the training.
    """

    augment: str | Augment
    seed: int

    @classmethod
    def of(
        cls, augment: str | Augment, seed: int, input_shape: tuple[int, int, int]
    ) -> Augmentation | None:
        """Look up an augmentation; None is none.

        Parameters
        ----------
        augment
            A name, or a function of one image.
        seed
            Of the training.
        input_shape
            Channels, height and width of an image.

        Raises
        ------
        DataError
            There is no such augmentation, or images of this shape cannot be cropped.
        """
        check_augment(augment)
        if augment == "none":
            return None
        if augment == "crop_flip" and min(input_shape[1:]) < 2:
            raise DataError(
                "augment crop_flip needs pictures, but the samples are rows of "
                f"{max(input_shape[1:])} numbers: leave it out"
            )
        return cls(augment, seed)

    def batches(self, batches: Iterator[Tensor], epoch: int) -> Iterator[Tensor]:
        """Yield the batches [B, channels, height, width] of an epoch, augmented.

        Raises
        ------
        DataError
            A function of the user's gives images of another shape or type.
        """
        for step, images in enumerate(batches):
            words = np.random.SeedSequence([self.seed, epoch, step]).generate_state(1, np.uint64)
            yield self._augmented(images, int(words[0] >> 1))

    def _augmented(self, images: Tensor, seed: int) -> Tensor:
        if isinstance(self.augment, str):
            return crop_flip(images, torch.Generator().manual_seed(seed))
        # One call an image: transforms of torchvision draw once a call, also for a batch.
        on_gpu = images.device.type == "cuda"
        with torch.random.fork_rng(devices=[images.device] if on_gpu else []):
            torch.default_generator.manual_seed(seed)
            if on_gpu:
                torch.cuda.manual_seed(seed)
            changed = [self.augment(image) for image in images]
        for image in changed:
            if image.shape != images.shape[1:] or image.dtype != images.dtype:
                raise DataError(
                    f"augment turned an image {list(images.shape[1:])} of {images.dtype} into "
                    f"{list(image.shape)} of {image.dtype}: it must keep shape and type"
                )
        return torch.stack(changed)


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its sides, filling with 0, and mirror every other.

    That is the random crop with padding and the horizontal flip that are usual for CIFAR.

    Parameters
    ----------
    images
        [B, channels, height, width].
    generator
        Source of all that is random, on the CPU: the same on every device.
    """
    batch, channels, height, width = images.shape
    most_y, most_x = (max(1, round(side / SIDE_OF_A_PIXEL)) for side in (height, width))

    def drawn(values: int) -> Tensor:
        return torch.randint(values, (batch, 1), generator=generator)

    rows = torch.arange(height) + drawn(2 * most_y + 1)
    columns = torch.arange(width) + drawn(2 * most_x + 1)
    columns = torch.where(drawn(2) == 1, columns.flip(1), columns)
    padded = pad(images, (most_x, most_x, most_y, most_y))
    of_rows = rows.to(images.device)[:, None, :, None].expand(-1, channels, -1, padded.shape[3])
    of_columns = columns.to(images.device)[:, None, None, :].expand(-1, channels, height, -1)
    return padded.gather(2, of_rows).gather(3, of_columns)
