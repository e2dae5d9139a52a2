"""Adam over all networks of a stack at once.

The state is one pair of moment tensors for each stacked parameter [M, ...]. Adam works on each
number by itself, so one step over a stacked tensor is exactly M separate steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

BETA2 = 0.999
EPSILON = 1e-8
BETA1_EARLY = 0.9
BETA1_LATE = 0.1
VECTOR = 64
"""Numbers that any vector unit takes at once, and then some."""


@dataclass(frozen=True)
class AdamPlan:
    """Learning rate and beta1 by epoch: constant, then falling to 0 in a straight line.

    Attributes
    ----------
    epochs
        Epochs of the training, T.
    learning_rate
        Rate until the fall begins.
    decay_start
        Share of the epochs after which the rate falls and beta1 becomes 0.1.
    """

    epochs: int
    learning_rate: float = 1e-3
    decay_start: float = 0.4

    @property
    def first_decay_epoch(self) -> int:
        """First epoch (from 0) of the fall; the rate is still full in it."""
        return round(self.decay_start * self.epochs)

    def rate(self, epoch: int) -> float:
        """Learning rate in an epoch, counted from 0."""
        start = self.first_decay_epoch
        if epoch < start:
            return self.learning_rate
        return self.learning_rate * (self.epochs - epoch) / max(1, self.epochs - start)

    def beta1(self, epoch: int) -> float:
        """Decay of the first moment in an epoch, counted from 0."""
        return BETA1_EARLY if epoch < self.first_decay_epoch else BETA1_LATE


class StackedAdam:
    """Adam (Kingma and Ba, 2015) over stacked parameters.

    Learning rate and beta1 are float64 tensors of one number, changed with `set_rates`. On CPU
    the step is PyTorch's fused kernel; elsewhere it is a few operations over lists of tensors
    that read learning rate, beta1 and step from the device, so that a captured step sees their
    changes.

    Parameters
    ----------
    parameters
        Initial stacked parameters [M, ...] by name; copied.
    fused
        Use the fused kernel; by default on CPU only.

    Attributes
    ----------
    parameters
        The parameters that `step` updates in place.
    """

    def __init__(self, parameters: Mapping[str, Tensor], *, fused: bool | None = None) -> None:
        # The fused kernel rounds the last few numbers of a tensor differently from the others.
        # Padding keeps these places free, so that a model does not depend on its neighbours.
        self._flat = {name: _padded(p) for name, p in parameters.items()}
        self._first = {name: torch.zeros_like(p) for name, p in self._flat.items()}
        self._second = {name: torch.zeros_like(p) for name, p in self._flat.items()}
        self._slopes = {
            name: torch.zeros_like(self._flat[name])
            for name, p in parameters.items()
            if p.numel() != len(self._flat[name])
        }
        self.parameters = {
            name: self._flat[name][: p.numel()].view(p.shape) for name, p in parameters.items()
        }
        device = next(iter(self.parameters.values())).device
        self.fused = device.type == "cpu" if fused is None else fused
        self.step_count = torch.zeros((), dtype=torch.float32, device=device)
        self.learning_rate = torch.zeros((), dtype=torch.float64, device=device)
        self.beta1 = torch.zeros((), dtype=torch.float64, device=device)
        self._host_rates = (0.0, 0.0)

    def set_rates(self, learning_rate: float, beta1: float) -> None:
        """Change learning rate and beta1 from the next step on."""
        self.learning_rate.fill_(learning_rate)
        self.beta1.fill_(beta1)
        self._host_rates = (learning_rate, beta1)

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Update every parameter from its gradient."""
        parameters = list(self._flat.values())
        slopes = [self._flat_gradient(name, gradients[name]) for name in self._flat]
        first, second = list(self._first.values()), list(self._second.values())
        self.step_count += 1
        if self.fused:
            rate, beta1 = self._host_rates
            torch._fused_adam_(
                parameters,
                slopes,
                first,
                second,
                [],
                [self.step_count] * len(parameters),
                lr=rate,
                beta1=beta1,
                beta2=BETA2,
                weight_decay=0.0,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )
            return
        momentum = self.beta1.to(torch.float32)
        torch._foreach_mul_(first, momentum)
        torch._foreach_add_(first, torch._foreach_mul(slopes, 1.0 - momentum))
        torch._foreach_mul_(second, BETA2)
        torch._foreach_addcmul_(second, slopes, slopes, 1.0 - BETA2)
        correction1 = 1.0 - self.beta1**self.step_count
        correction2 = 1.0 - torch.exp(self.step_count.to(torch.float64) * math.log(BETA2))
        scale = -(self.learning_rate / correction1).to(torch.float32)
        denominators = torch._foreach_sqrt(second)
        torch._foreach_div_(denominators, correction2.sqrt().to(torch.float32))
        torch._foreach_add_(denominators, EPSILON)
        updates = torch._foreach_div(first, denominators)
        torch._foreach_mul_(updates, scale)
        torch._foreach_add_(parameters, updates)

    @torch.no_grad()
    def restart(self, parameters: Mapping[str, Tensor]) -> None:
        """Begin again from other parameters [M, ...]; tensors keep their place in memory."""
        for name, values in parameters.items():
            self.parameters[name].copy_(values)
        for moments in (self._first, self._second):
            torch._foreach_zero_(list(moments.values()))
        self.step_count.zero_()

    def select(self, models: Tensor) -> StackedAdam:
        """Return the optimiser, with its parameters, of the models at these positions."""
        shapes = {name: p.shape for name, p in self.parameters.items()}
        chosen = StackedAdam(
            {name: p.detach()[models] for name, p in self.parameters.items()}, fused=self.fused
        )
        for ours, theirs in ((self._first, chosen._first), (self._second, chosen._second)):
            for name, shape in shapes.items():
                values = ours[name][: shape.numel()].view(shape)[models].flatten()
                theirs[name][: len(values)] = values
        chosen.step_count.copy_(self.step_count)
        chosen.set_rates(*self._host_rates)
        return chosen

    def _flat_gradient(self, name: str, gradient: Tensor) -> Tensor:
        """Flatten a gradient; copy it only where padding is needed."""
        buffer = self._slopes.get(name)
        if buffer is None:
            return gradient.reshape(-1)
        buffer[: gradient.numel()] = gradient.reshape(-1)
        return buffer


def _padded(tensor: Tensor) -> Tensor:
    """Copy a tensor into a flat one whose length is a multiple of `VECTOR`."""
    flat = tensor.new_zeros(-(-tensor.numel() // VECTOR) * VECTOR)
    flat[: tensor.numel()] = tensor.reshape(-1)
    return flat
