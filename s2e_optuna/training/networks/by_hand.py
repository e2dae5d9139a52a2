"""Two layers whose gradients are written out, so that what is not kept is in no product.

| symbol | meaning | shape |
|---|---|---|
| M, B, k | models, samples of a batch, samples that a model learns from | |
| D, H, C | inputs, hidden units, classes | |
| images | shared by all models, or each model's own | [B, D] or [M, B, D] |
| hidden | outputs of the first layer, a row a sample | [M, B, H] |
| logits, errors | outputs, and the gradient of the loss with respect to them | [M, C, B] |

A graph of PyTorch's would multiply by the errors of all samples, of which those that are not kept
are 0, and costs some thirty short operations a step besides. Here the rows of the samples that
are kept are gathered first: images, hidden, errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 8
"""Samples that a model learns from are taken in multiples of this: more models then have as many,
and all lie alike in memory."""

Groups = Sequence[tuple[slice, Tensor | None]]
"""Models side by side that learn from as many samples, as a slice of M, and positions of these in
the batch, int64 [m, k]; None for all samples."""

EVERYTHING: Groups = ((slice(None), None),)


def groups_of(kept: Tensor) -> Groups:
    """Put models together that learn from as many samples.

    Parameters
    ----------
    kept
        Which samples each model learns from, booleans [M, B].
    """
    batch = kept.shape[1]
    counts = [min(batch, -(-count // ROWS) * ROWS) for count in kept.sum(1).tolist()]
    if min(counts) == batch:
        return EVERYTHING
    first = kept.view(torch.uint8).argsort(dim=1, descending=True, stable=True)
    groups, begin = [], 0
    for end in range(1, len(counts) + 1):
        if end == len(counts) or counts[end] != counts[begin]:
            groups.append((slice(begin, end), first[begin:end, : counts[begin]]))
            begin = end
    return groups


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
        self, errors: Tensor, gradients: Mapping[str, Tensor], groups: Groups = EVERYTHING
    ) -> None:
        """Compute the gradients of the weights.

        Parameters
        ----------
        errors
            See above; 0 for samples that are in no group.
        gradients
            Where to, named as the weights.
        groups
            What is learnt from.
        """
        found = [gradients[name] for name in self.weights]
        second = list(self.weights.values())[2]
        if groups is EVERYTHING:
            _differentiate(self.images, self.hidden, errors, second, found)
            return
        for models, samples in groups:
            images = self.images if self.images.ndim == 2 else self.images[models]
            inputs, hidden = _rows(images, samples), _rows(self.hidden[models], samples)
            own = errors[models]
            if samples is not None:
                own = own.gather(2, samples.unsqueeze(1).expand(-1, own.shape[1], -1))
            _differentiate(inputs, hidden, own, second[models], [each[models] for each in found])


def _differentiate(
    inputs: Tensor, hidden: Tensor, errors: Tensor, second: Tensor, gradients: Sequence[Tensor]
) -> None:
    """Write the gradients of both layers, of models that learn from as many samples."""
    of_first, of_bias, of_second, of_other = gradients
    torch.bmm(errors, hidden, out=of_second)
    torch.sum(errors, 2, out=of_other)
    back = torch.bmm(errors.mT, second)
    back = torch.ops.aten.threshold_backward(back, hidden, 0)
    torch.sum(back, 1, out=of_bias)
    torch.bmm(back.mT, of_each(inputs, back), out=of_first)


def of_each(images: Tensor, models: Tensor) -> Tensor:
    """Return the images of each of M models [M, B, D], without a copy."""
    return images if images.ndim == 3 else images.expand(len(models), -1, -1)


def _rows(values: Tensor, samples: Tensor | None) -> Tensor:
    """Gather rows [m, k, n] of each model's values [m, B, n], or of [B, n] that all share."""
    if samples is None:
        return values
    if values.ndim == 3:
        models, batch = values.shape[:2]
        samples = samples + torch.arange(0, models * batch, batch).unsqueeze(1)
    chosen = values.flatten(0, -2).index_select(0, samples.flatten())
    return chosen.view(*samples.shape, -1)
