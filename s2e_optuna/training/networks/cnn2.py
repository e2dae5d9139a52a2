"""Model 2 of Table 5."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2e_optuna.training.networks.base import InputShape, StackedNetwork, TrainingPass
from s2e_optuna.training.networks.layers import batch_norm, by_model, convolution, linear
from s2e_optuna.training.networks.sizes import require_side


class Cnn2(StackedNetwork):
    """3x3 convolutions 64, 64, pool, 128, 128, pool, 196, 16, pool, linear 256 -> C.

    Each convolution is padded and followed by batch normalisation and ReLU. The table prints
    196 for the last one too, which does not give the 256 numbers of the linear layer; 16
    channels of 4x4 do. Convolutions have no bias: the normalisation would remove it.
    """

    name = "cnn2"
    smallest_side = 8
    widths = (64, 64, 128, 128, 196, 16)

    def __init__(self, input_shape: InputShape, n_classes: int) -> None:
        require_side(self.name, input_shape, self.smallest_side)
        super().__init__(input_shape, n_classes)

    def plain(self) -> nn.Module:
        """Build the same layers as one `torch.nn.Sequential`."""
        channels, height, width = self.input_shape
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, size in enumerate(self.widths, 1):
            layers[f"conv{i}"] = nn.Conv2d(channels, size, 3, padding=1, bias=False)
            layers[f"norm{i}"] = nn.BatchNorm2d(size)
            layers[f"relu{i}"] = nn.ReLU()
            if i % 2 == 0:
                layers[f"pool{i // 2}"] = nn.MaxPool2d(2)
            channels = size
        layers["flatten"] = nn.Flatten()
        layers["output"] = nn.Linear(channels * (height // 8) * (width // 8), self.n_classes)
        return nn.Sequential(layers)

    def forward(
        self, state: Mapping[str, Tensor], images: Tensor, training: TrainingPass | None = None
    ) -> Tensor:
        """Convolve and normalise with models folded into channels, then one product a model."""
        hidden = images.contiguous(memory_format=torch.channels_last)
        for i in range(1, len(self.widths) + 1):
            hidden = convolution(hidden, state, f"conv{i}", padding=1, shared=i == 1)
            hidden = batch_norm(hidden, state, f"norm{i}", training)
            # ReLU after the pool is the same function on a quarter of the numbers.
            hidden = functional.max_pool2d(hidden, 2).relu() if i % 2 == 0 else hidden.relu()
        stacked = by_model(hidden, len(state["conv1.weight"]))
        return linear(stacked, state, "output").transpose(1, 2)
