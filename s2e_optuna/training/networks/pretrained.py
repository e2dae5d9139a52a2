"""Classifiers of torchvision with trained weights, all of which are trained further."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from s2e_optuna.data.pretrained_networks import last_layer, torchvision_weights, trained_classifier
from s2e_optuna.data.torchvision_support import torchvision_module
from s2e_optuna.errors import DataError
from s2e_optuna.training.networks.base import InputShape, NetworkFactory, Parameters, tensors_of
from s2e_optuna.training.networks.modules import ModuleNetwork

ENDING = "-pretrained"
"""Ends the names of these networks."""


class Pretrained(nn.Module):
    """A classifier of torchvision that takes images in 0..1, grey or in colour.

    Parameters
    ----------
    name
        Of the classifier.
    channels
        Of the images; grey ones are shown in all three colours.
    n_classes
        Number of outputs.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, channels: int, n_classes: int) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise DataError(
                f"the images have {channels} channels, and {name}{ENDING} takes grey ones and "
                "colours: choose another `network`"
            )
        self.network: nn.Module = torchvision_module("models").get_model(name, weights=None)
        above, own, layer = last_layer(self.network)
        assert isinstance(layer, nn.Linear)
        setattr(above, own, nn.Linear(layer.in_features, n_classes))
        scaling = torchvision_weights(name).transforms()
        self.register_buffer("mean", torch.tensor(scaling.mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(scaling.std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.network((images - self.mean) / self.deviation)
        return logits


def _factory(name: str) -> NetworkFactory:
    def build(input_shape: InputShape, n_classes: int) -> nn.Module:
        if tuple(input_shape[:2]) == (1, 1):
            raise DataError(
                f"the network {name}{ENDING} is for images, and the samples are rows of "
                f"{input_shape[2]:,} numbers: leave `network` out, or choose mlp"
            )
        return Pretrained(name, input_shape[0], n_classes)

    return build


PRETRAINED: dict[str, NetworkFactory] = {
    f"{name}{ENDING}": _factory(name) for name in ("resnet18", "resnet50", "densenet121")
}
"""Networks that begin with trained weights; built without them, for a model brings its own."""


class PretrainedNetwork(ModuleNetwork):
    """Copies of such a network; see `ModuleNetwork`.

    They begin with the trained weights, and differ in their last layers, which are drawn.
    """

    def trained(self) -> Parameters:
        """Return the trained weights, named as in the plain network; not those of the classes.

        Raises
        ------
        DataError
            They are neither on this machine nor can they be fetched.
        """
        module = trained_classifier(self.name.removesuffix(ENDING))
        above, own, _ = last_layer(module)
        setattr(above, own, nn.Identity())
        return {f"network.{name}": tensor for name, tensor in tensors_of(module).items()}

    def initial(self, seeds: Sequence[int], copies: int = 1) -> Parameters:
        """Draw the last layers, and take the rest as it was trained; see `StackedNetwork`."""
        found = super().initial(seeds, copies)
        for name, tensor in self.trained().items():
            found[name].copy_(tensor)
        return found

    def check_weights(self) -> None:
        """Raise a `DataError` if the trained weights are not to be had."""
        self.trained()
