"""A trained model that stands on its own: prediction, saving, loading."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from s2e_optuna.data.noisy_data import as_images
from s2e_optuna.data.preparation import PIXELS, Preparation
from s2e_optuna.data.streaming import ImageFiles, prepared
from s2e_optuna.device import on_device, resolve_device
from s2e_optuna.errors import DataError
from s2e_optuna.training.evaluation import iterate_probabilities
from s2e_optuna.training.networks import (
    InputShape,
    NetworkFactory,
    Parameters,
    StackedModels,
    StackedNetwork,
    make_network,
    unstack,
)
from s2e_optuna.writable import whole_file

FORMAT = "s2e_optuna model 1"

_PREPARATION = "preparation."
"""Begins the names of the arrays of a model's `Preparation` in its file."""


@dataclass(frozen=True, eq=False)
class Model:
    """One or more networks of the same architecture whose probabilities are averaged.

    Attributes
    ----------
    network
        Name in `NETWORKS`, or ``"package.module:function"`` of a user's own.
    input_shape
        Channels, height and width.
    class_names
        Names of the C classes, in the order of the outputs.
    states
        State dict of each network's plain `torch.nn` twin, on the CPU.
    factory
        What builds the network where the name alone does not tell.
    preparation
        What is done to images before the networks get them.
    """

    network: str
    input_shape: InputShape
    class_names: tuple[str, ...]
    states: tuple[Parameters, ...]
    factory: NetworkFactory | None = None
    preparation: Preparation = PIXELS

    def stacked(self, device_type: str = "cpu") -> StackedModels:
        """Put the networks side by side again, to be run on such a device."""
        architecture: StackedNetwork = make_network(
            self.factory or self.network,
            self.input_shape,
            len(self.class_names),
            device_type=device_type,
        )
        names = self.states[0]
        return StackedModels(
            architecture, {name: torch.stack([s[name] for s in self.states]) for name in names}
        )

    def modules(self) -> list[nn.Module]:
        """Return the networks as ordinary `torch.nn` modules in evaluation mode.

        They take prepared images, scaled to [0, 1] where those are pixels.
        """
        stacked = self.stacked()
        return [unstack(stacked, index).eval() for index in range(len(self.states))]


def predict_proba(
    model: Model, images: ArrayLike | Tensor | ImageFiles, device: str = "cpu"
) -> NDArray[np.float32]:
    """Predict class probabilities, averaged over the model's networks.

    Parameters
    ----------
    model
        A trained model.
    images
        In any layout and on the scale that the training data had, or files, with the model's
        image size.
    device
        Where to compute: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns
    -------
    ndarray
        float32 [N, C].

    Raises
    ------
    DataError
        The images are of another size or scale, or cannot be read as images; there is no such
        device.
    """
    checked = images if isinstance(images, ImageFiles) else as_images(images, "new")
    if tuple(checked.shape[1:]) != tuple(model.input_shape):
        raise DataError(
            f"the images are {list(checked.shape[1:])} (channels, height, width), the model was "
            f"trained on {list(model.input_shape)}: bring them to that size"
        )
    if isinstance(checked, Tensor):
        model.preparation.check(checked)
    checked = prepared(checked, model.preparation)
    place = resolve_device(device)
    stacked = model.stacked(place.type)
    with on_device(place):
        tensors = {name: tensor.to(place) for name, tensor in stacked.parameters.items()}
        chunks = iterate_probabilities(
            stacked.network, tensors, checked, networks=len(model.states)
        )
        found: NDArray[np.float32] = torch.cat([chunk[0].cpu() for chunk in chunks]).numpy()
    return found


def save_model(model: Model, path: str | Path) -> None:
    """Write a model to a safetensors file; its metadata say how to rebuild the network."""
    tensors = {
        f"{index}.{name}": tensor.contiguous()
        for index, state in enumerate(model.states)
        for name, tensor in state.items()
    }
    metadata = {
        "format": FORMAT,
        "network": model.network,
        "input_shape": json.dumps(list(model.input_shape)),
        "class_names": json.dumps(list(model.class_names)),
    }
    metadata["preparation"], arrays = model.preparation.stored()
    tensors |= {f"{_PREPARATION}{name}": array for name, array in arrays.items()}
    with whole_file(path) as place:
        # Bytes: a file that safetensors writes by itself can be read by nobody else (mode 600).
        place.write_bytes(save(tensors, metadata=metadata))


def load_model(path: str | Path, factory: NetworkFactory | None = None) -> Model:
    """Read what `save_model` wrote.

    Parameters
    ----------
    path
        A safetensors file.
    factory
        What builds the network of a model with a network of your own. It has to be given: a
        file does not decide what code is imported.

    Raises
    ------
    DataError
        The file is missing, damaged or not such a model, or its network needs a `factory`.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read a model from {path}: {error}") from error
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path} is not a model saved by s2e_optuna: it lacks the description")
    name = metadata.get("network", "")
    if factory is None and ":" in name:  # a user's own, see network_name
        raise DataError(
            f"the model in {path} has a network of its own, {name}: "
            "hand load_model the function that builds it, as factory"
        )
    try:
        arrays = {
            name.removeprefix(_PREPARATION): tensors.pop(name)
            for name in list(tensors)
            if name.startswith(_PREPARATION)
        }
        states: dict[int, Parameters] = {}
        for key, tensor in tensors.items():
            index, name = key.split(".", 1)
            states.setdefault(int(index), {})[name] = tensor
        channels, height, width = json.loads(metadata["input_shape"])
        model = Model(
            network=metadata["network"],
            input_shape=(channels, height, width),
            class_names=tuple(json.loads(metadata["class_names"])),
            states=tuple(states[index] for index in sorted(states)),
            factory=factory,
            preparation=Preparation.from_stored(metadata.get("preparation"), arrays),
        )
        model.modules()  # every parameter is there and has its shape
    except (KeyError, IndexError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"the model in {path} is not complete ({error}): save it again") from error
    return model
