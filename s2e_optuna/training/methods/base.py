"""What a method of learning with noisy labels is to the trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True, eq=False)
class BatchView:
    """What a method may look at in one step; nothing here carries gradients.

    Attributes
    ----------
    losses
        Cross-entropy of each sample [P, networks, B].
    logits
        Outputs [P, networks, B, C].
    labels
        Given labels [B].
    keep
        Samples to keep, floor(R(t) B), integers [P, 1, 1].
    epoch
        Epoch, from 0.
    """

    losses: Tensor
    logits: Tensor
    labels: Tensor
    keep: Tensor
    epoch: int


class Method(ABC):
    """A rule that weighs the samples of a batch for each network of a trial.

    Attributes
    ----------
    name
        Name in the registry.
    networks
        Networks of a trial.
    uses_schedule
        Whether the keep rate R(t) matters.
    """

    name: ClassVar[str]
    networks: ClassVar[int]
    uses_schedule: ClassVar[bool]

    @abstractmethod
    def weights(self, batch: BatchView) -> Tensor:
        """Return each sample's weight in each network's loss, float [P, networks, B].

        The loss of a network is the weighted sum, so the weights hold the denominator too. A
        sample counts as kept where its weight is above 0. Shapes must not depend on values.
        """
