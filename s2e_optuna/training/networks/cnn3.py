"""Model 3 of Table 5."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2e_optuna.training.networks.base import InputShape, StackedNetwork, TrainingPass
from s2e_optuna.training.networks.layers import (
    batch_norm,
    by_model,
    convolution,
    dropout,
    linear,
)
from s2e_optuna.training.networks.sizes import require_side


class Cnn3(StackedNetwork):
    """Nine 3x3 convolutions: 128 x3, pool, 256 x3, pool, 512, 256, 128, average, linear -> C.

    The last three are not padded. Batch normalisation and leaky ReLU (0.01) follow each
    convolution, dropout (0.25) each pool. Convolutions have no bias: the normalisation would
    remove it.
    """

    name = "cnn3"
    smallest_side = 28
    widths = (128, 128, 128, 256, 256, 256, 512, 256, 128)
    slope = 0.01
    dropout = 0.25

    def __init__(self, input_shape: InputShape, n_classes: int) -> None:
        require_side(self.name, input_shape, self.smallest_side)
        super().__init__(input_shape, n_classes)

    @classmethod
    def padding(cls, layer: int) -> int:
        """Return the padding of a convolution, counted from 1."""
        return 1 if layer <= 6 else 0

    def plain(self) -> nn.Module:
        """Build the same layers as one `torch.nn.Sequential`."""
        channels = self.input_shape[0]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, size in enumerate(self.widths, 1):
            layers[f"conv{i}"] = nn.Conv2d(channels, size, 3, padding=self.padding(i), bias=False)
            layers[f"norm{i}"] = nn.BatchNorm2d(size)
            layers[f"relu{i}"] = nn.LeakyReLU(self.slope)
            if i in (3, 6):
                layers[f"pool{i // 3}"] = nn.MaxPool2d(2)
                layers[f"dropout{i // 3}"] = nn.Dropout(self.dropout)
            channels = size
        layers["average"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["output"] = nn.Linear(channels, self.n_classes)
        return nn.Sequential(layers)

    def forward(
        self, state: Mapping[str, Tensor], images: Tensor, training: TrainingPass | None = None
    ) -> Tensor:
        """Convolve and normalise with models folded into channels, then one product a model."""
        models = len(state["conv1.weight"])
        hidden = images.contiguous(memory_format=torch.channels_last)
        for i in range(1, len(self.widths) + 1):
            hidden = convolution(hidden, state, f"conv{i}", padding=self.padding(i), shared=i == 1)
            hidden = batch_norm(hidden, state, f"norm{i}", training)
            if i in (3, 6):
                hidden = functional.leaky_relu(functional.max_pool2d(hidden, 2), self.slope)
                hidden = dropout(hidden, models, self.dropout, training)
            else:
                hidden = functional.leaky_relu(hidden, self.slope)
        averaged = functional.adaptive_avg_pool2d(hidden, 1)
        return linear(by_model(averaged, models), state, "output").transpose(1, 2)
