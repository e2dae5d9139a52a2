"""Optimisers over all networks of a stack at once.

The state is one tensor for each stacked parameter [M, ...] and moment. These optimisers work on
each number by itself, so one step over a stacked tensor is exactly M separate steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.optim.adam import adam

from s2e_optuna.errors import unknown_name
from s2e_optuna.training.networks import Parameters

BETA2 = 0.999
ALPHA = 0.99
EPSILON = 1e-8
VECTOR = 64
"""Numbers that any vector unit takes at once, and then some."""


class StackedOptimizer(ABC):
    """Updates stacked parameters in place.

    Learning rate and step count are tensors on the device, so that a recorded step sees their
    changes. What a fused kernel bakes into a recording is the `signature`: when it changes, the
    step has to be recorded anew.

    Parameters
    ----------
    parameters
        Initial stacked parameters [M, ...] by name; copied.
    decay
        Weight decay of each model [M], as `torch.optim` has it: added to the gradients. None adds
        none.
    factors
        What each model's steps are multiplied by [M], as if its learning rate were; None is 1.

    Attributes
    ----------
    parameters
        The parameters that `step` updates in place.
    """

    name: ClassVar[str]
    moments: ClassVar[int]

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        decay: Tensor | None = None,
        factors: Tensor | None = None,
    ) -> None:
        self._decay, self._factors = decay, factors
        # Fused kernels round the last few numbers of a tensor differently from the others.
        # Padding keeps these places free, so that a model does not depend on its neighbours.
        self._flat = {name: _padded(p) for name, p in parameters.items()}
        self._moments = [
            {name: torch.zeros_like(p) for name, p in self._flat.items()}
            for _ in range(self.moments)
        ]
        self._rooms = {
            name: torch.zeros_like(self._flat[name])
            for name, p in parameters.items()
            if p.numel() != len(self._flat[name])
        }
        self.parameters = {
            name: self._flat[name][: p.numel()].view(p.shape) for name, p in parameters.items()
        }
        self._gradients: Parameters = {}
        self._flat_gradients: list[Tensor] = []
        device = next(iter(self.parameters.values())).device
        self.on_host = device.type == "cpu"
        self.step_count = torch.zeros((), dtype=torch.float32, device=device)
        self.learning_rate = torch.zeros((), dtype=torch.float32, device=device)
        self._host_rate, self._beta1 = 0.0, 0.0

    def set_rates(self, learning_rate: float, beta1: float) -> None:
        """Change learning rate and beta1 from the next step on."""
        self.learning_rate.fill_(learning_rate)
        self._host_rate, self._beta1 = learning_rate, beta1

    @property
    def signature(self) -> Hashable:
        """Numbers that a recorded step holds as constants."""
        return None

    @property
    def gradients(self) -> Parameters:
        """Room for the gradients [M, ...]: what is written there, `step` takes without a copy."""
        if not self._gradients:
            for name, p in self.parameters.items():
                room = self._rooms.setdefault(name, torch.zeros_like(self._flat[name]))
                self._gradients[name] = room[: p.numel()].view(p.shape)
                self._flat_gradients.append(room)
        return self._gradients

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Update every parameter from its gradient [M, ...]."""
        # Sums and products one by one: what is fused rounds by where a number lies.
        if self._decay is not None:
            gradients = {
                name: gradients[name] + p * _of_models(self._decay, p)
                for name, p in self.parameters.items()
            }
        flat = self._flat_gradients
        if gradients is not self._gradients:
            flat = [self._flat_gradient(name, gradients[name]) for name in self._flat]
        before = None
        if self._factors is not None:
            before = {name: p.clone() for name, p in self.parameters.items()}
        self.step_count += 1
        self._update(list(self._flat.values()), flat, *(list(m.values()) for m in self._moments))
        if before is not None and self._factors is not None:
            for name, p in self.parameters.items():
                step = (p - before[name]) * _of_models(self._factors, p)
                p.copy_(before[name] + step)

    @abstractmethod
    def _update(
        self, parameters: list[Tensor], gradients: list[Tensor], *moments: list[Tensor]
    ) -> None:
        """Update flat tensors in place."""

    @property
    def _rate(self) -> Any:
        # Fused kernels read a tensor back to the host on CPU; on CUDA they read it in place.
        return self._host_rate if self.on_host else self.learning_rate

    def restart(self, parameters: Mapping[str, Tensor]) -> None:
        """Begin again from other parameters [M, ...]; tensors keep their place in memory."""
        with torch.no_grad():
            for name, values in parameters.items():
                self.parameters[name].copy_(values)
        for moments in self._moments:
            for values in moments.values():
                values.zero_()
        self.step_count.zero_()

    def tensors(self) -> list[Tensor]:
        """Return all tensors that a step changes."""
        moments = [tensor for group in self._moments for tensor in group.values()]
        return [*self._flat.values(), *moments, self.step_count]

    def stacked(self) -> dict[str, Tensor]:
        """Return views [M, ...] of the parameters and of their moments."""
        views = {f"parameter.{name}": p.detach() for name, p in self.parameters.items()}
        for i, moments in enumerate(self._moments):
            for name, p in self.parameters.items():
                views[f"moment{i}.{name}"] = moments[name][: p.numel()].view(p.shape)
        return views

    def select(self, models: Tensor) -> Self:
        """Return the optimiser, with its parameters, of the models at positions [m]."""
        shapes = {name: p.shape for name, p in self.parameters.items()}
        chosen = type(self)(
            {name: p.detach()[models] for name, p in self.parameters.items()},
            None if self._decay is None else self._decay[models],
            None if self._factors is None else self._factors[models],
        )
        for ours, theirs in zip(self._moments, chosen._moments, strict=True):
            for name, shape in shapes.items():
                values = ours[name][: shape.numel()].view(shape)[models].flatten()
                theirs[name][: len(values)] = values
        chosen.step_count.copy_(self.step_count)
        chosen.set_rates(self._host_rate, self._beta1)
        return chosen

    def close(self) -> None:
        """Give up all parameters and moments."""
        for tensors in (self._flat, self._rooms, self._gradients, self.parameters, *self._moments):
            tensors.clear()
        self._flat_gradients.clear()

    def _flat_gradient(self, name: str, gradient: Tensor) -> Tensor:
        """Flatten a gradient; copy it where padding is needed or it is no block of memory."""
        if gradient.numel() == len(self._flat[name]):
            # That of a sum repeats one number, and fused kernels read on behind it.
            return gradient.reshape(-1).contiguous()
        self._rooms[name][: gradient.numel()] = gradient.reshape(-1)
        return self._rooms[name]


