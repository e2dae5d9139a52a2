"""What a method of learning with noisy labels is to the trainer.

| symbol | meaning |
|---|---|
| P | trials of the stack |
| networks | networks of a trial: 1 or 2 |
| B | samples of the mini-batch, shared by all trials |
| C | classes |

A training step is `Method.step`: outputs, losses, weights. Most methods only say how samples are
weighed (`weights`); some have a loss of their own (`losses`), a state of each trial (`state`),
something to do before the first epoch (`prepare`), or another step altogether. On CUDA a step may
be captured as a graph and replayed: its shapes must not depend on values, nothing may be read
back to the host, and all that changes between steps comes in as a tensor, the epoch too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import torch
from torch import Tensor

from s2e_optuna.training.evaluation import sample_losses
from s2e_optuna.training.selection import by_rank

if TYPE_CHECKING:
    from s2e_optuna.data.noisy_data import NoisyData

State = dict[str, Tensor]
"""What a method remembers: name to tensor [P, ...], one row a trial; rows leave with trials."""


Forward = Callable[[Mapping[str, Tensor], Tensor], Tensor]
"""From parameters [M, ...] and scaled images [B, channels, height, width] to logits
[P, networks, B, C]."""


@dataclass(frozen=True, eq=False)
class Step:
    """One mini-batch and the networks that are about to learn from it.

    Attributes
    ----------
    forward
        Runs the networks.
    parameters
        Stacked parameters [P * networks, ...], which ask for gradients.
    images, labels
        Scaled images [B, channels, height, width] and given labels [B]. Where trials have batches
        of their own, images [P, B, channels, height, width] and labels [P, 1, B].
    targets
        Soft labels [B, C], or [P, 1, B, C], to learn from in place of them, or None.
    clean
        Images and labels of a batch of clean samples, for methods that use such; else None.
    samples
        Positions of the samples in the training part [B], or [P, B].
    rate, keep
        R(t), float64 [P, 1, 1], and samples to keep, floor(R(t) B), integers [P, 1, 1].
    by_rank
        What the sample with the smallest loss of a batch weighs, the second smallest, …: 1/k where
        it is one of the k that are kept, else 0; float [P, 1, B].
    epoch
        Epoch, from 0: one int64 number on the device.
    state
        What the method remembers.
    """

    forward: Forward
    parameters: Mapping[str, Tensor]
    images: Tensor
    labels: Tensor
    targets: Tensor | None
    clean: tuple[Tensor, Tensor] | None
    samples: Tensor
    rate: Tensor
    keep: Tensor
    by_rank: Tensor
    epoch: Tensor
    state: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class BatchView(Step):
    """A step and what came out of the networks: what a method weighs samples by.

    Attributes
    ----------
    losses
        The method's loss of each sample [P, networks, B], without gradients.
    logits
        Outputs [P, networks, B, C], without gradients.
    """

    losses: Tensor
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Decision:
    """What is learnt from a batch: each network's loss is the sum of ``weights * losses``.

    Attributes
    ----------
    logits
        [P, networks, B, C], detached.
    losses
        [P, networks, B], with the graph that leads back to the parameters.
    weights
        [P, networks, B], without gradients.
    order
        Positions of the samples by what they weigh, the heaviest first, int64 [P, networks, B];
        None where the method does not order them.
    """

    logits: Tensor
    losses: Tensor
    weights: Tensor
    order: Tensor | None = None


class Preparation(Protocol):
    """What `Method.prepare` may do with the stack before the first epoch."""

    def run(self, epochs: int | None = None) -> None:
        """Train, and report nothing; by default as many epochs as the training proper has.

        The learning rate is the same by epoch as there, also where `epochs` are fewer.
        """

    def training_probabilities(self) -> Tensor:
        """Class probabilities of all training samples [P, networks, N, C], on the CPU."""

    def remember(self, name: str, values: Tensor) -> None:
        """Set what the method remembers under this name of each trial [P, ...]."""

    def restart(self) -> None:
        """Return parameters and optimiser to where they started."""


@dataclass(frozen=True)
class Method(ABC):
    """A rule by which the networks of a trial learn from a mini-batch.

    Options of a method are fields of its (frozen) dataclass: bool, int or float, perhaps None.

    Attributes
    ----------
    name
        Name in the registry.
    summary
        What it does, in a few words, and where it is from.
    networks
        Networks of a trial.
    uses_schedule
        Whether the keep rate R(t) matters.
    drops_doubtful
        Whether samples that are not kept are those whose labels it doubts.
    uses_clean_data
        Whether it learns from clean samples. They are taken from the validation part, and the
        validation accuracy of such a method is measured on the others.
    learns_soft
        Whether it can learn from soft labels.
    takes_own_batches
        Whether trials of a stack may each have batches of their own: it looks at losses and
        outputs alone, and prepares nothing.
    runs_in_threads
        Whether shards of trials may take their steps at the same time, a thread each.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    networks: ClassVar[int]
    uses_schedule: ClassVar[bool]
    drops_doubtful: ClassVar[bool] = False
    uses_clean_data: ClassVar[bool] = False
    learns_soft: ClassVar[bool] = True
    takes_own_batches: ClassVar[bool] = False
    runs_in_threads: ClassVar[bool] = True

    @abstractmethod
    def weights(self, batch: BatchView) -> Tensor:
        """Return each sample's weight in each network's loss, float [P, networks, B].

        The loss of a network is the weighted sum, so the weights hold the denominator too. A
        sample counts as kept where its weight is above 0. Shapes must not depend on values.
        """

    def order(self, batch: BatchView) -> Tensor | None:
        """Order the samples for each network, int64 [P, networks, B].

        Where this is all that a method does, the first k weigh 1/k, and `weights` is not asked.
        """
        return None

    def losses(self, logits: Tensor, labels: Tensor, step: Step) -> Tensor:
        """Return the loss of each sample [P, networks, B]: cross-entropy, if not overridden.

        Parameters
        ----------
        logits, labels
            Outputs [P, networks, B, C] for a batch, and its labels: [B], or soft ones [B, C];
            with two dimensions more in front where trials have batches of their own.
        step
            The rest of what there is to know.
        """
        own = labels.ndim > 2  # [P, 1, B] and [P, 1, B, C]: those of each network
        if own:
            labels = labels.expand(-1, self.networks, *labels.shape[2:]).flatten(0, 1)
        flat = sample_losses(logits.flatten(0, 1), labels, own=own)
        return torch.unflatten(flat, 0, (-1, self.networks))

    def step(self, step: Step) -> Decision:
        """Decide what is learnt from a batch."""
        logits = step.forward(step.parameters, step.images)
        labels = step.labels if step.targets is None else step.targets
        return self.decide(step, logits, self.losses(logits, labels, step))

    def decide(self, step: Step, logits: Tensor, losses: Tensor) -> Decision:
        """Decide by outputs [P, networks, B, C] and losses [P, networks, B], with their graph."""
        batch = BatchView(**vars(step), losses=losses.detach(), logits=logits.detach())
        order = self.order(batch)
        if order is None:
            return Decision(batch.logits, losses, self.weights(batch))
        return Decision(batch.logits, losses, by_rank(order, batch.by_rank), order)

    @property
    def takes_cross_entropy(self) -> bool:
        """Whether losses are cross-entropies, and weights see no gradients: the usual step.

        A method whose `losses` are so with some of its options says with which.
        """
        own = type(self)
        return own.losses is Method.losses and own.step is Method.step

    def fitted_to(self, data: NoisyData) -> Self:
        """Return the method with options that were left open as the papers set them."""
        return self

    def state(self, trials: int, n_classes: int, device: torch.device) -> State:
        """Return what the method remembers of each trial at the start.

        Parameters
        ----------
        trials, n_classes
            P and C.
        device
            Where the tensors shall lie.
        """
        return {}

    def prepare(self, stack: Preparation) -> None:
        """Do what has to come before the first epoch."""
        return
