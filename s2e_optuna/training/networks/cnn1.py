"""Model 1 of Table 5: LeNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2e_optuna.training.networks.base import InputShape, StackedNetwork, TrainingPass
from s2e_optuna.training.networks.layers import by_model, convolution, linear
from s2e_optuna.training.networks.sizes import require_side
from s2e_optuna.training.networks.unfolded import convolve_pool_relu, features, samples_last


class Cnn1(StackedNetwork):
    """LeNet: conv 5x5 6, pool, conv 5x5 16, pool, 120, 84, C; no padding.

    Models are folded into channels: the first convolution, whose input is shared, is one
    ordinary convolution with 6 M outputs, the second a grouped one. Both run in channels_last,
    which took half the time of the default layout on CPU.
    """

    name = "cnn1"
    smallest_side = 16

    def __init__(self, input_shape: InputShape, n_classes: int) -> None:
        require_side(self.name, input_shape, self.smallest_side)
        super().__init__(input_shape, n_classes)

    def plain(self) -> nn.Module:
        """Build the same layers as one `torch.nn.Sequential`."""
        channels, height, width = self.input_shape
        flat = 16 * (((height - 4) // 2 - 4) // 2) * (((width - 4) // 2 - 4) // 2)
        return nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels, 6, 5),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(6, 16, 5),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                full1=nn.Linear(flat, 120),
                relu3=nn.ReLU(),
                full2=nn.Linear(120, 84),
                relu4=nn.ReLU(),
                output=nn.Linear(84, self.n_classes),
            )
        )

    def forward(
        self, state: Mapping[str, Tensor], images: Tensor, training: TrainingPass | None = None
    ) -> Tensor:
        """Convolve with models folded into channels, then one product a model and layer."""
        models = len(state["conv1.weight"])
        images = images.contiguous(memory_format=torch.channels_last)
        hidden = convolution(images, state, "conv1", shared=True)
        # ReLU after the pool is the same function on a quarter of the numbers.
        hidden = functional.max_pool2d(hidden, 2).relu()
        hidden = convolution(hidden, state, "conv2")
        hidden = functional.max_pool2d(hidden, 2).relu()
        stacked = by_model(hidden, models)
        stacked = linear(stacked, state, "full1").relu()
        stacked = linear(stacked, state, "full2").relu()
        return linear(stacked, state, "output").transpose(1, 2)


class UnfoldedCnn1(Cnn1):
    """LeNet for a CPU and images of one channel: convolutions as products, samples last.

    Its time is 0.5 to 0.66 of the folded one for 1x16x16, 1x28x28 and 1x64x64, and 1.2 to 1.4
    times it for two channels or three (16 to 64 pixels wide), of which the library's convolutions
    make better use; one thread, 2 and 8 networks side by side, batches of 128.
    """

    execution = "unfold"

    def forward(
        self, state: Mapping[str, Tensor], images: Tensor, training: TrainingPass | None = None
    ) -> Tensor:
        """Multiply windows of the images; what repeats them is shared by all models."""
        hidden = convolve_pool_relu(samples_last(images), state, "conv1")
        hidden = convolve_pool_relu(hidden, state, "conv2")
        stacked = features(hidden)
        stacked = linear(stacked, state, "full1").relu()
        stacked = linear(stacked, state, "full2").relu()
        return linear(stacked, state, "output").transpose(1, 2)
