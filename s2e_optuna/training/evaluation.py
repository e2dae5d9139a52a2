"""Accuracy, loss and probabilities of all models of a stack, in chunks.

On CPU a chunk fits the cache, on a GPU a share of the free memory. Where memory runs out all the
same, it goes on with smaller chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from s2e_optuna.data.noisy_data import scale_pixels
from s2e_optuna.data.streaming import Images
from s2e_optuna.device import free_memory, to_device
from s2e_optuna.metrics import class_mean
from s2e_optuna.training.memory import clear_frames, give_back_memory, ran_out_of_memory
from s2e_optuna.training.networks import StackedNetwork

CHUNK_NUMBERS = 1 << 21
"""Numbers of the widest layer that a chunk may hold over all models (8 MiB of float32)."""

GPU_SHARE = 0.2
"""Share of a GPU's free memory that a chunk may take instead; shards are planned to leave more."""

COPIES_OF_OUTPUTS = 3
"""A layer's input, its output and what comes in between."""

SMALLEST_CHUNK, LARGEST_CHUNK = 64, 2048

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good each model is, on the device.

    Attributes
    ----------
    loss, accuracy
        Means over the samples, float64 [M].
    metric
        Another metric [M]; NaN where that is accuracy.
    halves
        Metric or accuracy on either half of the samples [2, M], each with its share of every
        class; NaN where there is no sample.
    """

    loss: Tensor
    accuracy: Tensor
    metric: Tensor
    halves: Tensor


def chunk_size(network: StackedNetwork, models: int, device: torch.device) -> int:
    """Choose how many samples to evaluate at once.

    Parameters
    ----------
    network, models
        Architecture, and how many stand side by side.
    device
        Where they run: a chunk fits a CPU's cache, or a share of a GPU's free memory.
    """
    numbers = CHUNK_NUMBERS
    if device.type == "cuda":
        numbers = int(GPU_SHARE * free_memory(device)) // (4 * COPIES_OF_OUTPUTS)
    fitting = numbers // (network.footprint.widest * models)
    return max(SMALLEST_CHUNK, min(LARGEST_CHUNK, fitting))


def in_chunks(
    action: Callable[[Tensor, int], Found], images: Images, size: int, device: torch.device
) -> Iterator[Found]:
    """Do something with all images in order, so many at once, or fewer where memory runs out.

    Parameters
    ----------
    action
        Called with scaled images on the device and the position of the first of them.
    images
        [N, channels, height, width].
    size
        Images of a chunk.
    device
        Where to.

    Raises
    ------
    RuntimeError
        The memory is too small for a single image; mostly a `torch.OutOfMemoryError`.
    """
    given = torch.split(images, size) if isinstance(images, Tensor) else images.chunks(size)
    position = 0
    for rest in given:
        while True:
            part = rest[:size]
            found = _tried(action, part, position, device)
            if found is None:
                size = (len(part) + 1) // 2
                continue
            yield found[0]
            position += len(part)
            rest = rest[len(part) :]
            if len(rest) == 0:
                break


def _tried(
    action: Callable[[Tensor, int], Found], part: Tensor, position: int, device: torch.device
) -> tuple[Found] | None:
    """Do something with a chunk; None where the memory is too small for it."""
    try:
        return (action(scale_pixels(to_device(part, device)), position),)
    except RuntimeError as error:
        if len(part) <= 1 or not ran_out_of_memory(error):
            raise
        clear_frames(error)
    give_back_memory()  # only here is the error gone, with all that it holds
    return None


@torch.inference_mode()
def evaluate(
    network: StackedNetwork,
    state: Mapping[str, Tensor],
    images: Images,
    labels: Tensor,
    among: Tensor | None = None,
    metric: str = "accuracy",
) -> Evaluation:
    """Measure every model on every image, or each on some of them.

    Parameters
    ----------
    network, state
        The stack, M models; evaluated with running statistics and without dropout.
    images
        [N, channels, height, width], uint8 or float32.
    labels
        int64 [N]; or what each class is worth as a prediction, floats [N, C]: accuracy is the
        mean worth of what is predicted, and the loss a mean with these weights.
    among
        The images on which each model is measured, booleans [M, N]; None for all.
    metric
        What is measured besides: a name in `s2e_optuna.metrics.METRICS`.
    """
    models, device = len(next(iter(state.values()))), labels.device

    def measure(part: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor | None]:
        here = slice(position, position + len(part))
        given = labels[here]
        logits = network.forward(state, part)
        # Classes come first in memory; turned round, argmax takes a fifth of the time.
        losses, predicted = sample_losses(logits, given), logits.contiguous().argmax(2)
        if given.ndim == 1:
            hits = predicted == given
        else:
            worth = given.expand(models, *given.shape).gather(2, predicted[..., None])
            hits = worth.squeeze(2).double()
        if among is not None:
            losses = losses * among[:, here]
        chosen = halves[:, :, here].expand(2, *hits.shape)
        hits = hits * chosen
        counts = None
        if metric != "accuracy":
            counts = _by_class(predicted, torch.stack([hits, chosen.to(hits.dtype)]), n_classes)
        return losses.sum(1, dtype=torch.float64), hits.sum(2), counts

    halves = _halves(labels, among, device)
    n_classes = 0 if metric == "accuracy" else network.n_classes
    loss = torch.zeros(models, dtype=torch.float64, device=device)
    kind = torch.int64 if labels.ndim == 1 else torch.float64
    correct = torch.zeros((2, models), dtype=kind, device=device)
    of_classes = torch.zeros((2, 2, models, n_classes), dtype=torch.float64, device=device)
    size = chunk_size(network, models, device)
    for losses, hits, counts in in_chunks(measure, images, size, device):
        loss += losses
        correct += hits
        if counts is not None:
            of_classes += counts
    sizes = halves.sum(2)
    measured = sizes.sum(0)
    accuracy = correct.sum(0).to(torch.float64) / measured
    if metric == "accuracy":
        nothing = torch.full_like(accuracy, float("nan"))
        return Evaluation(loss / measured, accuracy, nothing, correct.to(torch.float64) / sizes)
    (hits, predicted), support = of_classes, _support(labels, halves, n_classes)
    found = class_mean(metric, hits.sum(0), support.sum(0), predicted.sum(0))
    return Evaluation(
        loss / measured, accuracy, found, class_mean(metric, hits, support, predicted)
    )


def _halves(labels: Tensor, among: Tensor | None, device: torch.device) -> Tensor:
    """Divide samples in two, each half with its share of every class: booleans [2, 1 or M, N].

    Parameters
    ----------
    labels
        Classes [N], or what each class is worth [N, C].
    among
        Samples of each model [M, N], which are divided; None for all.
    device
        Where to.
    """
    if among is None:
        among = torch.ones((1, len(labels)), dtype=torch.bool, device=device)
    classes = labels if labels.ndim == 1 else labels.argmax(dim=1)
    by_class = classes.argsort(stable=True)  # every other sample of each class
    first = torch.zeros_like(among)
    first[:, by_class] = among[:, by_class].cumsum(1) % 2 == 1
    first &= among
    return torch.stack([first, among & ~first])


def _by_class(classes: Tensor, numbers: Tensor, n_classes: int) -> Tensor:
    """Sum numbers [..., M, B] by the classes [M, B]: float64 [..., M, C]."""
    sums = torch.zeros(
        (*numbers.shape[:-1], n_classes), dtype=torch.float64, device=numbers.device
    )
    return sums.scatter_add_(-1, classes.expand(numbers.shape), numbers.double())


def _support(labels: Tensor, halves: Tensor, n_classes: int) -> Tensor:
    """Count the samples of each class in each half: float64 [2, 1 or M, C]."""
    if labels.ndim == 2:
        return halves.double() @ labels.double()
    return _by_class(labels, halves, n_classes)


def sample_losses(logits: Tensor, labels: Tensor, *, own: bool = False) -> Tensor:
    """Cross-entropy [M, B] of logits [M, B, C] with labels.

    Parameters
    ----------
    logits
        Outputs [M, B, C].
    labels
        Classes [B], or a weight for each class [B, C]: soft labels.
    own
        Whether each model has labels of its own: [M, B] or [M, B, C].
    """
    # Stacked networks compute [M, C, B], so this is their own layout.
    classes_first = logits.transpose(1, 2)
    soft = labels.ndim == (3 if own else 2)
    given = labels.mT if soft else labels
    given = given if own else given.expand(len(logits), *given.shape)
    return functional.cross_entropy(classes_first, given, reduction="none")


def losses_of(logs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy [..., B] of the logarithms of probabilities.

    Parameters
    ----------
    logs
        Of each class, classes first [..., C, B].
    labels
        Classes that broadcast to [..., B], or soft labels that broadcast to [..., B, C].
    """
    if labels.is_floating_point():
        return -(logs * labels.mT).sum(-2)
    return -logs.gather(-2, _as_index(labels, logs)).squeeze(-2)


