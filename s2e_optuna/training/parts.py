"""The parts of the data on the device, and the batches that are drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.data.assemble import SPLIT_SEED
from s2e_optuna.data.augmentation import Augmentation
from s2e_optuna.data.noisy_data import NoisyData, scale_pixels
from s2e_optuna.data.strata import stratified_order
from s2e_optuna.data.streaming import (
    LARGEST_PREPARED,
    AugmentedImages,
    Images,
    PreparedRows,
    images_for,
    prepared,
)
from s2e_optuna.errors import DataError

ALIGNED = 4
"""Small products on a CPU round by where their operands lie in memory. With batches of a multiple
of this all models of a stack lie alike, and do not depend on their neighbours by a bit."""

ImagesLabels = tuple[Tensor, Tensor]

MOST_TRUSTED = 1000
"""Clean samples that a method learns from at most; at most half of the validation part."""


@dataclass(frozen=True, eq=False)
class EpochOrder:
    """Positions of the samples of each batch [S, B], each at most once, and of trusted ones.

    Where trials have batches of their own, samples are [S, P, B], each at most once a trial.
    """

    samples: Tensor
    trusted: Tensor | None = None

    @property
    def of_each_trial(self) -> bool:
        """Whether trials have batches of their own."""
        return self.samples.ndim == 3

    def of(self, trials: Sequence[int]) -> EpochOrder:
        """Return the batches of some trials, by their positions."""
        return EpochOrder(self.samples[:, list(trials)]) if self.of_each_trial else self


@dataclass(frozen=True, eq=False)
class TrainingPart:
    """Training data on the device.

    Attributes
    ----------
    images, labels
        [N, channels, height, width], or where they are read from, and given labels [N].
    clean
        Whether the given label is the true one, booleans [N]; None where nobody knows.
    trusted
        Images and labels of clean samples that are not among the above, for methods that learn
        from such; else None.
    augmentation
        Changes the images that are learnt from; None leaves them as they are.
    augmented
        Room for those of an epoch, where all images lie on the device; else None.
    targets
        Soft labels that are learnt from in place of the given ones [N, C]; else None.
    """

    images: Images
    labels: Tensor
    clean: Tensor | None
    trusted: ImagesLabels | None = None
    augmentation: Augmentation | None = None
    augmented: Tensor | None = None
    targets: Tensor | None = None

    def begin_epoch(self, order: EpochOrder, epoch: int) -> None:
        """Augment the images of an epoch (from 0), each of which is learnt from once.

        All at once, for all trials: their steps find them at the same place in every epoch, as a
        recorded step has to.
        """
        if self.augmentation is None or self.augmented is None:
            return
        assert isinstance(self.images, Tensor)
        plain = map(partial(self.images.index_select, 0), order.samples)
        changed = self.augmentation.batches(plain, epoch)
        for samples, images in zip(order.samples, changed, strict=True):
            self.augmented.index_copy_(0, samples, images)

    def images_of(self, samples: Tensor) -> Tensor:
        """Return the images to learn from at these positions [B] or [P, B], on the device."""
        images = self.images if self.augmented is None else self.augmented
        assert isinstance(images, Tensor)
        # Ten times as fast as indexing.
        chosen = images.index_select(0, samples.flatten())
        return chosen.view(*samples.shape, *chosen.shape[1:])

    def trusted_batch(self, samples: Tensor) -> ImagesLabels | None:
        """Return scaled images and labels of the trusted samples at these positions."""
        if self.trusted is None:
            return None
        images, labels = self.trusted
        return scale_pixels(images.index_select(0, samples)), labels[samples]


@dataclass(frozen=True, eq=False)
class Parts:
    """All data on the device.

    Attributes
    ----------
    training
        What is learnt from.
    validation, test
        Images and labels on which accuracies are measured; for validation these may be weights
        of classes, see `NoisyData.val_weights`.
    validation_images
        The whole validation part, also what a method learns from.
    """

    training: TrainingPart
    validation: tuple[Images, Tensor]
    test: tuple[Images, Tensor] | None
    validation_images: Images


def put_on_device(
    data: NoisyData,
    uses_clean_data: bool,
    device: torch.device,
    augmentation: Augmentation | None = None,
    own_batches: bool = False,
) -> Parts:
    """Prepare all data and copy them to the device; divide the validation part if need be.

    Parameters
    ----------
    data
        What to copy.
    uses_clean_data
        Whether the method learns from clean samples.
    device
        Where to.
    augmentation
        Changes the images that are learnt from.
    own_batches
        Whether trials have batches of their own.

    Raises
    ------
    DataError
        The validation part should be divided, but is noisy or too small.
    """
    clean = None if data.y_clean is None else (data.y_clean == data.y_train).to(device)
    x_val = prepared(data.x_val, data.preparation)
    judged = data.y_val if data.val_weights is None else data.val_weights
    whole: tuple[Images, Tensor] = images_for(x_val, device), judged.to(device)
    trusted, validation = _divide(data, *whole) if uses_clean_data else (None, whole)
    test = None
    if data.x_test is not None and data.y_test is not None:
        x_test = prepared(data.x_test, data.preparation)
        test = images_for(x_test, device), data.y_test.to(device)
    copies = 1 if augmentation is None else 2
    images: Images
    if _batch_by_batch(data, device, own_batches):
        assert isinstance(data.x_train, Tensor)
        images = PreparedRows(data.x_train, data.preparation)
    else:
        images = images_for(prepared(data.x_train, data.preparation), device, copies)
    augmented = None
    if augmentation is not None:
        if isinstance(images, Tensor):
            augmented = torch.empty_like(images)
        else:
            images = AugmentedImages(images, augmentation)
    targets = None if data.targets is None else data.targets.to(device)
    training = TrainingPart(
        images, data.y_train.to(device), clean, trusted, augmentation, augmented, targets
    )
    return Parts(training, validation, test, whole[0])


def _batch_by_batch(data: NoisyData, device: torch.device, own_batches: bool) -> bool:
    """Whether samples are prepared as they are learnt from: no worker then holds a copy of all."""
    return (
        device.type == "cpu"
        and not own_batches  # which are drawn of tensors
        and isinstance(data.x_train, Tensor)
        and data.x_train.nbytes > LARGEST_PREPARED
        and data.preparation.copies
    )


def _divide(
    data: NoisyData, images: Images, labels: Tensor
) -> tuple[ImagesLabels, tuple[Images, Tensor]]:
    """Divide the validation part: samples to learn from, and samples to be judged on."""
    if data.validation != "clean":
        raise DataError(
            "this method learns from clean samples, but the validation part is noisy: give a "
            "validation part whose labels are right, or use another method"
        )
    if len(labels) < 2:
        raise DataError(
            "this method learns from a half of the validation part, which has one sample only: "
            "give it more"
        )
    rng = np.random.default_rng(SPLIT_SEED)
    order = torch.from_numpy(stratified_order(data.y_val.numpy(), rng)).to(labels.device)
    count = min(MOST_TRUSTED, len(order) // 2)
    learnt, judged = order[:count], order[count:]
    if isinstance(images, Tensor):
        return (images[learnt], labels[learnt]), (images[judged], labels[judged])
    # At most so many are learnt from that they fit into memory.
    some = images.select(learnt).read().to(labels.device)
    return (some, labels[learnt]), (images.select(judged), labels[judged])


class Batches:
    """Draws the batches of one epoch after another.

    Parameters
    ----------
    data
        What they are drawn of.
    batch_size
        Samples of a batch B, and of trusted ones if there are so many (else a multiple of 4).
    seed, trusted_seed
        Seeds of the order of the samples and of the trusted ones.
    """

    def __init__(self, data: TrainingPart, batch_size: int, seed: int, trusted_seed: int) -> None:
        self.data = data
        self.batch_size = batch_size
        # Drawn on the CPU: the same order on every device.
        self._order = torch.Generator().manual_seed(seed)
        self._order_of_trusted = torch.Generator().manual_seed(trusted_seed)

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """Sources of all that is random here, by name."""
        return {"order": self._order, "order_of_trusted": self._order_of_trusted}

    def draw(self, epoch: int) -> EpochOrder:
        """Draw the order of an epoch (from 0), cut it into full batches, augment their images.

        What fills no batch is left out.
        """
        order = self._draw()
        self.data.begin_epoch(order, epoch)
        return order

    def _draw(self) -> EpochOrder:
        labels = self.data.labels
        steps = len(labels) // self.batch_size
        order = torch.randperm(len(labels), generator=self._order)[: steps * self.batch_size]
        samples = order.to(labels.device).view(steps, self.batch_size)
        if self.data.trusted is None:
            return EpochOrder(samples)
        count = len(self.data.trusted[1])
        size = min(count, self.batch_size)
        if size >= ALIGNED:
            size -= size % ALIGNED
        draws = [
            torch.randperm(count, generator=self._order_of_trusted)[:size] for _ in range(steps)
        ]
        return EpochOrder(samples, torch.stack(draws).to(labels.device))


class OwnBatches(Batches):
    """Draws batches of its own for each trial, those that a training of its seed alone would have.

    Parameters
    ----------
    data
        What they are drawn of; all of it lies on the device, and nothing is changed or trusted.
    batch_size
        Samples of a batch B.
    seeds
        Seed of the order of the samples, of each trial.
    samples
        Positions of the samples that each trial learns from; None for all.

    Raises
    ------
    DataError
        Trials have so different numbers of samples that their epochs differ in steps.
    """

    def __init__(
        self,
        data: TrainingPart,
        batch_size: int,
        seeds: Sequence[int],
        samples: Sequence[NDArray[np.int64] | None],
    ) -> None:
        super().__init__(data, batch_size, seeds[0], 0)
        everything = np.arange(len(data.labels))
        self._positions = [
            torch.from_numpy(everything if chosen is None else chosen) for chosen in samples
        ]
        if len({len(chosen) // batch_size for chosen in self._positions}) > 1:
            raise DataError("trials of one stack need as many batches an epoch as each other")
        # Trials of one seed and as many samples have the same draws.
        self._keys = [(seed, len(p)) for seed, p in zip(seeds, self._positions, strict=True)]
        self._generators = {key: torch.Generator().manual_seed(key[0]) for key in self._keys}

    def _draw(self) -> EpochOrder:
        size = self.batch_size
        drawn = {
            key: torch.randperm(key[1], generator=generator)[: key[1] // size * size]
            for key, generator in self._generators.items()
        }
        samples = [
            chosen[drawn[key]].view(-1, size)
            for key, chosen in zip(self._keys, self._positions, strict=True)
        ]
        return EpochOrder(torch.stack(samples, 1).to(self.data.labels.device))
