"""What a method may do with its networks before the first epoch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from s2e_optuna.training.parts import Batches
from s2e_optuna.training.shards import train_shards
from s2e_optuna.training.stack import Stack


class ShardPreparation:
    """A shard in the hands of `Method.prepare`.

    Parameters
    ----------
    shard
        Its trials are prepared.
    batches
        What is learnt from, and in which order.
    notify
        Called after each epoch with the number of such epochs so far.
    number, count
        Position of the shard among all shards, and how many there are.

    Attributes
    ----------
    shards
        The shard, or its parts where memory ran out.
    """

    def __init__(
        self,
        shard: Stack,
        batches: Batches,
        notify: Callable[[int], None] | None,
        number: int,
        count: int,
    ) -> None:
        self.shards = [shard]
        self._setup, self._trials = shard.setup, list(shard.trials)
        self._batches = batches
        self._notify, self._number, self._count = notify, number, count
        self._initial = {name: p.detach().clone() for name, p in shard.tensors.items()}

    def run(self, epochs: int | None = None) -> None:
        """Train, and report nothing."""
        config, data = self._setup.config, self._batches.data
        count = config.epochs if epochs is None else min(epochs, config.epochs)
        for epoch in range(count):
            for shard in self.shards:
                shard.set_learning_rate(epoch)
            order = self._batches.draw(epoch)
            trained = train_shards(self.shards, data, order, epoch, count=False)
            self.shards = [shard for shard, _ in trained]
            if self._notify is not None:
                self._notify((self._number * count + epoch + 1) // self._count)

    def training_probabilities(self) -> Tensor:
        """Class probabilities of all training samples [P, networks, N, C], on the CPU.

        For many trials they are large, and what a method does with them needs as much again and
        more: a GPU has no room for that beside the training.
        """
        images = self._batches.data.images
        return torch.cat([shard.probabilities(images) for shard in self.shards])

    def remember(self, name: str, values: Tensor) -> None:
        """Set what the method remembers of each trial [P, ...]."""
        for shard in self.shards:
            rows = self._rows(shard).to(values.device)
            shard.state[name].copy_(values[rows])

    def restart(self) -> None:
        """Return parameters and optimiser to where they started."""
        for shard in self.shards:
            models = shard.models_of(self._rows(shard))
            shard.restart({name: tensor[models] for name, tensor in self._initial.items()})

    def _rows(self, shard: Stack) -> Tensor:
        rows = [self._trials.index(trial) for trial in shard.trials]
        return torch.tensor(rows, dtype=torch.int64, device=self._setup.device)
