"""Plain training: every sample counts the same."""

from __future__ import annotations

import torch
from torch import Tensor

from s2e_optuna.training.methods.base import BatchView, Method


class Standard(Method):
    """One network, mean cross-entropy over the whole batch; any schedule is ignored."""

    name = "standard"
    summary = "plain cross-entropy on everything"
    networks = 1
    takes_own_batches = True
    uses_schedule = False

    def weights(self, batch: BatchView) -> Tensor:
        """Give every sample the weight 1/B."""
        return torch.full_like(batch.losses, 1.0 / batch.losses.shape[-1])
