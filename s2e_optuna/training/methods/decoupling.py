"""Decoupling: two networks learn only where they disagree."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_optuna.errors import DataError
from s2e_optuna.training.methods.base import BatchView, Method

SMALLEST_SHARE = 0.1
"""Of a batch, in the denominator: a few disagreements do not make a full step."""


@dataclass(frozen=True)
class Decoupling(Method):
    """Decoupling (Malach and Shalev-Shwartz, NeurIPS 2017, algorithm 1).

    Both networks update on the samples whose classes they predict differently, each with its own
    loss: the sum over them, divided by their number or a tenth of the batch, the larger.

    Parameters
    ----------
    warm_up
        Epochs at the beginning in which both learn from everything.
    """

    warm_up: int = 5

    name = "decoupling"
    summary = "two networks train where they disagree (Malach, 2017)"
    networks = 2
    uses_schedule = False

    def __post_init__(self) -> None:
        check_warm_up(self.warm_up)

    def weights(self, batch: BatchView) -> Tensor:
        """Weigh the samples of disagreement; everything alike during the warm-up."""
        apart = disagreement(batch.logits).to(batch.losses.dtype)
        size = batch.losses.shape[-1]
        weights = apart / apart.sum(-1, keepdim=True).clamp_min(SMALLEST_SHARE * size)
        return torch.where(batch.epoch < self.warm_up, 1.0 / size, weights).expand_as(batch.losses)


def disagreement(logits: Tensor) -> Tensor:
    """Mark the samples [P, 1, B] whose classes two networks predict differently."""
    predicted = logits.argmax(-1)
    return (predicted[:, :1] != predicted[:, 1:]).detach()


def check_warm_up(warm_up: int | None) -> None:
    """Raise DataError if a number of epochs is below 0."""
    if warm_up is not None and warm_up < 0:
        raise DataError(f"warm_up {warm_up} is out of range: choose 0 or more epochs")
