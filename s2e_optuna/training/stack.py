"""The trials that train side by side: their networks, optimiser and tallies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_optuna.training.data import scale_pixels
from s2e_optuna.training.evaluation import iterate_probabilities
from s2e_optuna.training.methods import Method, State, Step
from s2e_optuna.training.networks import (
    Parameters,
    StackedModels,
    StackedNetwork,
    TrainingPass,
)
from s2e_optuna.training.optimizer import StackedAdam
from s2e_optuna.training.parts import Batch, TrainingPart
from s2e_optuna.training.selection import keep_counts


@dataclass(frozen=True, eq=False)
class EpochTally:
    """Sums over an epoch for each model, on the device: float64 or int64 [M].

    `kept_clean` is None where nobody knows the true labels.
    """

    samples: int
    loss: Tensor
    correct: Tensor
    kept: Tensor
    kept_clean: Tensor | None


class Stack:
    """P trials of the same method and seed; M = P * networks models.

    Parameters
    ----------
    network
        Architecture.
    method
        How the networks learn.
    optimizer
        Holds the parameters [M, ...] on the device; the models of a trial lie side by side.
    buffers
        Running statistics and frozen parameters [M, ...] on the device.
    generator
        Where dropout is drawn from, on the device.
    trials
        Position of each trial in the user's list of schedules.
    rates
        R(t) of each trial, float64 [P, T] on the device.
    batch_size
        Samples of a batch, B.
    n_samples
        Training samples N.

    Attributes
    ----------
    state
        What the method remembers, a row a trial.
    """

    def __init__(
        self,
        network: StackedNetwork,
        method: Method,
        optimizer: StackedAdam,
        buffers: Parameters,
        generator: torch.Generator,
        trials: list[int],
        rates: Tensor,
        batch_size: int,
        n_samples: int,
    ) -> None:
        self.network = network
        self.method = method
        self.optimizer = optimizer
        self.parameters: Parameters = {
            name: p.requires_grad_() for name, p in optimizer.parameters.items()
        }
        self.buffers = buffers
        self.training_pass = TrainingPass(method.networks, generator)
        self.trials = trials
        self.rates = rates
        self.batch_size = batch_size
        self.keep = torch.from_numpy(keep_counts(rates.cpu(), batch_size)).to(rates.device)
        self.state: State = method.state(len(trials), network.n_classes, rates.device)
        shape = (len(trials), n_samples)
        self.kept_counts = torch.zeros(shape, dtype=torch.int32, device=rates.device)
        self.offered_counts = torch.zeros(n_samples, dtype=torch.int32, device=rates.device)

    @property
    def tensors(self) -> Parameters:
        """Present parameters and buffers of the networks."""
        return {**self.parameters, **self.buffers}

    @property
    def models(self) -> StackedModels:
        """Networks with their present parameters and buffers."""
        return StackedModels(self.network, self.tensors)

    def train_epoch(
        self, data: TrainingPart, batches: tuple[Batch, ...], epoch: int, *, count: bool
    ) -> EpochTally:
        """Take one step for each batch.

        Parameters
        ----------
        data
            Training data.
        batches
            What each step learns from.
        epoch
            From 0.
        count
            Whether to count which samples are kept.
        """
        networks = self.method.networks
        models = len(self.trials) * networks
        device = self.keep.device
        loss_sum = torch.zeros(models, dtype=torch.float64, device=device)
        correct, kept, kept_clean = (
            torch.zeros(models, dtype=torch.int64, device=device) for _ in range(3)
        )
        rate, keep = (table[:, epoch].view(-1, 1, 1) for table in (self.rates, self.keep))
        epoch_now = torch.tensor(epoch, device=device)
        names, parameters = list(self.parameters), list(self.parameters.values())
        for batch in batches:
            labels = data.labels[batch.samples]
            decision = self.method.step(
                Step(
                    forward=self._forward,
                    parameters=self.parameters,
                    images=scale_pixels(data.images[batch.samples]),
                    labels=labels,
                    clean=data.trusted_batch(batch),
                    samples=batch.samples,
                    rate=rate,
                    keep=keep,
                    epoch=epoch_now,
                    state=self.state,
                )
            )
            # Models share no parameters, so one backward pass gives each its own gradient.
            gradients = torch.autograd.grad(
                decision.losses, parameters, decision.weights, materialize_grads=True
            )
            self.optimizer.step(dict(zip(names, gradients, strict=True)))
            with torch.no_grad():
                chosen = decision.weights > 0
                losses = decision.losses.detach().flatten(0, 1)
                loss_sum += losses.sum(1, dtype=torch.float64)
                correct += (decision.logits.argmax(3) == labels).sum(2).flatten()
                kept += chosen.sum(2).flatten()
                if data.clean is not None:
                    kept_clean += (chosen & data.clean[batch.samples]).sum(2).flatten()
                if count:
                    self.kept_counts[:, batch.samples] += chosen.sum(1, dtype=torch.int32)
                    self.offered_counts[batch.samples] += networks
        samples = sum(len(batch.samples) for batch in batches)
        return EpochTally(
            samples, loss_sum, correct, kept, None if data.clean is None else kept_clean
        )

    def restart(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin again from other parameters and buffers [M, ...] of the networks."""
        self.optimizer.restart({name: tensors[name] for name in self.parameters})
        for name, buffer in self.buffers.items():
            buffer.copy_(tensors[name])
        generator = self.training_pass.generator
        generator.manual_seed(generator.initial_seed())

    def without(self, leaving: set[int]) -> Stack:
        """Return the stack of the trials that stay, with copies of all they need."""
        stay = [i for i, trial in enumerate(self.trials) if trial not in leaving]
        rows = torch.tensor(stay, dtype=torch.int64, device=self.keep.device)
        networks = torch.arange(self.method.networks, device=rows.device)
        models = (rows[:, None] * self.method.networks + networks).flatten()
        rest = Stack(
            self.network,
            self.method,
            self.optimizer.select(models),
            {name: buffer[models] for name, buffer in self.buffers.items()},
            self.training_pass.generator,
            [self.trials[i] for i in stay],
            self.rates[rows],
            self.batch_size,
            len(self.offered_counts),
        )
        rest.state = {name: value[rows] for name, value in self.state.items()}
        rest.kept_counts = self.kept_counts[rows]
        rest.offered_counts = self.offered_counts.clone()
        return rest

    def probabilities(self, images: Tensor) -> Tensor:
        """Compute class probabilities [P, networks, N, C] of all images."""
        chunks = iterate_probabilities(self.network, self.tensors, images, networks=1)
        return torch.unflatten(torch.cat(list(chunks), 1), 0, (-1, self.method.networks))

    def _forward(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        state = {**parameters, **self.buffers}
        logits = self.network.forward(state, images, self.training_pass)
        return torch.unflatten(logits, 0, (-1, self.method.networks))
