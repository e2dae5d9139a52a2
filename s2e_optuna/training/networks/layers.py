"""Layers of M models at once, models folded into channels or kept as a leading dimension.

Convolutions see [B, M * channels, height, width] (the first one [B, channels, height, width],
shared by all models), linear layers [M, features, B]. Weights are views into the stacked state;
nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from s2e_optuna.training.networks.base import TrainingPass

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
