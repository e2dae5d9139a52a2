"""Two layers whose gradients are written out, so that what is not kept is in no product.

| symbol | meaning | shape |
|---|---|---|
| M, B, k | models, samples of a batch, samples that a model learns from | |
| D, H, C | inputs, hidden units, classes | |
| images | shared by all models, or each model's own | [B, D] or [M, B, D] |
| hidden | outputs of the first layer, a row a sample | [M, B, H] |
| logits, errors | outputs, and the gradient of the loss with respect to them | [M, C, B] |

A graph of PyTorch's would multiply by the errors of all samples, of which those that are not kept
are 0, and costs some thirty short operations a step besides. Here the one large product of the
backward pass, that of the errors of hidden units with images, takes the rows of the kept samples
alone, gathered first. The others are of as few rows as there are classes, and take all samples:
so it costs little that models keep different numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

ROWS = 8
"""Samples that a model learns from are taken in multiples of this: more models then have as many,
and all lie alike in memory."""

Groups = Sequence[tuple[slice, int]]
"""Models side by side that learn from as many samples: a slice of M, and k."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What models learn from.

    Parameters
    ----------
    groups
        See `Groups`.
    samples
        Positions in the batch, those that are learnt from first, int64 [M, K]: the first k of
        each model count, where k is less than B.
    """

    groups: Groups
    samples: Tensor

    @classmethod
    def first(cls, order: Tensor, groups: Groups) -> Kept:
        """Take of an order of all samples [M, B] as many as are looked at."""
        batch = order.shape[1]
        most = max(count for _, count in groups if count < batch)
        return cls(groups, order[:, :most])


def groups_of(counts: Sequence[int], batch: int) -> Groups | None:
    """Put models side by side together that learn from as many samples.

    Parameters
    ----------
    counts
        Samples that each model learns from.
    batch
        B.

    Returns
    -------
    Groups or None
        None where all learn from all.
    """
    rounded = [min(batch, -(-count // ROWS) * ROWS) for count in counts]
    if min(rounded) == batch:
        return None
    groups, begin = [], 0
    for end in range(1, len(rounded) + 1):
        if end == len(rounded) or rounded[end] != rounded[begin]:
            groups.append((slice(begin, end), rounded[begin]))
            begin = end
    return groups


def kept_samples(marked: Tensor) -> Kept | None:
    """Find the samples that models learn from; None where that is all of them.

    Parameters
    ----------
    marked
        Which samples each model learns from, booleans [M, B].
    """
    groups = groups_of(marked.sum(1).tolist(), marked.shape[1])
    if groups is None:
        return None
    first = marked.view(torch.uint8).argsort(dim=1, descending=True, stable=True)
    return Kept.first(first, groups)


@dataclass(frozen=True, eq=False)
class TwoLayers:
    """Linear, ReLU, linear of M models, on the way from images to gradients.

    Parameters
    ----------
    weights
        Weights [M, H, D], biases [M, H] of the first layer, [M, C, H] and [M, C] of the second;
        by name, in this order.
    images
        See above.
    hidden, logits
        See above; made by `forward`.
    """

    weights: Mapping[str, Tensor]
    images: Tensor
    hidden: Tensor
    logits: Tensor

    @classmethod
    def forward(cls, weights: Mapping[str, Tensor], images: Tensor) -> TwoLayers:
        """Compute the outputs."""
        first, bias, second, other = weights.values()
        inputs = of_each(images, first)
        hidden = torch.baddbmm(bias.unsqueeze(1), inputs, first.mT).relu_()
        return cls(weights, images, hidden, torch.baddbmm(other.unsqueeze(2), second, hidden.mT))

    def differentiate(
        self, errors: Tensor, gradients: Mapping[str, Tensor], kept: Kept | None = None
    ) -> None:
        """Compute the gradients of the weights.

        Parameters
        ----------
        errors
            See above; 0 for samples that are not kept.
        gradients
            Where to, named as the weights.
        kept
            What is learnt from; None for all samples.
        """
        of_first, of_bias, of_second, of_other = (gradients[name] for name in self.weights)
        second = list(self.weights.values())[2]
        torch.bmm(errors, self.hidden, out=of_second)
        torch.sum(errors, 2, out=of_other)
        back = torch.bmm(errors.mT, second)
        back = torch.ops.aten.threshold_backward(back, self.hidden, 0)
        torch.sum(back, 1, out=of_bias)
        images = of_each(self.images, back)
        if kept is None:
            torch.bmm(back.mT, images, out=of_first)
            return
        inputs, gathered = _rows(self.images, kept.samples), _rows(back, kept.samples)
        for models, count in kept.groups:
            if count == back.shape[1]:  # as where all models do, to the last bit
                torch.bmm(back[models].mT, images[models], out=of_first[models])
            else:
                here = models, slice(count)
                torch.bmm(gathered[here].mT, inputs[here], out=of_first[models])


def of_each(images: Tensor, models: Tensor) -> Tensor:
    """Return the images of each of M models [M, B, D], without a copy."""
    return images if images.ndim == 3 else images.expand(len(models), -1, -1)


def _rows(values: Tensor, samples: Tensor) -> Tensor:
    """Gather rows [M, K, n] of each model's values [M, B, n], or of [B, n] that all share."""
    if values.ndim == 3:
        models, batch = values.shape[:2]
        samples = samples + _first_rows(models, batch)
    chosen = values.flatten(0, -2).index_select(0, samples.flatten())
    return chosen.view(*samples.shape, -1)


@lru_cache(maxsize=16)
def _first_rows(models: int, batch: int) -> Tensor:
    """Where the rows of each model begin, int64 [M, 1]."""
    return torch.arange(0, models * batch, batch).unsqueeze(1)