class StackedAdam(StackedOptimizer):
    """Adam (Kingma and Ba, 2015) by PyTorch's fused kernel: one pass over each tensor.

    The kernel takes beta1 as a number, which is therefore part of the `signature`: a training
    changes it once. The function is called, not the class `torch.optim.Adam` around it: the same
    bits, but what the class does besides takes as long as the update of a few small networks.
    """

    name = "adam"
    moments = 2

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        decay: Tensor | None = None,
        factors: Tensor | None = None,
    ) -> None:
        super().__init__(parameters, decay, factors)
        self._counts = self.step_count.repeat(len(self._flat))
        self._count_of_each = list(self._counts.unbind())

    @property
    def signature(self) -> Hashable:
        """Beta1."""
        return self._beta1

    def set_rates(self, learning_rate: float, beta1: float) -> None:
        """Change learning rate and beta1 from the next step on."""
        super().set_rates(learning_rate, beta1)
        self._counts.copy_(self.step_count)  # which a checkpoint may have changed

    def restart(self, parameters: Mapping[str, Tensor]) -> None:
        """Begin again from other parameters [M, ...]; tensors keep their place in memory."""
        super().restart(parameters)
        self._counts.zero_()

    def _update(
        self, parameters: list[Tensor], gradients: list[Tensor], *moments: list[Tensor]
    ) -> None:
        first, second = moments  # the kernel counts its steps itself, for each tensor
        adam(
            parameters,
            gradients,
            first,
            second,
            [],
            self._count_of_each,
            fused=True,
            lr=self._rate,
            beta1=self._beta1,
            beta2=BETA2,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


class StackedSgd(StackedOptimizer):
    """Stochastic gradient descent without momentum, as in Figure 1(e)."""

    name = "sgd"
    moments = 0

    def _update(
        self, parameters: list[Tensor], gradients: list[Tensor], *moments: list[Tensor]
    ) -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(gradient * self.learning_rate)


class StackedRmsProp(StackedOptimizer):
    """RMSProp (Hinton et al., 2012) with PyTorch's usual constants, as in Figure 1(e)."""

    name = "rmsprop"
    moments = 1

    def _update(
        self, parameters: list[Tensor], gradients: list[Tensor], *moments: list[Tensor]
    ) -> None:
        (squares,) = moments
        for parameter, gradient, square in zip(parameters, gradients, squares, strict=True):
            square.mul_(ALPHA).addcmul_(gradient, gradient, value=1.0 - ALPHA)
            update = square.sqrt().add_(EPSILON).reciprocal_().mul_(gradient)
            parameter.sub_(update.mul_(self.learning_rate))


OPTIMIZERS: dict[str, type[StackedOptimizer]] = {
    optimizer.name: optimizer for optimizer in (StackedAdam, StackedSgd, StackedRmsProp)
}
"""Optimisers by name."""


def make_optimizer(
    name: str,
    parameters: Mapping[str, Tensor],
    decay: Tensor | None = None,
    factors: Tensor | None = None,
) -> StackedOptimizer:
    """Build an optimiser by name.

    Parameters
    ----------
    name
        Name in `OPTIMIZERS`.
    parameters, decay, factors
        See `StackedOptimizer`.

    Raises
    ------
    DataError
        There is no such optimiser.
    """
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name](parameters, decay, factors)


def _of_models(values: Tensor, parameter: Tensor) -> Tensor:
    """Give numbers of models [M] the dimensions of a stacked parameter [M, ...]."""
    return values.view(-1, *(1,) * (parameter.ndim - 1))


def _padded(tensor: Tensor) -> Tensor:
    """Copy a tensor into a flat one whose length is a multiple of `VECTOR`."""
    flat = tensor.new_zeros(-(-tensor.numel() // VECTOR) * VECTOR)
    flat[: tensor.numel()] = tensor.reshape(-1)
    return flat
