"""Any `torch.nn.Module` as a stack: by `vmap` where it can, by a loop where it cannot."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from s2e_optuna.errors import DataError
from s2e_optuna.training.networks.base import (
    InputShape,
    NetworkFactory,
    StackedNetwork,
    TrainingPass,
)

# What a module raises when images do not fit it, or when vmap meets what it cannot batch.
_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)

# Networks are built with torch's own random numbers, which all threads of the process share.
_BUILDING = threading.Lock()


class ModuleNetwork(StackedNetwork):
    """Copies of a module that a factory builds.

    Batch normalisation keeps its own running statistics for each model, parameters that do not
    require gradients stay as they are, and dropout is drawn as `TrainingPass` says.

    Parameters
    ----------
    name
        What the network is called in reports and in saved models.
    factory
        Builds one freshly initialised network.
    input_shape, n_classes
        See `StackedNetwork`.
    execution
        ``"vmap"``, ``"loop"``, or ``"auto"``: a loop for networks with convolutions on CPU and
        for whatever vmap refuses, else vmap.
    device_type
        Where it will run, for ``"auto"``.
    own
        Whether the network is a user's own, so that its name does not say how to build it.

    Raises
    ------
    DataError
        The factory does not build a module that turns images into logits [B, C].
    """

    def __init__(
        self,
        name: str,
        factory: NetworkFactory,
        input_shape: InputShape,
        n_classes: int,
        *,
        execution: str = "auto",
        device_type: str = "cpu",
        own: bool = False,
    ) -> None:
        super().__init__(input_shape, n_classes)
        self.name = name
        self._build = factory
        self.factory = factory if own else None
        self.models_side_by_side = 2
        self._skeletons: dict[tuple[torch.device, bool], list[nn.Module]] = {}
        with self._skeleton(torch.device("cpu"), True) as module:
            self.uses_host_randomness = self._probe(module)
            self._is_convolutional = any(
                isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) for part in module.modules()
            )
        self.execution = self._choose(device_type) if execution == "auto" else execution
        # vmap turns convolutions into grouped ones.
        grouped = self._is_convolutional and self.execution == "vmap"
        self.cpu_threads = "one" if grouped else "same"

    def plain(self) -> nn.Module:
        """Call the factory."""
        module = self._build(self.input_shape, self.n_classes)
        if not isinstance(module, nn.Module):
            raise DataError(
                f"network {self.name} built a {type(module).__name__}: its factory has to return "
                "a torch.nn.Module"
            )
        return module

    def forward(
        self, state: Mapping[str, Tensor], images: Tensor, training: TrainingPass | None = None
    ) -> Tensor:
        """Run the models side by side (vmap) or one after the other (loop)."""
        run = self._by_vmap if self.execution == "vmap" else self._by_loop
        return run(state, images, training)

    def _by_vmap(
        self, state: Mapping[str, Tensor], images: Tensor, training: TrainingPass | None
    ) -> Tensor:
        networks = 1 if training is None else training.networks
        by_trial = {
            name: torch.unflatten(tensor, 0, (-1, networks)) for name, tensor in state.items()
        }
        seed = self._draw_seed(training)
        with self._skeleton(images.device, training is not None) as module:

            def one(tensors: dict[str, Tensor]) -> Tensor:
                logits: Tensor = functional_call(module, tensors, (images,))
                return logits

            with _seeded(images.device, seed):
                # Dropout differs between the networks of a trial and is the same for all trials.
                run = vmap(vmap(one, randomness="different"), randomness="same")
                logits: Tensor = run(by_trial)
        return logits.flatten(0, 1)

    def _by_loop(
        self, state: Mapping[str, Tensor], images: Tensor, training: TrainingPass | None
    ) -> Tensor:
        if images.device.type == "cpu" and self._is_convolutional:
            # A tenth faster; layers hand the layout on.
            images = images.contiguous(memory_format=torch.channels_last)
        # One unbind: its gradient is one stack, where indexing would add up M full tensors.
        columns = {name: tensor.unbind(0) for name, tensor in state.items()}
        networks = 1 if training is None else training.networks
        seed = self._draw_seed(training)
        outputs = []
        with self._skeleton(images.device, training is not None) as module:
            for m in range(len(next(iter(columns.values())))):
                tensors = {name: column[m] for name, column in columns.items()}
                with _seeded(images.device, None if seed is None else seed + m % networks):
                    outputs.append(functional_call(module, tensors, (images,)))
        return torch.stack(outputs)

    def _draw_seed(self, training: TrainingPass | None) -> int | None:
        if training is None or not self.uses_host_randomness:
            return None
        generator = training.generator
        drawn = torch.randint(2**62, (), generator=generator, device=generator.device)
        return int(drawn)

    @contextmanager
    def _skeleton(self, device: torch.device, training: bool) -> Iterator[nn.Module]:
        """Lend the module's structure, whose tensors a call replaces, to one thread at a time."""
        free = self._skeletons.setdefault((device, training), [])
        try:
            module = free.pop()
        except IndexError:
            with _BUILDING, torch.random.fork_rng(devices=[]):
                module = self.plain().to(device).train(training)
        try:
            yield module
        finally:
            free.append(module)

    def _probe(self, module: nn.Module) -> bool:
        """Try a training pass of the plain network; say whether it draws random numbers."""
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            before = torch.get_rng_state()
            try:
                logits = module(torch.zeros(2, *self.input_shape))
            except _REFUSALS as error:
                raise DataError(
                    f"network {self.name} does not take images of {list(self.input_shape)} "
                    f"(channels, height, width): {error}"
                ) from error
            if not isinstance(logits, Tensor) or logits.shape != (2, self.n_classes):
                shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise DataError(
                    f"network {self.name} returns {shape} for 2 images: it has to return logits "
                    f"[2, {self.n_classes}], one number a class"
                )
            return not torch.equal(before, torch.get_rng_state())

    def _choose(self, device_type: str) -> str:
        if device_type == "cpu" and self._is_convolutional:
            # vmap turns convolutions into grouped ones of the default layout: slower than a loop.
            return "loop"
        training = TrainingPass(2, torch.Generator().manual_seed(0))
        try:
            with torch.no_grad():
                self._by_vmap(self.initial([0, 1]), torch.zeros(2, *self.input_shape), training)
        except _REFUSALS:
            return "loop"
        return "vmap"


@contextmanager
def _seeded(device: torch.device, seed: int | None) -> Iterator[None]:
    """Seed torch's own generators for a while; None leaves them alone."""
    if seed is None:
        yield
        return
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