def cross_entropy_gradient(logs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Differentiate the weighted sum of cross-entropies with respect to the outputs.

    Parameters
    ----------
    logs, labels
        See `losses_of`.
    weights
        Of each sample [..., B].

    Returns
    -------
    Tensor
        [..., C, B].
    """
    probabilities, weights = logs.exp(), weights.unsqueeze(-2)
    if labels.is_floating_point():
        of_labels = labels.mT
        return (probabilities * of_labels.sum(-2, keepdim=True) - of_labels) * weights
    return probabilities.mul_(weights).scatter_add_(-2, _as_index(labels, logs), -weights)


def _as_index(labels: Tensor, logs: Tensor) -> Tensor:
    """View classes as an index [..., 1, B] into numbers of each class [..., C, B]."""
    return labels.unsqueeze(-2).expand(*logs.shape[:-2], 1, -1)


def iterate_probabilities(
    network: StackedNetwork, state: Mapping[str, Tensor], images: Images, networks: int
) -> Iterator[Tensor]:
    """Yield class probabilities [P, chunk, C], averaged over the networks of each trial.

    Parameters
    ----------
    network, state
        The stack, M = P * networks models; run with running statistics and without dropout.
    images
        [N, channels, height, width], or where they are read from; taken in order.
    networks
        Networks of a trial.
    """
    first = next(iter(state.values()))

    @torch.inference_mode()
    def predict(part: Tensor, _: int) -> Tensor:
        probabilities = network.forward(state, part).softmax(2)
        return torch.unflatten(probabilities, 0, (-1, networks)).mean(1)

    size = chunk_size(network, len(first), first.device)
    yield from in_chunks(predict, images, size, first.device)
