"""Accuracy, loss and probabilities of all models of a stack, in chunks that fit the cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from s2e_optuna.training.data import scale_pixels
from s2e_optuna.training.device import to_device
from s2e_optuna.training.networks import StackedNetwork

CHUNK_NUMBERS = 1 << 21
"""Numbers of the widest layer that a chunk may hold over all models (8 MiB of float32)."""

LARGEST_CHUNK = 2048


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


def chunks(images: Images, size: int, device: torch.device) -> Iterator[Tensor]:
    """Yield all images in order, so many at once, on the device."""
    if isinstance(images, Tensor):
        for chunk in torch.split(images, size):
            yield chunk.to(device)
    else:
        for chunk in images.chunks(size):
            yield to_device(chunk, device)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Mean loss and accuracy of each model, float64 [M], on the device."""

    loss: Tensor
    accuracy: Tensor


def chunk_size(network: StackedNetwork, models: int) -> int:
    """Choose how many samples to evaluate at once."""
    return max(64, min(LARGEST_CHUNK, CHUNK_NUMBERS // (network.footprint.widest * models)))


@torch.inference_mode()
def evaluate(
    network: StackedNetwork, state: Mapping[str, Tensor], images: Images, labels: Tensor
) -> Evaluation:
    """Measure every model on every image.

    Parameters
    ----------
    network, state
        The stack, M models; evaluated with running statistics and without dropout.
    images
        [N, channels, height, width], uint8 or float32.
    labels
        int64 [N].
    """
    models = len(next(iter(state.values())))
    loss = torch.zeros(models, dtype=torch.float64, device=labels.device)
    correct = torch.zeros(models, dtype=torch.int64, device=labels.device)
    size = chunk_size(network, models)
    for part, given in zip(
        chunks(images, size, labels.device), torch.split(labels, size), strict=True
    ):
        logits = network.forward(state, scale_pixels(part))
        loss += sample_losses(logits, given).sum(1, dtype=torch.float64)
        correct += (logits.argmax(2) == given).sum(1)
    return Evaluation(loss / len(labels), correct.to(torch.float64) / len(labels))


def sample_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy [M, B] of logits [M, B, C] with labels [B] that all models share."""
    # Stacked networks compute [M, C, B], so this is their own layout.
    classes_first = logits.transpose(1, 2)
    given = labels.expand(len(logits), -1)
    return functional.cross_entropy(classes_first, given, reduction="none")


def iterate_probabilities(
    network: StackedNetwork, state: Mapping[str, Tensor], images: Images, networks: int
) -> Iterator[Tensor]:
    """Yield class probabilities [P, chunk, C], averaged over the networks of each trial."""
    models = len(next(iter(state.values())))
    for part in chunks(images, chunk_size(network, models), next(iter(state.values())).device):
        with torch.inference_mode():
            probabilities = network.forward(state, scale_pixels(part)).softmax(2)
            averaged = torch.unflatten(probabilities, 0, (-1, networks)).mean(1)
        yield averaged
