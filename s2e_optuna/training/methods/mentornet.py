"""MentorNet with the self-paced curriculum: one network trusts its own small losses."""

from __future__ import annotations

from torch import Tensor

from s2e_optuna.training.methods.base import BatchView, Method
from s2e_optuna.training.selection import by_rank, smallest_first


class MentorNet(Method):
    """Self-paced MentorNet (Jiang et al., ICML 2018), as the comparisons use it.

    The mentor is not a network but the rule that MentorNet starts from: learn from the share
    R(t) with the smallest losses. Nobody corrects what the network wrongly trusts.
    """

    name = "mentornet"
    summary = "one network, its own smallest losses (Jiang, 2018)"
    networks = 1
    takes_own_batches = True
    uses_schedule = True
    drops_doubtful = True

    def weights(self, batch: BatchView) -> Tensor:
        """Give 1/k to the k samples with the smallest loss."""
        return by_rank(self.order(batch), batch.by_rank)

    def order(self, batch: BatchView) -> Tensor:
        """Order samples by their losses."""
        return smallest_first(batch.losses)
