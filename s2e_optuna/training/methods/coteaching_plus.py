"""Co-teaching+: Co-teaching among the samples on which the networks disagree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from s2e_optuna.training.methods.base import BatchView, Method, Step
from s2e_optuna.training.methods.coteaching import CoTeaching
from s2e_optuna.training.methods.decoupling import check_warm_up, disagreement
from s2e_optuna.training.selection import small_loss_mask_within

if TYPE_CHECKING:
    from s2e_optuna.data.noisy_data import NoisyData

WARM_UP = {"cifar10": 20, "cifar100": 5}
"""Epochs, of 200; 0 on MNIST and wherever nothing is known."""


@dataclass(frozen=True)
class CoTeachingPlus(Method):
    """Co-teaching+ (Yu et al., ICML 2019, algorithm 1).

    After a warm-up by Co-teaching each network ranks the D samples of disagreement by its own
    loss, and the other trains on the mean over the floor(R(t) D) smallest; on all D where that
    is none, and on the whole batch where the networks agree on everything.

    Parameters
    ----------
    warm_up
        Epochs of Co-teaching at the beginning. By default what the paper takes for the data set:
        20 on CIFAR-10, 5 on CIFAR-100, else 0.
    as_released
        Do as the authors' program does, not as their paper says. After the warm-up it takes the
        cross-entropy of probabilities (the softmax is applied twice, which flattens the loss); it
        divides the mean over the k kept samples by k once more, so batches with little
        disagreement count for more; and where the first sample of the data set is in D, the last
        of D is dropped. Its other fault, a gate that in late steps discards batches without any
        disagreement, is not imitated.
    """

    warm_up: int | None = None
    as_released: bool = False

    name = "coteaching_plus"
    summary = "Co-teaching where the two disagree (Yu, 2019)"
    networks = 2
    uses_schedule = True

    def __post_init__(self) -> None:
        check_warm_up(self.warm_up)

    def fitted_to(self, data: NoisyData) -> Self:
        """Choose the warm-up by the data set."""
        if self.warm_up is not None:
            return self
        return replace(self, warm_up=WARM_UP.get(data.name, 0))

    @property
    def takes_cross_entropy(self) -> bool:
        """Whether losses are cross-entropies of the outputs as they are."""
        return not self.as_released

    def losses(self, logits: Tensor, labels: Tensor, step: Step) -> Tensor:
        """Return the cross-entropy; as released, of probabilities once the warm-up is over."""
        if self.as_released:
            warming = step.epoch < (self.warm_up or 0)
            logits = torch.where(warming, logits, logits.softmax(-1))
        return super().losses(logits, labels, step)

    def weights(self, batch: BatchView) -> Tensor:
        """Give each network the mean over what its peer selects among the disagreement."""
        apart = disagreement(batch.logits)
        if self.as_released:
            apart = apart & ~_lost(apart, batch.samples)
        chosen = small_loss_mask_within(batch.losses, apart, batch.rate).flip(1)
        chosen = torch.where(apart.any(-1, keepdim=True), chosen, True)
        weights = chosen / chosen.sum(-1, keepdim=True)
        warming = batch.epoch < (self.warm_up or 0)
        weights = torch.where(warming, CoTeaching().weights(batch), weights)
        if self.as_released:
            weights = weights / (weights > 0).sum(-1, keepdim=True)
        return weights


def _lost(apart: Tensor, samples: Tensor) -> Tensor:
    """Mark the last sample of disagreement, where the first sample of the data is among them.

    The released program tells the samples of D by indices that are not 0, finds one fewer than
    there are, and cuts the list at its end.
    """
    has_first = (apart & (samples == 0)).any(-1, keepdim=True)
    place = apart.cumsum(-1)
    return apart & has_first & (place == place[..., -1:])
