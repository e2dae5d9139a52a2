"""Networks whose copies stand side by side: parameters of M models in tensors [M, ...].

| symbol | meaning | shape |
|---|---|---|
| M | models in the stack; the networks of a trial lie side by side | |
| B | samples in the batch, shared by all models | |
| C | classes | |
| state | name in the plain network -> stacked parameter or buffer | [M, ...] |
| images | scaled pixels | [B, channels, height, width] |
| logits | | [M, B, C] |

Every stacked network has a plain `torch.nn` twin with the same parameter names. The twin gives
the initial weights (so they follow PyTorch's own law) and is what a user takes home.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

Parameters = dict[str, Tensor]
InputShape = tuple[int, int, int]

NetworkFactory = Callable[[InputShape, int], nn.Module]
"""Builds a network: ``factory((channels, height, width), n_classes)``."""


@dataclass(frozen=True, eq=False)
class TrainingPass:
    """A forward pass of a training step; without one, networks are in evaluation mode.

    Batch normalisation uses the batch and moves its running statistics in place. Dropout is
    drawn for each network of a trial and is the same for all trials, like the batches: a trial
    depends on the seed and not on its neighbours.

    Attributes
    ----------
    networks
        Networks of a trial.
    generator
        Where dropout is drawn from, on the device of the stack.
    """

    networks: int
    generator: torch.Generator


@dataclass(frozen=True)
class Footprint:
    """What one model needs for one sample.

    Attributes
    ----------
    parameters
        Numbers that are trained.
    widest, total
        Numbers in the largest output of a layer, and in all of them together.
    operations
        Of linear layers and convolutions in a forward pass.
    """

    parameters: int
    widest: int
    total: int
    operations: int


class StackedNetwork(ABC):
    """One architecture for one input shape, run for M models at once.

    Parameters
    ----------
    input_shape
        Channels, height and width of an image.
    n_classes
        Number of outputs.

    Attributes
    ----------
    name
        Name in the registry, or where a user's own factory is defined.
    execution
        How the models are run: see `EXECUTIONS`.
    factory
        What builds the plain network where that is not told by the name alone.
    models_side_by_side
        Models that a CPU trains fastest side by side, as measured.
    uses_host_randomness
        Whether a training pass seeds generators from the host: no CUDA graph can record that,
        and threads would draw each other's numbers.
    takes_own_batches
        Whether `forward` takes images of each model's own [M, B, channels, height, width], too.
    cpu_threads
        With how many threads a model's numbers do not depend on its neighbours by a bit:
        ``"any"``, ``"same"`` (always the same number) or ``"one"``. The gradient of a convolution
        is summed up in parts, one a thread; that of a grouped one depends on the groups, too.
        Products so small that threads only wait for each other want ``"one"`` as well.
    """

    name: str
    execution: str = "folded"
    models_side_by_side: int = 8
    uses_host_randomness: bool = False
    takes_own_batches: bool = False
    cpu_threads: Literal["any", "same", "one"] = "one"
    factory: NetworkFactory | None = None

    def __init__(self, input_shape: InputShape, n_classes: int) -> None:
        self.input_shape = input_shape
        self.n_classes = n_classes

    @abstractmethod
    def plain(self) -> nn.Module:
        """Build the ordinary network of one model, freshly initialised."""

    @abstractmethod
    def forward(
        self, state: Mapping[str, Tensor], images: Tensor, training: TrainingPass | None = None
    ) -> Tensor:
        """Compute logits [M, B, C] of all models for images [B, channels, height, width].

        Parameters
        ----------
        state
            Stacked parameters and buffers by name.
        images
            Shared by all models.
        training
            None for evaluation. Otherwise buffers in `state` may be changed in place: hand in
            copies to keep them.
        """

    def check_weights(self) -> None:  # noqa: B027 - most networks need none
        """Raise a `DataError` if weights that it begins with are not to be had."""

    @cached_property
    def parameter_names(self) -> frozenset[str]:
        """Names in the state that are trained; the others are buffers or frozen."""
        return frozenset(n for n, p in self.plain().named_parameters() if p.requires_grad)

    @cached_property
    def footprint(self) -> Footprint:
        """What one model needs for one sample, counted on the plain network."""
        module = self.plain().eval()
        sizes: list[int] = []
        # (PyTorch's own counter of operations imports its compiler, which takes a second.)
        operations: list[int] = []

        def note(layer: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not isinstance(layer, nn.Flatten):
                sizes.append(output.numel())
                if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                    weight = layer.weight
                    operations.append(2 * weight.numel() * output.numel() // len(weight))

        for part in module.modules():
            if not any(True for _ in part.children()):
                part.register_forward_hook(note)
        with torch.no_grad():
            outputs = module(torch.zeros(1, *self.input_shape))
        sizes.append(outputs.numel())
        parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
        return Footprint(parameters, max(sizes), sum(sizes), sum(operations))

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
            State with M = copies * len(seeds) models, those of a trial side by side.
        """
        states = []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.default_generator.manual_seed(seed)
                states.append(tensors_of(self.plain()))
        return {
            name: torch.stack([state[name] for state in states] * copies).contiguous()
            for name in states[0]
        }


@dataclass(frozen=True, eq=False)
class StackedModels:
    """A network and the state of M models of it."""

    network: StackedNetwork
    parameters: Parameters

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def state(self, index: int) -> Parameters:
        """Copy one model's parameters and buffers to the CPU, named as in the plain network."""
        return {name: p[index].detach().cpu().clone() for name, p in self.parameters.items()}


def unstack(stacked: StackedModels, index: int) -> nn.Module:
    """Return one model of a stack as an ordinary `torch.nn` network on the CPU."""
    module = stacked.network.plain()
    state = stacked.state(index)
    # A tied parameter is in the state once and in the module's own list twice.
    missing = set(tensors_of(module)) - set(state)
    outcome = module.load_state_dict(state, strict=False)
    if missing or outcome.unexpected_keys:
        raise KeyError(*sorted(missing), *outcome.unexpected_keys)
    return module


def tensors_of(module: nn.Module) -> Parameters:
    """Return parameters and saved buffers by name, each tied parameter once."""
    saved = module.state_dict()
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach() for name, tensor in named if name in saved}
