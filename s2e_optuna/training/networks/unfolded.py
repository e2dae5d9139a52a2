"""Convolution and pooling of M models on a CPU, as products of matrices with the samples last.

Numbers lie as [M, height, channels, width, B]. A vector unit then always works on neighbouring
samples, however few channels there are, and everything but the products is a matter of views:
in k neighbouring rows the windows of a k x k convolution are one matrix, once each row has been
repeated k times along its width. Each model has products of its own, also where the images are
shared, so no model's sums depend on how many others there are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from s2e_optuna.training.networks.layers import State

POOL = 2


def samples_last(images: Tensor) -> Tensor:
    """Turn images [B, channels, height, width] into [1, height, channels, width, B]."""
    _, channels, height, width = images.shape
    # Copying a matrix's transpose is several times as fast as any other permutation.
    moved = images.flatten(1).t().contiguous().view(channels, height, width, -1)
    return moved.transpose(0, 1).contiguous().unsqueeze(0)


def convolve_pool_relu(inputs: Tensor, state: State, layer: str) -> Tensor:
    """Apply M convolutions without padding, then 2x2 maximum pooling and ReLU.

    The bias is added to the largest of four numbers in place of all of them: that is the same,
    and a quarter of the work.

    Parameters
    ----------
    inputs
        [M, height, channels, width, B], or [1, ...] shared by all models; contiguous.
    state, layer
        Holds ``layer.weight`` [M, out, channels, k, k] and ``layer.bias`` [M, out].

    Returns
    -------
    Tensor
        [M, (height - k + 1) // 2, out, (width - k + 1) // 2, B].
    """
    weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
    if torch.is_autocast_enabled(inputs.device.type):
        kind = torch.get_autocast_dtype(inputs.device.type)
        inputs, weight, bias = inputs.to(kind), weight.to(kind), bias.to(kind)
    convolve = _convolve_blocks if len(inputs) < len(weight) else _convolve
    output: Tensor = _PoolRelu.apply(convolve(inputs, weight), bias)[0]
    return output


def features(inputs: Tensor) -> Tensor:
    """Turn [M, height, channels, width, B] into [M, features, B], features as in the twin."""
    return inputs.transpose(1, 2).flatten(1, 3)


def _convolve(inputs: Tensor, weight: Tensor) -> Tensor:
    """Convolve; return sums by place in the pool's window [M, rows, 2, 2, out, columns, B]."""
    sums: Tensor = _Convolution.apply(inputs, weight, 1)[0]
    _, height, _, width, _ = sums.shape
    even = sums[:, : height // POOL * POOL, :, : width // POOL * POOL]
    by_place = torch.unflatten(torch.unflatten(even, 3, (-1, POOL)), 1, (-1, POOL))
    return by_place.permute(0, 1, 2, 5, 3, 4, 6)


def _convolve_blocks(inputs: Tensor, weight: Tensor) -> Tensor:
    """Do the same, the four numbers of a pool's window as channels of one larger convolution.

    Of its (k + 1) x (k + 1) kernel a part is 0, yet a product with four times the rows takes two
    thirds of the time where channels are few.
    """
    shifted = [
        functional.pad(weight, (column, 1 - column, row, 1 - row))
        for row in range(POOL)
        for column in range(POOL)
    ]
    sums: Tensor = _Convolution.apply(inputs, torch.cat(shifted, 1), POOL)[0]
    return torch.unflatten(sums, 2, (POOL, POOL, -1))


class _Convolution(Function):
    """Products with windows of the widened input, which is an output to be kept.

    The gradient of the input is there for stride 1 only. Tangents carry no gradients.
    """

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        wide = _widen(inputs, weight.shape[-1], stride)
        return _products(wide, weight, stride, inputs.shape[-1]), wide

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        images, weight, stride = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1], weight)
        ctx.save_for_forward(output[1], weight)
        ctx.set_materialize_grads(False)
        ctx.input_shape, ctx.stride = images.shape, stride

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, Tensor, None]:
        wide, weight = ctx.saved_tensors
        models, out, channels, size, _ = weight.shape
        gradients = gradient.contiguous().flatten(3)
        total = gradients.new_zeros((models, size * size * channels, out))
        for row, window in enumerate(_windows(wide, models, size, ctx.stride)):
            total.baddbmm_(window, gradients[:, row].transpose(1, 2))
        of_weight = total.view(models, size, size, channels, out).permute(0, 4, 3, 1, 2)
        of_inputs = None
        if ctx.needs_input_grad[0]:
            of_inputs = _narrow(_gradient_of_wide(gradients, weight), size, ctx.input_shape)
        return of_inputs, of_weight, None

    @staticmethod
    @torch.no_grad()
    def jvp(
        ctx: Any, inputs: Tensor | None, weight: Tensor | None, _: None
    ) -> tuple[Tensor, None]:
        wide, at = ctx.saved_tensors
        stride, batch = ctx.stride, ctx.input_shape[-1]
        moved = _products(wide, torch.zeros_like(at) if weight is None else weight, stride, batch)
        if inputs is not None:
            moved += _products(_widen(inputs, at.shape[-1], stride), at, stride, batch)
        return moved, None


