"""Networks as they were after their best validation epoch: what a stopped training hands back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from s2e_optuna.training.networks import Parameters


class BestEpochs:
    """One more state for each trial of a stack: that of its best epoch so far.

    An epoch is better if its validation accuracy (or the metric in its place) is higher, so the
    first of equal ones is kept. Before the first evaluation the present epoch counts as the best.

    Parameters
    ----------
    trials
        P.
    tensors
        Parameters and buffers at the start [M, ...]; they are written to.

    Attributes
    ----------
    accuracy, epoch
        Validation accuracy or metric, float64 [P], and epoch from 0, int64 [P], on the CPU.
    tensors
        Parameters and buffers at that epoch [M, ...].
    """

    def __init__(self, trials: int, tensors: Parameters) -> None:
        self.accuracy = torch.full((trials,), -float("inf"), dtype=torch.float64)
        self.epoch = torch.full((trials,), -1, dtype=torch.int64)
        self.tensors = tensors

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor], accuracy: Sequence[float], epoch: int) -> None:
        """Keep the trials that are better than before.

        Parameters
        ----------
        tensors
            Parameters and buffers after the epoch [M, ...].
        accuracy
            Validation accuracy or metric of each trial [P]; NaN where it was not measured.
        epoch
            From 0.
        """
        now = torch.tensor(accuracy, dtype=torch.float64)
        better = (now > self.accuracy) | self.accuracy.isinf()
        self.accuracy[better] = now[better].nan_to_num(-float("inf"))
        self.epoch[better] = epoch
        for row in better.nonzero().flatten().tolist():
            for name, values in self.tensors.items():
                networks = len(values) // len(better)
                place = slice(row * networks, (row + 1) * networks)
                values[place] = tensors[name][place]

    def select(self, rows: Tensor, models: Tensor) -> BestEpochs:
        """Return those of some trials, by the positions of trials [p] and of their models [m]."""
        chosen = BestEpochs(len(rows), {name: t[models] for name, t in self.tensors.items()})
        chosen.accuracy = self.accuracy[rows.cpu()]
        chosen.epoch = self.epoch[rows.cpu()]
        return chosen
