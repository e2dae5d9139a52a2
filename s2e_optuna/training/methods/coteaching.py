"""Co-teaching: two networks, each trains on what the other trusts."""

from __future__ import annotations

from torch import Tensor

from s2e_optuna.training.methods.base import BatchView, Method
from s2e_optuna.training.selection import by_rank, smallest_first


class CoTeaching(Method):
    """Co-teaching (Han et al., NeurIPS 2018, algorithm 1).

    Each network ranks the batch by its own loss; the other one trains on the mean over that
    selection.
    """

    name = "coteaching"
    summary = "two networks, each other's smallest losses (Han, 2018)"
    networks = 2
    takes_own_batches = True
    uses_schedule = True
    drops_doubtful = True

    def weights(self, batch: BatchView) -> Tensor:
        """Give 1/k to the k samples with the smallest loss in the eyes of the peer."""
        return by_rank(self.order(batch), batch.by_rank)

    def order(self, batch: BatchView) -> Tensor:
        """Order samples by their losses in the eyes of the peer."""
        return smallest_first(batch.losses).flip(1)
