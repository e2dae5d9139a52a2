"""The trials that train side by side: their networks, optimiser and tallies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.data.streaming import Images
from s2e_optuna.training.best_epochs import BestEpochs
from s2e_optuna.training.epoch_buffers import EpochBuffers, EpochTally
from s2e_optuna.training.evaluation import cross_entropy_gradient, iterate_probabilities, losses_of
from s2e_optuna.training.methods import Decision, Method, State
from s2e_optuna.training.networks import (
    Parameters,
    StackedModels,
    StackedNetwork,
    TrainingPass,
)
from s2e_optuna.training.networks.by_hand import Kept, kept_samples
from s2e_optuna.training.networks.mlp import Mlp
from s2e_optuna.training.optimizer import StackedOptimizer, make_optimizer
from s2e_optuna.training.parts import EpochOrder, TrainingPart
from s2e_optuna.training.recording import CudaRecorder, RecordedStep
from s2e_optuna.training.selection import keep_counts
from s2e_optuna.training.setup import Setup


class Stack:
    """P trials of the same method and seed; M = P * networks models.

    Parameters
    ----------
    setup
        What all trials of the training have in common.
    trials
        Position of each trial in the user's list of schedules.
    rates
        R(t) of each trial, float64 [P, T]; read at the beginning of each epoch.
    optimizer
        Holds the parameters [M, ...] on the device; the models of a trial lie side by side.
    buffers
        Running statistics and frozen parameters [M, ...] on the device.

    Attributes
    ----------
    state
        What the method remembers, a row a trial.
    kept_counts, offered_counts
        How often each sample was kept [P, N] and could have been kept [N], where it was counted;
        the latter [P, N], too, where trials have batches of their own.
    best
        The trials as they were after their best epochs, where those are kept.
    """

    def __init__(
        self,
        setup: Setup,
        trials: Sequence[int],
        rates: NDArray[np.float64],
        optimizer: StackedOptimizer,
        buffers: Parameters,
    ) -> None:
        self.setup = setup
        self.trials = list(trials)
        self.rates = rates
        self.optimizer = optimizer
        self.parameters: Parameters = {
            name: p.requires_grad_() for name, p in optimizer.parameters.items()
        }
        self.buffers = buffers
        device, count = setup.device, len(self.trials)
        generator = torch.Generator(device).manual_seed(setup.seeds.dropout)
        self.training_pass = TrainingPass(setup.method.networks, generator)
        self.state: State = setup.method.state(count, setup.network.n_classes, device)
        self.kept_counts = torch.zeros((count, setup.n_samples), dtype=torch.int32, device=device)
        self.offered_counts = torch.zeros_like(self.kept_counts)
        if setup.shares is None:
            self.offered_counts = torch.zeros(setup.n_samples, dtype=torch.int32, device=device)
        self.best: BestEpochs | None = None
        self._epoch: EpochBuffers | None = None
        self._run: RecordedStep | None = None

    @classmethod
    def fresh(
        cls, setup: Setup, rates: NDArray[np.float64], trials: Sequence[int] | None = None
    ) -> Stack:
        """Make a stack with its first weights.

        Parameters
        ----------
        setup
            What all trials of the training have in common.
        rates
            R(t) of each trial, float64 [P, T].
        trials
            Position of each trial in the user's list of schedules; by default 0 .. P-1.
        """
        trials = range(len(rates)) if trials is None else trials
        trained, initial = setup.network.parameter_names, setup.initial(trials)
        stack = cls(
            setup,
            trials,
            rates,
            make_optimizer(
                setup.config.optimizer,
                {n: t for n, t in initial.items() if n in trained},
                setup.decay_of(trials),
                setup.factors_of(trials),
            ),
            {n: t for n, t in initial.items() if n not in trained},
        )
        if setup.config.stop == "best":
            started = {name: t.detach().clone() for name, t in stack.tensors.items()}
            stack.best = BestEpochs(len(rates), started)
        return stack

    @property
    def network(self) -> StackedNetwork:
        """Architecture."""
        return self.setup.network

    @property
    def method(self) -> Method:
        """How the networks learn."""
        return self.setup.method

    @property
    def tensors(self) -> Parameters:
        """Present parameters and buffers of the networks."""
        return {**self.parameters, **self.buffers}

    @property
    def models(self) -> StackedModels:
        """Networks that remain of the trials: those of their best epochs, or the present ones."""
        return StackedModels(
            self.network, self.tensors if self.best is None else self.best.tensors
        )

    def models_of(self, rows: Tensor) -> Tensor:
        """Positions of the models [p * networks] of the trials in rows [p], int64."""
        networks = torch.arange(self.method.networks, device=rows.device)
        return (rows[:, None] * self.method.networks + networks).flatten()

    def mean_of_networks(self, numbers: Tensor) -> list[list[float]]:
        """Average numbers [K, M] over the networks of each trial: P rows of K."""
        return torch.unflatten(numbers, 1, (-1, self.method.networks)).mean(2).T.tolist()

    def offered_of(self, row: int) -> Tensor:
        """How often each sample could have been kept by a trial [N], by its row in the stack."""
        return self.offered_counts if self.setup.shares is None else self.offered_counts[row]

    def set_learning_rate(self, epoch: int) -> None:
        """Take learning rate and beta1 of an epoch (from 0)."""
        schedule = self.setup.config.learning_rate_schedule
        self.optimizer.set_rates(schedule.rate(epoch), schedule.beta1(epoch))

    def begin_epoch(self, data: TrainingPart, order: EpochOrder, epoch: int) -> None:
        """Get ready for an epoch.

        Parameters
        ----------
        data
            What is learnt from.
        order
            The batches, where trials have their own those of all trials of the training.
        epoch
            From 0: R(t) of this epoch counts.
        """
        order = order.of(self.trials)
        if self._epoch is None:
            self._epoch = EpochBuffers(
                data,
                order,
                len(self.trials),
                self.method.networks,
                recorded=self.setup.memory is not None,
            )
            if self.setup.memory is not None:
                recorder = CudaRecorder(self.training_pass.generator, self.setup.memory)
                self._run = RecordedStep(recorder)
        rates = self.rates[:, epoch]
        self._epoch.begin(order, rates, keep_counts(rates, self.setup.batch_size), epoch)

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
        assert self._epoch is not None
        if self.setup.by_hand:
            self._step_by_hand(self._epoch)
            return
        step = self._epoch.next_step(self._forward, self.parameters, self.state)
        decision = self.method.step(step)
        # Models share no parameters, so one backward pass gives each its own gradient.
        # Of one number: for others PyTorch imports its symbolic shapes, and compares with these.
        gradients = torch.autograd.grad(
            (decision.losses * decision.weights).sum(),
            list(self.parameters.values()),
            materialize_grads=True,
        )
        self.optimizer.step(dict(zip(self.parameters, gradients, strict=True)))
        self._epoch.record(decision, step.labels)

    @torch.no_grad()
    def _step_by_hand(self, epoch: EpochBuffers) -> None:
        """Do the same without a graph of PyTorch's, where gradients are written out."""
        step = epoch.next_step(self._forward, self.parameters, self.state)
        networks = self.method.networks
        images = step.images
        if images.ndim > 4:  # each trial's own
            images = images.repeat_interleave(networks, 0)
        assert isinstance(self.network, Mlp)
        begun = self.network.begin(self.parameters, images)
        outputs = torch.unflatten(begun.logits, 0, (-1, networks))  # classes first
        logs = outputs.log_softmax(-2)
        labels = step.labels if step.targets is None else step.targets
        decision = self.method.decide(step, outputs.mT, losses_of(logs, labels))
        errors = cross_entropy_gradient(logs, labels, decision.weights).flatten(0, 1)
        gradients = self.optimizer.gradients
        begun.differentiate(errors, gradients, self._kept(epoch, decision))
        self.optimizer.step(gradients)
        epoch.record(decision, step.labels)

    def _kept(self, epoch: EpochBuffers, decision: Decision) -> Kept | None:
        """Say what is learnt from, where leaving out the rest is worth it."""
        if not self.setup.leaves_out:
            return None
        if decision.order is None:
            return kept_samples(decision.weights.flatten(0, 1) > 0)
        if epoch.groups is None:
            return None
        return Kept.first(decision.order.flatten(0, 1), epoch.groups)

    def _forward(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        state = {**parameters, **self.buffers}
        if images.ndim > 4:  # each trial's own
            images = images.repeat_interleave(self.method.networks, 0)
        if self.setup.config.precision == "bfloat16":
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
        self.training_pass.generator.manual_seed(self.setup.seeds.dropout)

    def select(self, rows: list[int]) -> Stack:
        """Return a stack of some of the trials, with copies of all they need."""
        index = torch.tensor(rows, dtype=torch.int64, device=self.setup.device)
        models = self.models_of(index)
        chosen = Stack(
            self.setup,
            [self.trials[row] for row in rows],
            self.rates[rows],
            self.optimizer.select(models),
            {name: buffer[models] for name, buffer in self.buffers.items()},
        )
        chosen.training_pass.generator.set_state(self.training_pass.generator.get_state())
        chosen.state = {name: value[index] for name, value in self.state.items()}
        chosen.kept_counts = self.kept_counts[index]
        own = self.setup.shares is not None
        chosen.offered_counts = self.offered_counts[index] if own else self.offered_counts.clone()
        if self.best is not None:
            chosen.best = self.best.select(index, models)
        return chosen

    def without(self, leaving: set[int]) -> Stack:
        """Return the stack of the trials that stay."""
        return self.select([i for i, trial in enumerate(self.trials) if trial not in leaving])

    def by_trial(self) -> dict[str, Tensor]:
        """Return views of all that a training changes, a row a trial."""
        of_models = {f"buffer.{name}": buffer for name, buffer in self.buffers.items()}
        of_models |= self.optimizer.stacked()
        of_trials = {f"state.{name}": value for name, value in self.state.items()}
        if self.best is not None:
            of_models |= {f"best.{name}": tensor for name, tensor in self.best.tensors.items()}
            of_trials |= {"best_accuracy": self.best.accuracy, "best_epoch": self.best.epoch}
        views = {
            name: torch.unflatten(tensor, 0, (-1, self.method.networks))
            for name, tensor in of_models.items()
        }
        return {**views, **of_trials, "kept_counts": self.kept_counts}

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
        self.best = self._epoch = self._run = None

    def _generator_state(self) -> Tensor:
        state: Tensor = self.training_pass.generator.get_state()
        return state

    def probabilities(self, images: Images) -> Tensor:
        """Compute class probabilities [P, networks, N, C] of all images, on the CPU."""
        parts = iterate_probabilities(self.network, self.tensors, images, networks=1)
        together = torch.cat([part.cpu() for part in parts], 1)
        return torch.unflatten(together, 0, (-1, self.method.networks))
