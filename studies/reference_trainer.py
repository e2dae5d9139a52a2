"""Co-teaching and plain training as one would write them with torch.nn, DataLoader and a loop.

One trial at a time, nothing shared, nothing stacked: what `s2e_optuna.training.train` is compared
with, in results (tests/training/test_reference.py) and in speed (studies/bench_training.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from s2e_optuna.data import NoisyData
from s2e_optuna.training import TrainConfig

Order = Callable[[int], Iterable[list[int]]]
"""From an epoch to its batches of sample numbers."""


class Numbered(Dataset):  # type: ignore[type-arg]
    """Scaled images with their labels and numbers, held in memory."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images.float() / 255 if images.dtype == torch.uint8 else images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        return self.images[index], self.labels[index], index


@dataclass(frozen=True, eq=False)
class ReferenceResult:
    """What a training gave.

    Attributes
    ----------
    validation_accuracy
        After each epoch, the mean over the networks.
    kept
        How often each training sample was kept, summed over epochs and networks [N].
    """

    validation_accuracy: NDArray[np.float64]
    kept: NDArray[np.int64]


def train_reference(
    modules: Sequence[nn.Module],
    data: NoisyData,
    rates: Sequence[float],
    config: TrainConfig,
    *,
    order: Order | None = None,
    evaluate: bool = True,
    on_epoch: Callable[[], None] = lambda: None,
) -> ReferenceResult:
    """Train one network plainly, or two by Co-teaching.

    Parameters
    ----------
    modules
        The networks, on the device where they shall train.
    data
        Training and validation part.
    rates
        R(t) for each epoch.
    config
        Batch size, epochs, device, Adam's rate and beta1 by epoch.
    order
        The batches of each epoch; by default shuffled.
    evaluate
        Measure the validation accuracy after each epoch.
    on_epoch
        Called after the training of each epoch.
    """
    device = next(modules[0].parameters()).device
    batch_size = config.batch_size or 128
    training = Numbered(data.x_train, data.y_train)
    validation = DataLoader(
        TensorDataset(Numbered(data.x_val, data.y_val).images, data.y_val), batch_size=1024
    )
    optimizers = [torch.optim.Adam(module.parameters()) for module in modules]
    accuracies: list[float] = []
    kept = torch.zeros(len(training), dtype=torch.int64)
    learning_rates = config.learning_rate_schedule
    for epoch in range(config.epochs):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = learning_rates.rate(epoch)
            optimizer.param_groups[0]["betas"] = (
                learning_rates.beta1(epoch),
                0.999,
            )
        loader = (
            DataLoader(training, batch_size=batch_size, shuffle=True, drop_last=True)
            if order is None
            else DataLoader(training, batch_sampler=list(order(epoch)))
        )
        for module in modules:
            module.train()
        for images, labels, numbers in loader:
            images, labels = images.to(device), labels.to(device)
            count = max(1, int(rates[epoch] * len(labels) + 1e-9))
            losses = [
                functional.cross_entropy(module(images), labels, reduction="none")
                for module in modules
            ]
            if len(modules) == 1:
                chosen = [torch.arange(len(labels), device=device)]
            else:
                ranked = [loss.detach().argsort(stable=True)[:count] for loss in losses]
                chosen = ranked[::-1]  # each learns from what the other trusts
            for optimizer, loss, selection in zip(optimizers, losses, chosen, strict=True):
                optimizer.zero_grad()
                loss[selection].mean().backward()
                optimizer.step()
                kept[numbers[selection.cpu()]] += 1
        on_epoch()
        if evaluate:
            accuracies.append(float(np.mean([accuracy(m, validation, device) for m in modules])))
    return ReferenceResult(np.array(accuracies), kept.numpy())


@torch.no_grad()
def accuracy(module: nn.Module, loader: Iterable[list[Tensor]], device: torch.device) -> float:
    """Share of samples that a network gets right."""
    module.eval()
    hits = total = 0
    for images, labels in loader:
        hits += int((module(images.to(device)).argmax(1) == labels.to(device)).sum())
        total += len(labels)
    return hits / total
