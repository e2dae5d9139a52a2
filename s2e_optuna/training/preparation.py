"""What a method may do with its networks before the first epoch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from s2e_optuna.training.config import TrainConfig
from s2e_optuna.training.parts import Batches, TrainingPart
from s2e_optuna.training.shards import train_shards
from s2e_optuna.training.stack import Stack


class ShardPreparation:
    """A shard in the hands of `Method.prepare`.

    Parameters
    ----------
    shard
        Its trials are prepared.
    data, batches, config
        What is learnt from, in which order, and how.
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
        data: TrainingPart,
        batches: Batches,
        config: TrainConfig,
        notify: Callable[[int], None] | None,
        number: int,
        count: int,
    ) -> None:
        self.shards = [shard]
        self._trials, self._networks = list(shard.trials), shard.method.networks
        self._data, self._batches, self._config = data, batches, config
        self._notify, self._number, self._count = notify, number, count
        self._initial = {name: p.detach().clone() for name, p in shard.tensors.items()}

    def run(self, epochs: int | None = None) -> None:
        """Train, and report nothing."""
        schedule, most = self._config.learning_rate_schedule, self._config.epochs
        count = most if epochs is None else min(epochs, most)
        for epoch in range(count):
            for shard in self.shards:
                shard.optimizer.set_rates(schedule.rate(epoch), schedule.beta1(epoch))
            order = self._batches.draw()
            self._data.begin_epoch(order, epoch)
            trained = train_shards(self.shards, self._data, order, epoch, count=False)
            self.shards = [shard for shard, _ in trained]
            if self._notify is not None:
                self._notify((self._number * count + epoch + 1) // self._count)

    def training_probabilities(self) -> Tensor:
        """Class probabilities of all training samples [P, networks, N, C], on the CPU.

        For many trials they are large, and what a method does with them needs as much again and
        more: a GPU has no room for that beside the training.
        """
        return torch.cat([shard.probabilities(self._data.images) for shard in self.shards])

    def remember(self, name: str, values: Tensor) -> None:
        """Set what the method remembers of each trial [P, ...]."""
        for shard in self.shards:
            rows = self._rows(shard).to(values.device)
            shard.state[name].copy_(values[rows])

    def restart(self) -> None:
        """Return parameters and optimiser to where they started."""
        for shard in self.shards:
            networks = torch.arange(self._networks, device=shard.rates.device)
            models = (self._rows(shard)[:, None] * self._networks + networks).flatten()
            shard.restart({name: tensor[models] for name, tensor in self._initial.items()})

    def _rows(self, shard: Stack) -> Tensor:
        rows = [self._trials.index(trial) for trial in shard.trials]
        return torch.tensor(rows, dtype=torch.int64, device=shard.rates.device)
