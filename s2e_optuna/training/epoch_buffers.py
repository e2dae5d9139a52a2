"""What the steps of an epoch read and write.

A recorded step finds its batch by a counter on the device and leaves what it did in the row of
that counter: in tensors that keep their place in memory. Where nothing is recorded, what each
step would look up is looked up for all of them before the first, and what they did is put
together after the last: with small batches every operation of a step counts. Of large images some
batches are looked up at a time. Sums are taken once an epoch.
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
from s2e_optuna.training.networks.by_hand import Groups, groups_of
from s2e_optuna.training.parts import EpochOrder, TrainingPart

MOST_AT_ONCE = 1 << 20
"""Numbers up to which images of batches to come, and outputs of past ones, are put together."""


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
    recorded
        Whether steps are recorded, and have to find everything at the same place.

    Attributes
    ----------
    groups
        Models by how many samples of a batch they keep in this epoch; None where they keep all.
    """

    def __init__(
        self,
        data: TrainingPart,
        order: EpochOrder,
        trials: int,
        networks: int,
        *,
        recorded: bool = False,
    ) -> None:
        self._data, self._networks, self._recorded = data, networks, recorded
        device = data.labels.device
        self._samples = torch.empty_like(order.samples)
        self._trusted = None if order.trusted is None else torch.empty_like(order.trusted)
        self._slot = torch.zeros(1, dtype=torch.int64, device=device)
        self._images: Tensor | None = None
        self._rate = torch.empty((trials, 1, 1), dtype=torch.float64, device=device)
        self._keep = torch.empty((trials, 1, 1), dtype=torch.int64, device=device)
        self._number = torch.zeros((), dtype=torch.int64, device=device)
        self.groups: Groups | None = None
        self._own = order.of_each_trial
        steps, batch = len(order.samples), order.samples.shape[-1]
        shape = (steps, trials, networks, batch)
        self._losses = torch.empty(shape, device=device)
        self._correct, self._chosen = (
            torch.empty(shape, dtype=torch.bool, device=device) for _ in range(2)
        )
        self._batches: _Batches | None = None
        self._told: list[tuple[Tensor, Tensor, Tensor]] = []
        self._step = 0
        self._coming: Tensor | None = None
        self._at_once = 1
        self._by_rank = torch.empty((trials, 1, batch), device=device)

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
        places = torch.arange(self._by_rank.shape[2], device=self._by_rank.device)
        self._by_rank.copy_((places < self._keep) / self._keep.to(self._by_rank.dtype))
        of_networks = [count for count in keep.tolist() for _ in range(self._networks)]
        self.groups = groups_of(of_networks, len(places))
        self._number.fill_(epoch)
        self._step = 0
        self._told.clear()
        if not self._recorded:
            self._batches = _Batches(*self._labels_of(self._samples))
            if isinstance(self._data.images, Tensor):
                numbers = self._samples[0].numel() * self._data.images[0].numel()
                self._at_once = max(1, MOST_AT_ONCE // numbers)

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
        trusted = self._trusted
        if self._batches is None:
            samples = self._samples.index_select(0, self._slot).squeeze(0)
            labels, targets = self._labels_of(samples)
            trusted = None if trusted is None else trusted.index_select(0, self._slot).squeeze(0)
            ready = None
        else:
            here = self._step
            samples, labels = self._samples[here], self._batches.labels[here]
            targets = None if self._batches.targets is None else self._batches.targets[here]
            trusted = None if trusted is None else trusted[here]
            ready = self._looked_up_images() if self._images is None else None
        if ready is None:
            images = self._data.images_of(samples) if self._images is None else self._images
            ready = scale_pixels(images)
        return Step(
            forward=forward,
            parameters=parameters,
            images=ready,
            labels=labels,
            targets=targets,
            clean=None if trusted is None else self._data.trusted_batch(trusted),
            samples=samples,
            rate=self._rate,
            keep=self._keep,
            by_rank=self._by_rank,
            epoch=self._number,
            state=state,
        )

    def _labels_of(self, samples: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return labels and soft labels at positions [..., B], of each network if need be."""
        targets = self._data.targets
        if targets is not None:
            targets = _of_networks(targets[samples], self._own, 2)
        return _of_networks(self._data.labels[samples], self._own, 1), targets

    def _looked_up_images(self) -> Tensor:
        """Return the scaled images of the next batch, looked up with those of some more."""
        place = self._step % self._at_once
        if place == 0:
            coming = self._samples[self._step : self._step + self._at_once]
            self._coming = scale_pixels(self._data.images_of(coming))
        assert self._coming is not None
        return self._coming[place]

    def record(self, decision: Decision, labels: Tensor) -> None:
        """Write down what was decided for given labels, and go on to the next batch.

        Parameters
        ----------
        decision
            What was learnt.
        labels
            [B], or [P, 1, B].
        """
        if not self._recorded:
            self._told.append((decision.losses.detach(), decision.logits.mT, decision.weights))
            self._step += 1
            if len(self._told) * decision.logits.numel() > MOST_AT_ONCE:
                self._write_down()
            return
        for history, now in (
            (self._losses, decision.losses.detach()),
            (self._correct, _is_correct(decision.logits, labels)),
            (self._chosen, decision.weights > 0),
        ):
            history.index_copy_(0, self._slot, now.unsqueeze(0))
        self._slot += 1

    def tally(self) -> EpochTally:
        """Sum up the epoch."""
        self._write_down()
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

    def _write_down(self) -> None:
        """Put together what the last steps did."""
        if not self._told:
            return
        assert self._batches is not None  # a step has been taken
        here = slice(self._step - len(self._told), self._step)
        losses, logits, weights = zip(*self._told, strict=True)
        labels = self._batches.labels[here]
        labels = labels if self._own else labels[:, None, None]
        torch.stack(losses, out=self._losses[here])
        torch.gt(torch.stack(weights), 0, out=self._chosen[here])
        self._correct[here] = _is_correct(torch.stack(logits).mT, labels)
        self._told.clear()

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


@dataclass(frozen=True, eq=False)
class _Batches:
    """What the steps of an epoch learn from [S, ...]: labels as `Step` has them."""

    labels: Tensor
    targets: Tensor | None


def _is_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the class of each label has the largest output: booleans [..., B].

    Finding the largest number is faster than finding where it is, ten times with classes first
    in memory, as the stacked networks leave them.
    """
    where = labels.expand(logits.shape[:-1])
    return logits.gather(-1, where.unsqueeze(-1)).squeeze(-1) == logits.amax(-1)


def _of_networks(values: Tensor, own: bool, dimensions: int) -> Tensor:
    """Make values of each trial [..., P, B] those of its networks [..., P, 1, B].

    The last `dimensions` are those of a batch. What all trials share stays as it is.
    """
    return values.unsqueeze(-1 - dimensions) if own else values
