"""Small-loss selection with masks: which samples of a batch a network trusts."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

COUNT_SLACK = 1e-9
"""Added before rounding down: 0.7 * 10 is 6.999999999999999 in binary, and 7 is meant."""


def keep_counts(rates: ArrayLike, batch_size: int) -> NDArray[np.int64]:
    """Count the samples that a keep rate keeps of a batch.

    Parameters
    ----------
    rates
        R(t) in [0, 1], any shape; computed with in float64.
    batch_size
        Samples in a batch, B.

    Returns
    -------
    ndarray
        floor(R(t) B), at least 1 and at most B.
    """
    kept = np.floor(np.asarray(rates, dtype=np.float64) * batch_size + COUNT_SLACK)
    return np.clip(kept, 1, batch_size).astype(np.int64)


def small_loss_mask(losses: Tensor, counts: Tensor) -> Tensor:
    """Mark the `counts` smallest losses of each row, without any data-dependent shape.

    Equal losses are taken in the order of the batch; NaN ranks last.

    Parameters
    ----------
    losses
        Loss of each sample [..., B].
    counts
        Samples to keep, integers that broadcast to [..., 1].

    Returns
    -------
    Tensor
        Booleans [..., B]; exactly `counts` of each row are True.
    """
    kept = torch.arange(losses.shape[-1], device=losses.device) < counts
    return by_rank(smallest_first(losses), kept)


def smallest_first(losses: Tensor) -> Tensor:
    """Order the samples by their losses [..., B]: positions, int64 [..., B].

    Equal losses are taken in the order of the batch; NaN ranks last.
    """
    return torch.argsort(losses, dim=-1, stable=True)


def by_rank(order: Tensor, values: Tensor) -> Tensor:
    """Give each sample what its rank is worth.

    Parameters
    ----------
    order
        Positions of the samples, the first in rank first, int64 [..., B].
    values
        Of the ranks; broadcasts to [..., B].

    Returns
    -------
    Tensor
        [..., B], of the type of the values.
    """
    # Writing values back through the order is one sort cheaper than rank = argsort(order).
    found = torch.empty_like(order, dtype=values.dtype)
    return found.scatter_(-1, order, values.expand_as(order))


def small_loss_mask_within(losses: Tensor, members: Tensor, rate: Tensor) -> Tensor:
    """Mark the smallest losses among the members of a set; shapes do not depend on its size.

    Parameters
    ----------
    losses
        Loss of each sample [..., B].
    members
        Booleans that broadcast to [..., B].
    rate
        Share of the members to mark, float64, broadcasts to [..., 1].

    Returns
    -------
    Tensor
        Booleans [..., B]: of n members the floor(rate n) smallest, or all where that is 0.
    """
    sizes = members.sum(-1, keepdim=True)
    counts = torch.floor(rate * sizes + COUNT_SLACK).to(torch.int64)
    ranked = torch.where(members, losses, float("inf"))
    chosen = small_loss_mask(ranked, torch.where(counts > 0, counts, sizes))
    return chosen & members
