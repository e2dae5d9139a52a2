"""Networks whose copies stand side by side: parameters of M models in tensors [M, ...].

| symbol | meaning | shape |
|---|---|---|
| M | models in the stack | |
| B | samples in the batch, shared by all models | |
| C | classes | |
| parameters | name in the plain network -> stacked tensor | [M, ...] |
| images | scaled pixels | [B, channels, height, width] |
| logits | | [M, B, C] |

Every stacked network has a plain `torch.nn` twin with the same parameter names. The twin gives
the initial weights (so they follow PyTorch's own law) and is what a user takes home.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2e_optuna.training.errors import DataError, unknown_name

Parameters = dict[str, Tensor]
InputShape = tuple[int, int, int]


class StackedNetwork(ABC):
    """One architecture for one input shape, run for M models at once.

    Parameters
    ----------
    input_shape
        Channels, height and width of an image.
    n_classes
        Number of outputs.
    """

    name: ClassVar[str]

    def __init__(self, input_shape: InputShape, n_classes: int) -> None:
        self.input_shape = input_shape
        self.n_classes = n_classes

    @abstractmethod
    def plain(self) -> nn.Module:
        """Build the ordinary network of one model, freshly initialised."""

    @abstractmethod
    def forward(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Compute logits [M, B, C] of all models for images [B, channels, height, width]."""

    @property
    @abstractmethod
    def activations(self) -> int:
        """Numbers that one model holds for one sample in its widest layer."""

    def initial(self, seeds: Sequence[int], copies: int = 1) -> Parameters:
        """Draw one model for each seed and repeat the group.

        Parameters
        ----------
        seeds
            One seed a network of a trial.
        copies
            Trials P; each gets the same group of networks.

        Returns
        -------
        dict
            Parameters with M = copies * len(seeds) models, those of a trial side by side.
        """
        states = []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.default_generator.manual_seed(seed)
                states.append(self.plain().state_dict())
        return {
            name: torch.stack([state[name] for state in states] * copies).contiguous()
            for name in states[0]
        }


class Mlp(StackedNetwork):
    """Input - 256 - C with ReLU; the input is flattened, whatever its size."""

    name = "mlp"
    hidden = 256

    def plain(self) -> nn.Module:
        """Build flatten, linear, ReLU, linear."""
        channels, height, width = self.input_shape
        return nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden=nn.Linear(channels * height * width, self.hidden),
                relu=nn.ReLU(),
                output=nn.Linear(self.hidden, self.n_classes),
            )
        )

    def forward(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Multiply the shared input with all first layers at once, then one product a model."""
        weight, bias = parameters["hidden.weight"], parameters["hidden.bias"]
        models = len(weight)
        hidden = torch.addmm(bias.flatten(), images.flatten(1), weight.flatten(0, 1).t()).relu_()
        by_model = hidden.view(len(images), models, self.hidden).transpose(0, 1)
        return _linear(by_model, parameters, "output")

    @property
    def activations(self) -> int:
        """Width of the hidden layer."""
        return self.hidden


class Cnn1(StackedNetwork):
    """LeNet: conv 5x5 6, pool, conv 5x5 16, pool, 120, 84, C; no padding.

    Models are folded into channels: the first convolution, whose input is shared, is one
    ordinary convolution with 6 M outputs, the second a grouped one. Both run in channels_last,
    which took half the time of the default layout on CPU.
    """

    name = "cnn1"
    smallest_side = 16

    def __init__(self, input_shape: InputShape, n_classes: int) -> None:
        _, height, width = input_shape
        if min(height, width) < self.smallest_side:
            raise DataError(
                f"network cnn1 needs images of at least {self.smallest_side}x"
                f"{self.smallest_side} pixels, these are {height}x{width}: use network mlp"
            )
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

    def forward(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Convolve with models folded into channels, then one product a model and layer."""
        models = len(parameters["conv1.weight"])
        images = images.contiguous(memory_format=torch.channels_last)
        hidden = _convolution(images, parameters, "conv1", groups=1)
        # ReLU after the pool is the same function on a quarter of the numbers.
        hidden = functional.max_pool2d(hidden, 2).relu()
        hidden = _convolution(hidden, parameters, "conv2", groups=models)
        hidden = functional.max_pool2d(hidden, 2).relu()
        by_model = hidden.reshape(len(images), models, -1).transpose(0, 1)
        by_model = _linear(by_model, parameters, "full1").relu()
        by_model = _linear(by_model, parameters, "full2").relu()
        return _linear(by_model, parameters, "output")

    @property
    def activations(self) -> int:
        """Numbers behind the first convolution."""
        _, height, width = self.input_shape
        return 6 * (height - 4) * (width - 4)


def _linear(inputs: Tensor, parameters: Mapping[str, Tensor], layer: str) -> Tensor:
    """Apply M linear layers to inputs [M, B, in]."""
    weight, bias = parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]
    return torch.baddbmm(bias.unsqueeze(1), inputs, weight.transpose(1, 2))


def _convolution(
    inputs: Tensor, parameters: Mapping[str, Tensor], layer: str, groups: int
) -> Tensor:
    """Apply M convolutions; channels of `inputs` are shared (groups 1) or M blocks."""
    weight, bias = parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]
    return functional.conv2d(inputs, weight.flatten(0, 1), bias.flatten(), groups=groups)


NETWORKS: dict[str, type[StackedNetwork]] = {Mlp.name: Mlp, Cnn1.name: Cnn1}
"""Networks by name."""


def make_network(name: str, input_shape: InputShape, n_classes: int) -> StackedNetwork:
    """Build a network by name; ``auto`` takes cnn1 for colour images it fits, else mlp.

    Raises
    ------
    DataError
        The name is unknown or the images are too small for the network.
    """
    if name == "auto":
        channels, height, width = input_shape
        colour = channels > 1 and min(height, width) >= Cnn1.smallest_side
        name = Cnn1.name if colour else Mlp.name
    if name not in NETWORKS:
        raise unknown_name("network", name, ["auto", *NETWORKS])
    return NETWORKS[name](input_shape, n_classes)


@dataclass(frozen=True, eq=False)
class StackedModels:
    """A network and the parameters of M models of it."""

    network: StackedNetwork
    parameters: Parameters

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def state(self, index: int) -> Parameters:
        """Copy one model's parameters to the CPU, named as in the plain network."""
        return {name: p[index].detach().cpu().clone() for name, p in self.parameters.items()}


def unstack(stacked: StackedModels, index: int) -> nn.Module:
    """Return one model of a stack as an ordinary `torch.nn` network on the CPU."""
    module = stacked.network.plain()
    module.load_state_dict(stacked.state(index))
    return module
