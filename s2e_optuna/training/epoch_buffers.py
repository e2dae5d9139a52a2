"""What the steps of an epoch read and write, in tensors that keep their place in memory.

A recorded step finds its batch by a counter on the device and leaves what it did in the row of
that counter. Sums are taken once an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.data.noisy_data import scale_pixels
from s2e_optuna.training.methods import Decision, Forward, State, Step
from s2e_optuna.training.parts import EpochOrder, TrainingPart


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


class EpochBuffers:
    """The batches of an epoch and what became of them.

    Parameters
    ----------
    data
        What is learnt from.
    order
        Tells how many batches there are, and of what size.
    trials, networks
        P, and networks of a trial.

    """

    def __init__(self, data: TrainingPart, order: EpochOrder, trials: int, networks: int) -> None:
        self._data, self._networks = data, networks
        device = data.labels.device
        self._samples = torch.empty_like(order.samples)
        self._trusted = None if order.trusted is None else torch.empty_like(order.trusted)
        self._slot = torch.zeros(1, dtype=torch.int64, device=device)
        self._images: Tensor | None = None
        self._rate = torch.empty((trials, 1, 1), dtype=torch.float64, device=device)
        self._keep = torch.empty((trials, 1, 1), dtype=torch.int64, device=device)
        self._number = torch.zeros((), dtype=torch.int64, device=device)
        self._own = order.of_each_trial
        steps, batch = len(order.samples), order.samples.shape[-1]
        shape = (steps, trials, networks, batch)
        self._losses = torch.empty(shape, device=device)
        self._correct, self._chosen = (
            torch.empty(shape, dtype=torch.bool, device=device) for _ in range(2)
        )

    def begin(
        self,
        order: EpochOrder,
        rate: NDArray[np.float64],
        keep: NDArray[np.int64],
        epoch: int,
    ) -> None:
        """Begin an epoch.

        Parameters
        ----------
        order
            Its batches.
        rate, keep
            R(t) of each trial [P], and how many samples of a batch each keeps [P].
        epoch
            From 0.
        """
        self._samples.copy_(order.samples)
        if self._trusted is not None and order.trusted is not None:
            self._trusted.copy_(order.trusted)
        self._slot.zero_()
        self._rate.copy_(torch.from_numpy(rate).view(-1, 1, 1))
        self._keep.copy_(torch.from_numpy(keep).view(-1, 1, 1))
        self._number.fill_(epoch)

    def load(self, images: Tensor | None) -> None:
        """Take in the next batch [B, channels, height, width] of data that lie elsewhere."""
        if images is None:
            return
        if self._images is None:
            self._images = torch.empty_like(images, device=self._slot.device)
        self._images.copy_(images, non_blocking=True)

    def next_step(self, forward: Forward, parameters: Mapping[str, Tensor], state: State) -> Step:
        """Put together the next step.

        Parameters
        ----------
        forward, parameters, state
            The networks and what the method remembers of their trials, see `Step`.
        """
        samples = self._samples.index_select(0, self._slot).squeeze(0)
        trusted = None
        if self._trusted is not None:
            trusted = self._data.trusted_batch(
                self._trusted.index_select(0, self._slot).squeeze(0)
            )
        images = self._data.images_of(samples) if self._images is None else self._images
        targets = self._data.targets
        return Step(
            forward=forward,
            parameters=parameters,
            images=scale_pixels(images),
            labels=_of_networks(self._data.labels[samples], self._own),
            targets=None if targets is None else _of_networks(targets[samples], self._own),
            clean=trusted,
            samples=samples,
            rate=self._rate,
            keep=self._keep,
            epoch=self._number,
            state=state,
        )

    @torch.no_grad()
    def record(self, decision: Decision, labels: Tensor) -> None:
        """Write down what was decided for given labels, and go on to the next batch.

        Parameters
        ----------
        decision
            What was learnt.
        labels
            [B], or [P, 1, B].
        """
        for history, now in (
            (self._losses, decision.losses.detach()),
            # Classes come first in memory; turned round, argmax takes a fifth of the time.
            (self._correct, decision.logits.contiguous().argmax(3) == labels),
            (self._chosen, decision.weights > 0),
        ):
            history.index_copy_(0, self._slot, now.unsqueeze(0))
        self._slot += 1

    def tally(self) -> EpochTally:
        """Sum up the epoch."""
        clean = self._data.clean
        kept_clean = None
        if clean is not None:
            truth = clean[self._samples]
            truth = truth[:, :, None] if self._own else truth[:, None, None]
            kept_clean = (self._chosen & truth).sum((0, 3)).flatten()
        return EpochTally(
            samples=self._samples[:, 0].numel() if self._own else self._samples.numel(),
            loss=self._losses.sum((0, 3), dtype=torch.float64).flatten(),
            correct=self._correct.sum((0, 3)).flatten(),
            kept=self._chosen.sum((0, 3)).flatten(),
            kept_clean=kept_clean,
        )

    def count(self, kept: Tensor, offered: Tensor) -> None:
        """Add to how often each sample was kept [P, N] and could have been kept.

        The latter is [N], or [P, N] where trials have batches of their own.
        """
        # A sample occurs at most once in an epoch, so no sum gets lost. Trial by trial it needs
        # less memory than the tally, for which there was enough in all epochs.
        for trial, counts in enumerate(kept):
            samples = (self._samples[:, trial] if self._own else self._samples).flatten()
            counts[samples] += self._chosen[:, trial].sum(1, dtype=torch.int32).flatten()
            if self._own:
                offered[trial, samples] += self._networks
        if not self._own:
            offered[self._samples.flatten()] += self._networks


def _of_networks(values: Tensor, own: bool) -> Tensor:
    """Make values of each trial [P, ...] those of its networks [P, 1, ...]; leave shared ones."""
    return values.unsqueeze(1) if own else values
