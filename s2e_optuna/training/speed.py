"""How fast each way to run a stack is on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from s2e_optuna.device import keep_freed_memory, using_threads
from s2e_optuna.training.evaluation import sample_losses
from s2e_optuna.training.networks import (
    InputShape,
    StackedNetwork,
    TrainingPass,
    executions_of,
    make_network,
)

BATCH_SIZE = 128
CASES: tuple[tuple[str, InputShape], ...] = (
    ("mlp", (1, 28, 28)),
    ("cnn1", (1, 28, 28)),
    ("cnn1", (3, 32, 32)),
    ("cnn2", (3, 32, 32)),
)
"""Networks and the images that they are measured on: those of MNIST and of CIFAR."""


@dataclass(frozen=True)
class Timing:
    """Seconds of a forward and backward pass of a batch of 128, for one network of a stack.

    Attributes
    ----------
    network, input_shape, execution
        What was run, on which images, and how.
    models
        Networks side by side.
    seconds
        Time divided by the number of networks; the fastest of several.
    chosen
        Whether ``execution="auto"`` runs the network so.
    """

    network: str
    input_shape: InputShape
    execution: str
    models: int
    seconds: float
    chosen: bool


def measure_executions(device: torch.device, repeats: int = 3) -> Iterator[Timing]:
    """Measure every execution of some networks, one after the other; on CPU with one thread.

    Parameters
    ----------
    device
        Where.
    repeats
        The fastest of so many counts.
    """
    keep_freed_memory()  # as a training does
    for name, shape in CASES:
        auto = make_network(name, shape, 10, device_type=device.type)
        models = 2 if name == "cnn2" else 8
        for execution in executions_of(name)[1:]:
            network = make_network(name, shape, 10, execution=execution)
            with using_threads(1):  # as in a training with more trials than threads
                seconds = step_seconds(network, models, device, repeats)
            yield Timing(name, shape, execution, models, seconds, execution == auto.execution)


def step_seconds(
    network: StackedNetwork, models: int, device: torch.device, repeats: int = 3
) -> float:
    """Measure a forward and backward pass of a batch of 128, in seconds a network.

    Parameters
    ----------
    network
        Architecture.
    models
        Networks side by side, an even number.
    device
        Where.
    repeats
        The fastest of so many counts.
    """
    state = {
        name: tensor.to(device) for name, tensor in network.initial([0, 1], models // 2).items()
    }
    parameters = [state[n].requires_grad_() for n in state if n in network.parameter_names]
    training = TrainingPass(2, torch.Generator(device).manual_seed(0))
    images = torch.rand(BATCH_SIZE, *network.input_shape, device=device)
    labels = torch.arange(BATCH_SIZE, device=device) % network.n_classes
    # Processor time: what else runs on the machine then counts for little.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    best = float("inf")
    for _ in range(repeats + 1):  # the first one allocates
        _wait(device)
        start = clock()
        losses = sample_losses(network.forward(state, images, training), labels)
        torch.autograd.grad(losses, parameters, torch.ones_like(losses))
        _wait(device)
        best = min(best, clock() - start)
    return best / models


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
