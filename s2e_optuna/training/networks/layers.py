"""Layers of M models at once, models folded into channels or kept as a leading dimension.

Convolutions see [B, M * channels, height, width] (the first one [B, channels, height, width],
shared by all models), linear layers [M, features, B]. Weights are views into the stacked state;
nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from s2e_optuna.training.networks.base import KeptSamples, TrainingPass

State = Mapping[str, Tensor]


def linear(inputs: Tensor, state: State, layer: str) -> Tensor:
    """Apply M linear layers, samples last.

    Parameters
    ----------
    inputs
        [M, in, B].
    state, layer
        Holds ``layer.weight`` [M, out, in] and ``layer.bias`` [M, out].

    Returns
    -------
    Tensor
        [M, out, B].
    """
    weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
    return torch.baddbmm(bias.unsqueeze(2), weight, inputs)


def shared_linear(
    inputs: Tensor, state: State, layer: str, kept: KeptSamples | None = None
) -> Tensor:
    """Apply M linear layers to images, of which no gradient is asked for.

    Parameters
    ----------
    inputs
        [B, in], shared by all of them, or [M, B, in].
    state, layer
        Holds ``layer.weight`` [M, out, in] and ``layer.bias`` [M, out].
    kept
        Will be told before the backward pass; the others are left out of it.

    Returns
    -------
    Tensor
        [M, out, B], samples last.
    """
    weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
    if kept is None:
        return torch.baddbmm(bias.unsqueeze(2), weight, _of_each(inputs, weight).mT)
    output: Tensor = _SharedLinear.apply(inputs, weight, bias, kept)
    return output


def _of_each(inputs: Tensor, models: Tensor) -> Tensor:
    """Return the inputs of each of M models [M, B, in], without a copy."""
    return inputs if inputs.ndim == 3 else inputs.expand(len(models), -1, -1)


class _SharedLinear(Function):
    """The same, where the gradient of the weights is summed over the kept samples alone."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, kept: KeptSamples
    ) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.kept = kept
        return torch.baddbmm(bias.unsqueeze(2), weight, _of_each(inputs, weight).mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor, None]:
        inputs = _of_each(ctx.saved_tensors[0], gradient)
        of_bias, positions = gradient.sum(2), ctx.kept.positions
        if not positions:
            return None, torch.bmm(gradient, inputs), of_bias, None
        of_weight = gradient.new_empty((*gradient.shape[:2], inputs.shape[2]))
        # Each model keeps others, and as many as its own R(t) says.
        for model, samples in enumerate(positions):
            place = slice(model, model + 1)
            own = gradient[place].index_select(2, samples)
            torch.bmm(own, inputs[model].index_select(0, samples)[None], out=of_weight[place])
        return None, of_weight, of_bias, None


def convolution(
    inputs: Tensor, state: State, layer: str, *, padding: int = 0, shared: bool = False
) -> Tensor:
    """Apply M convolutions with models folded into channels.

    Parameters
    ----------
    inputs
        [B, M * channels, height, width], or [B, channels, height, width] if `shared`.
    state, layer
        Holds ``layer.weight`` [M, out, channels, k, k] and perhaps ``layer.bias`` [M, out].
    padding
        Zeros on each side.
    shared
        Whether all models see the same inputs.

    Returns
    -------
    Tensor
        [B, M * out, ...].
    """
    weight, bias = state[f"{layer}.weight"], state.get(f"{layer}.bias")
    return functional.conv2d(
        inputs,
        weight.flatten(0, 1),
        None if bias is None else bias.flatten(),
        padding=padding,
        groups=1 if shared else len(weight),
    )


def batch_norm(
    inputs: Tensor, state: State, layer: str, training: TrainingPass | None, momentum: float = 0.1
) -> Tensor:
    """Normalise each model's channels; M separate layers are exactly one over M * channels.

    Parameters
    ----------
    inputs
        [B, M * channels, height, width].
    state, layer
        Holds weight, bias and running statistics of the layer, each [M, channels].
    training
        None takes the running statistics; else those of the batch, and the former move.
    momentum
        By how much they move.
    """
    mean, variance = state[f"{layer}.running_mean"], state[f"{layer}.running_var"]
    if training is not None:
        state[f"{layer}.num_batches_tracked"].add_(1)
    return functional.batch_norm(
        inputs,
        mean.view(-1),
        variance.view(-1),
        state[f"{layer}.weight"].flatten(),
        state[f"{layer}.bias"].flatten(),
        training=training is not None,
        momentum=momentum,
    )


def dropout(inputs: Tensor, models: int, rate: float, training: TrainingPass | None) -> Tensor:
    """Drop numbers and scale the others by 1/(1 - rate).

    Parameters
    ----------
    inputs
        [B, M * channels, height, width].
    models
        M.
    rate
        Share that is dropped.
    training
        Where it is drawn from; None drops nothing.
    """
    if training is None or rate == 0.0:
        return inputs
    batch, channels, height, width = inputs.shape
    # Drawn once for the networks of a trial; every trial gets the same.
    drawn = torch.empty(
        (batch, training.networks * channels // models, height, width),
        dtype=inputs.dtype,
        device=inputs.device,
        memory_format=torch.channels_last,
    ).bernoulli_(1.0 - rate, generator=training.generator)
    mask = drawn.div_(1.0 - rate).repeat(1, models // training.networks, 1, 1)
    return inputs * mask


def by_model(inputs: Tensor, models: int) -> Tensor:
    """Turn [B, M * channels, height, width] into [M, features, B], features as in the twin."""
    return inputs.reshape(len(inputs), models, -1).permute(1, 2, 0)
