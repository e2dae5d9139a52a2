"""The trials that train side by side: their networks, optimiser and tallies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_optuna.data.noisy_data import scale_pixels
from s2e_optuna.data.streaming import Images
from s2e_optuna.training.epoch_buffers import EpochBuffers, EpochTally
from s2e_optuna.training.evaluation import iterate_probabilities
from s2e_optuna.training.methods import Method, State, Step
from s2e_optuna.training.networks import (
    Parameters,
    StackedModels,
    StackedNetwork,
    TrainingPass,
)
from s2e_optuna.training.optimizer import StackedOptimizer
from s2e_optuna.training.parts import EpochOrder, TrainingPart
from s2e_optuna.training.recording import CudaRecorder, GraphMemory, RecordedStep
from s2e_optuna.training.selection import keep_counts


@dataclass(frozen=True)
class StepOptions:
    """How a step is taken.

    Attributes
    ----------
    memory
        Of the CUDA graphs as which steps are recorded; stacks that share it train one after
        another. None records nothing.
    bfloat16
        Compute the networks in bfloat16; losses stay float32, because they are ranked.
    """

    memory: GraphMemory | None = None
    bfloat16: bool = False


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
    dropout_seed
        Seed of the dropout.
    trials
        Position of each trial in the user's list of schedules.
    rates
        R(t) of each trial, float64 [P, T] on the device.
    batch_size
        Samples of a batch B.
    n_samples
        Training samples N.
    options
        How a step is taken.

    Attributes
    ----------
    state
        What the method remembers, a row a trial.
    kept_counts, offered_counts
        How often each sample was kept [P, N] and could have been kept [N], where it was counted.
    """

    def __init__(
        self,
        network: StackedNetwork,
        method: Method,
        optimizer: StackedOptimizer,
        buffers: Parameters,
        dropout_seed: int,
        trials: list[int],
        rates: Tensor,
        batch_size: int,
        n_samples: int,
        options: StepOptions,
    ) -> None:
        self.network = network
        self.method = method
        self.optimizer = optimizer
        self.parameters: Parameters = {
            name: p.requires_grad_() for name, p in optimizer.parameters.items()
        }
        self.buffers = buffers
        self.dropout_seed = dropout_seed
        generator = torch.Generator(rates.device).manual_seed(dropout_seed)
        self.training_pass = TrainingPass(method.networks, generator)
        self.trials = trials
        self.rates = rates
        self.batch_size = batch_size
        self.options = options
        self.keep = torch.from_numpy(keep_counts(rates.cpu(), batch_size)).to(rates.device)
        self.state: State = method.state(len(trials), network.n_classes, rates.device)
        shape = (len(trials), n_samples)
        self.kept_counts = torch.zeros(shape, dtype=torch.int32, device=rates.device)
        self.offered_counts = torch.zeros(n_samples, dtype=torch.int32, device=rates.device)
        self._epoch: EpochBuffers | None = None
        self._run: RecordedStep | None = None

    @property
    def tensors(self) -> Parameters:
        """Present parameters and buffers of the networks."""
        return {**self.parameters, **self.buffers}

    @property
    def models(self) -> StackedModels:
        """Networks with their present parameters and buffers."""
        return StackedModels(self.network, self.tensors)

    def begin_epoch(self, data: TrainingPart, order: EpochOrder, epoch: int) -> None:
        """Get ready for an epoch (from 0) over these samples."""
        if self._epoch is None:
            self._epoch = EpochBuffers(data, order, len(self.trials), self.method.networks)
            if self.options.memory is not None:
                recorder = CudaRecorder(self.training_pass.generator, self.options.memory)
                self._run = RecordedStep(recorder)
        self._epoch.rewind(order, self.rates[:, epoch], self.keep[:, epoch], epoch)

    @property
    def is_recorded(self) -> bool:
        """Whether all coming steps are repeated from a recording, and need no memory."""
        return self._run is not None and self._run.has_recorded(self.optimizer.signature)

    def step(self, images: Tensor | None = None) -> None:
        """Learn from the next batch.

        Parameters
        ----------
        images
            The batch, where the data do not lie on the device.
        """
        assert self._epoch is not None
        self._epoch.load(images)
        if self._run is None:
            self._step()
        else:
            self._run(self._step, self.optimizer.signature)

    def end_epoch(self, *, count: bool) -> EpochTally:
        """Sum up the epoch; `count` which samples were kept."""
        assert self._epoch is not None
        tally = self._epoch.tally()  # may run out of memory, and then nothing is counted
        if count:
            self._epoch.count(self.kept_counts, self.offered_counts)
        return tally

    def _step(self) -> None:
        """Take a step that reads nothing back to the host and has no shape that varies."""
        epoch = self._epoch
        assert epoch is not None
        samples, images, labels, trusted = epoch.batch()
        decision = self.method.step(
            Step(
                forward=self._forward,
                parameters=self.parameters,
                images=scale_pixels(images),
                labels=labels,
                clean=trusted,
                samples=samples,
                rate=epoch.rate,
                keep=epoch.keep,
                epoch=epoch.epoch,
                state=self.state,
            )
        )
        # Models share no parameters, so one backward pass gives each its own gradient.
        gradients = torch.autograd.grad(
            decision.losses,
            list(self.parameters.values()),
            decision.weights,
            materialize_grads=True,
        )
        self.optimizer.step(dict(zip(self.parameters, gradients, strict=True)))
        epoch.record(decision, labels)

    def _forward(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        state = {**parameters, **self.buffers}
        if self.options.bfloat16:
            with torch.autocast(images.device.type, torch.bfloat16):
                logits = self.network.forward(state, images, self.training_pass).float()
        else:
            logits = self.network.forward(state, images, self.training_pass)
        return torch.unflatten(logits, 0, (-1, self.method.networks))

    def restart(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin again from other parameters and buffers [M, ...] of the networks."""
        self.optimizer.restart({name: tensors[name] for name in self.parameters})
        for name, buffer in self.buffers.items():
            buffer.copy_(tensors[name])
        self.training_pass.generator.manual_seed(self.dropout_seed)

    def select(self, rows: list[int]) -> Stack:
        """Return a stack of some of the trials, with copies of all they need."""
        index = torch.tensor(rows, dtype=torch.int64, device=self.rates.device)
        networks = torch.arange(self.method.networks, device=index.device)
        models = (index[:, None] * self.method.networks + networks).flatten()
        chosen = Stack(
            self.network,
            self.method,
            self.optimizer.select(models),
            {name: buffer[models] for name, buffer in self.buffers.items()},
            self.dropout_seed,
            [self.trials[row] for row in rows],
            self.rates[index],
            self.batch_size,
            len(self.offered_counts),
            self.options,
        )
        chosen.training_pass.generator.set_state(self.training_pass.generator.get_state())
        chosen.state = {name: value[index] for name, value in self.state.items()}
        chosen.kept_counts = self.kept_counts[index]
        chosen.offered_counts = self.offered_counts.clone()
        return chosen

    def without(self, leaving: set[int]) -> Stack:
        """Return the stack of the trials that stay."""
        return self.select([i for i, trial in enumerate(self.trials) if trial not in leaving])

    def by_trial(self) -> dict[str, Tensor]:
        """Return views of all that an epoch changes, a row a trial."""
        buffers = {f"buffer.{name}": buffer for name, buffer in self.buffers.items()}
        of_models = {**self.optimizer.stacked(), **buffers}
        views = {
            name: torch.unflatten(tensor, 0, (-1, self.method.networks))
            for name, tensor in of_models.items()
        }
        remembered = {f"state.{name}": value for name, value in self.state.items()}
        return {**views, **remembered, "kept_counts": self.kept_counts}

    def snapshot(self) -> list[Tensor]:
        """Copy to the CPU all that an epoch changes."""
        copies = [t.detach().to("cpu", copy=True) for t in self._changed()]
        return [*copies, self._generator_state()]

    def return_to(self, snapshot: list[Tensor]) -> None:
        """Undo an epoch; what was recorded of the step and its memory is given up."""
        *values, generator = snapshot
        with torch.no_grad():
            for tensor, value in zip(self._changed(), values, strict=True):
                tensor.copy_(value)
        self.training_pass.generator.set_state(generator)
        self._epoch = self._run = None

    def _changed(self) -> list[Tensor]:
        counts = [self.kept_counts, self.offered_counts]
        return [*self.optimizer.tensors(), *self.buffers.values(), *counts]

    def close(self) -> None:
        """Give up the tensors of a stack that is not used any more, whoever still holds it."""
        self.optimizer.close()
        for tensors in (self.parameters, self.buffers, self.state):
            tensors.clear()
        self._epoch = self._run = None

    def _generator_state(self) -> Tensor:
        state: Tensor = self.training_pass.generator.get_state()
        return state

    def probabilities(self, images: Images) -> Tensor:
        """Compute class probabilities [P, networks, N, C] of all images, on the CPU."""
        parts = iterate_probabilities(self.network, self.tensors, images, networks=1)
        together = torch.cat([part.cpu() for part in parts], 1)
        return torch.unflatten(together, 0, (-1, self.method.networks))
