"""Networks of torchvision with the right number of channels and classes, not pretrained."""

from __future__ import annotations

from torch import nn

from s2e_optuna.data.torchvision_support import torchvision_module
from s2e_optuna.training.networks.base import InputShape

SMALL_SIDE = 64
"""Below this, the first layers' strides would leave next to nothing of an image."""


def resnet18(input_shape: InputShape, n_classes: int) -> nn.Module:
    """Build ResNet-18; small images get a 3x3 first convolution and no first pool."""
    return _resnet("resnet18", input_shape, n_classes)


def resnet50(input_shape: InputShape, n_classes: int) -> nn.Module:
    """Build ResNet-50; small images get a 3x3 first convolution and no first pool."""
    return _resnet("resnet50", input_shape, n_classes)


def densenet121(input_shape: InputShape, n_classes: int) -> nn.Module:
    """Build DenseNet-121; small images get a 3x3 first convolution and no first pool."""
    module: nn.Module = torchvision_module("models").densenet121(
        weights=None, num_classes=n_classes
    )
    features = module.get_submodule("features")
    features.conv0 = _first(input_shape, 64)
    if _is_small(input_shape):
        features.pool0 = nn.Identity()
    return module


def _resnet(name: str, input_shape: InputShape, n_classes: int) -> nn.Module:
    build = getattr(torchvision_module("models"), name)
    module: nn.Module = build(weights=None, num_classes=n_classes)
    first = _first(input_shape, 64)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    module.conv1 = first
    if _is_small(input_shape):
        module.maxpool = nn.Identity()
    return module


def _first(input_shape: InputShape, width: int) -> nn.Conv2d:
    if _is_small(input_shape):
        return nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False)
    return nn.Conv2d(input_shape[0], width, 7, stride=2, padding=3, bias=False)


def _is_small(input_shape: InputShape) -> bool:
    return min(input_shape[1:]) < SMALL_SIDE
