"""Feature networks of a user's own: small, random, and counting what they are given."""

import numpy as np
import torch
from torch import nn

seen = {"images": 0, "batches": 0}
"""What networks were given, in this process."""


class Edges(nn.Module):
    """Random filters, averaged over the image: 24 numbers."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.filters = nn.Parameter(torch.randn(width, 3, 3, 3, generator=generator))

    def forward(self, images):
        seen["images"] += len(images)
        seen["batches"] += 1
        return torch.relu(nn.functional.conv2d(images, self.filters)).mean((2, 3))


def as_tensor(image):
    """Resize in Pillow, and scale to [0, 1]."""
    assert image.mode == "RGB"
    return torch.tensor(np.asarray(image.resize((9, 9))) / 255.0).permute(2, 0, 1).float()


def small():
    return Edges(), as_tensor


def plain():
    return Edges()


def wide():
    return Edges(600), as_tensor


def other_weights():
    network = Edges()
    with torch.no_grad():
        network.filters[0, 0, 0, 0] += 1
    return network, as_tensor


def other_preprocessing():
    return Edges(), lambda image: as_tensor(image) * 2


def random_preprocessing():
    return Edges(), lambda image: as_tensor(image) + torch.rand(1)


def maps():
    return nn.Identity(), as_tensor


def broken():
    return nn.Linear(5, 2), as_tensor


def not_finite():
    return nn.Flatten(), lambda image: as_tensor(image) * float("inf")


def no_network():
    return "a network"
