"""What a method may do with its networks before the first epoch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from s2e_optuna.training.blocks import train_blocks
from s2e_optuna.training.config import TrainConfig
from s2e_optuna.training.parts import Batches, TrainingPart
from s2e_optuna.training.stack import Stack


class BlockPreparation:
    """A block in the hands of `Method.prepare`.

    Parameters
    ----------
    block
        Its trials are prepared.
    data, batches, config
        What is learnt from, in which order, and how.
    notify
        Called after each epoch with the number of such epochs so far.
    number, count
        Position of the block among all blocks, and how many there are.

    Attributes
    ----------
    blocks
        The block, or its parts where memory ran out.
    """

    def __init__(
        self,
        block: Stack,
        data: TrainingPart,
        batches: Batches,
        config: TrainConfig,
        notify: Callable[[int], None] | None,
        number: int,
        count: int,
    ) -> None:
        self.blocks = [block]
        self._trials, self._networks = list(block.trials), block.method.networks
        self._data, self._batches, self._config = data, batches, config
        self._notify, self._number, self._count = notify, number, count
        self._initial = {name: p.detach().clone() for name, p in block.tensors.items()}

    def run(self, epochs: int | None = None) -> None:
        """Train, and report nothing."""
        plan, most = self._config.plan, self._config.epochs
        count = most if epochs is None else min(epochs, most)
        for epoch in range(count):
            for block in self.blocks:
                block.optimizer.set_rates(plan.rate(epoch), plan.beta1(epoch))
            order = self._batches.draw()
            self._data.begin_epoch(order, epoch)
            trained = train_blocks(self.blocks, self._data, order, epoch, count=False)
            self.blocks = [block for block, _ in trained]
            if self._notify is not None:
                self._notify((self._number * count + epoch + 1) // self._count)

    def training_probabilities(self) -> Tensor:
        """Class probabilities of all training samples [P, networks, N, C], on the CPU.

        For many trials they are large, and what a method does with them needs as much again and
        more: a GPU has no room for that beside the training.
        """
        return torch.cat([block.probabilities(self._data.images) for block in self.blocks])

    def remember(self, name: str, values: Tensor) -> None:
        """Set what the method remembers of each trial [P, ...]."""
        for block in self.blocks:
            rows = self._rows(block).to(values.device)
            block.state[name].copy_(values[rows])

    def restart(self) -> None:
        """Return parameters and optimiser to where they started."""
        for block in self.blocks:
            networks = torch.arange(self._networks, device=block.rates.device)
            models = (self._rows(block)[:, None] * self._networks + networks).flatten()
            block.restart({name: tensor[models] for name, tensor in self._initial.items()})

    def _rows(self, block: Stack) -> Tensor:
        rows = [self._trials.index(trial) for trial in block.trials]
        return torch.tensor(rows, dtype=torch.int64, device=block.rates.device)