class _PoolRelu(Function):
    """From sums [M, rows, 2, 2, out, columns, B] to [M, rows, out, columns, B].

    The gradient goes to the first of the largest, as in `torch.nn.MaxPool2d`. Tangents carry no
    gradients.
    """

    @staticmethod
    def forward(sums: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        first, second, third, fourth = _quarters(sums)
        largest = torch.maximum(first, second)
        torch.maximum(largest, third, out=largest)
        torch.maximum(largest, fourth, out=largest)
        return (largest + _by_channel(bias)).relu_(), largest

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], *output)
        ctx.save_for_forward(inputs[0], *output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        sums, output, largest = ctx.saved_tensors
        gradients = torch.empty_like(sums)
        rest = torch.ops.aten.threshold_backward(gradient, output, 0)
        of_bias = rest.sum((1, 3, 4))
        *others, last = zip(_quarters(gradients), _quarters(sums), strict=True)
        for share, quarter in others:
            # Comparing in place gives 0 and 1 as floats, many times as fast as booleans.
            rest -= share.copy_(quarter).eq_(largest).mul_(rest)
        last[0].copy_(rest)
        return gradients, of_bias

    @staticmethod
    @torch.no_grad()
    def jvp(ctx: Any, moved_sums: Tensor, moved_bias: Tensor) -> tuple[Tensor, None]:
        sums, output, largest = ctx.saved_tensors
        rest = (output > 0).to(output.dtype)
        moved = rest * _by_channel(moved_bias)
        for share, quarter in zip(_quarters(moved_sums), _quarters(sums), strict=True):
            chosen = rest * (quarter == largest)
            moved += chosen * share
            rest -= chosen
        return moved, None


def _by_channel(bias: Tensor) -> Tensor:
    """View a bias [M, channels] as [M, 1, channels, 1, 1]."""
    return bias[:, None, :, None, None]


def _quarters(numbers: Tensor) -> tuple[Tensor, ...]:
    """View what lies in each of the four places of a pool's window."""
    return tuple(numbers[:, :, i, j] for i in range(POOL) for j in range(POOL))


def _widen(inputs: Tensor, size: int, stride: int) -> Tensor:
    """Repeat rows: [M, height, channels, width, B] to [M, height, size * channels, out * B]."""
    models, height, channels, width, batch = inputs.shape
    model, row, channel, column, sample = inputs.stride()
    out = (width - size) // stride + 1
    view = inputs.as_strided(
        (models, height, size, channels, out, batch),
        (model, row, column, channel, stride * column, sample),
        inputs.storage_offset(),
    )
    return view.contiguous().view(models, height, size * channels, out * batch)


def _narrow(wide: Tensor, size: int, shape: torch.Size) -> Tensor:
    """Add up what `_widen` repeated, for stride 1."""
    models, height, channels, width, batch = shape
    out = width - size + 1
    parts = wide.view(models, height, size, channels, out, batch)
    total = wide.new_zeros(shape)
    for shift in range(size):
        total[:, :, :, shift : shift + out] += parts[:, :, shift]
    return total


def _windows(wide: Tensor, models: int, size: int, stride: int) -> list[Tensor]:
    """View the windows of each row of the output as one matrix [M, k * k * channels, out * B]."""
    shared = wide.expand(models, -1, -1, -1)
    starts = range(0, wide.shape[1] - size + 1, stride)
    return [shared[:, start : start + size].flatten(1, 2) for start in starts]


def _products(wide: Tensor, weight: Tensor, stride: int, batch: int) -> Tensor:
    """Multiply weights and windows: [M, height, out, width, B] of the output."""
    models, out, _, size, _ = weight.shape
    # Windows are ordered by row, column, channel. Features first in memory: an eighth faster.
    matrix = weight.permute(0, 3, 4, 2, 1).reshape(models, -1, out).transpose(1, 2)
    windows = _windows(wide, models, size, stride)
    result = wide.new_empty((models, len(windows), out, wide.shape[-1]))
    for row, window in enumerate(windows):
        torch.bmm(matrix, window, out=result[:, row])
    return result.view(models, len(windows), out, -1, batch)


def _gradient_of_wide(gradients: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the widened input from that of the output [M, rows, out, width * B]."""
    models, out, channels, size, _ = weight.shape
    rows, height = gradients.shape[1], gradients.shape[1] + size - 1
    # Kernel rows in reverse: they then stand in the order of the output rows that they reach.
    matrix = weight.flip(3).permute(0, 4, 2, 3, 1).reshape(models, size * channels, size * out)
    result = gradients.new_empty((models, height, size * channels, gradients.shape[-1]))
    for row in range(height):
        first, last = max(0, row - size + 1), min(rows - 1, row)
        start = (size - 1 - row + first) * out
        reached = gradients[:, first : last + 1].flatten(1, 2)
        torch.bmm(matrix[:, :, start : start + reached.shape[1]], reached, out=result[:, row])
    return result
