"""Refusal of images that are too small for a network."""

from __future__ import annotations

from s2e_optuna.errors import DataError
from s2e_optuna.training.networks.base import InputShape


def require_side(name: str, input_shape: InputShape, smallest: int) -> None:
    """Raise `DataError` if an image is lower or narrower than `smallest` pixels.

    Parameters
    ----------
    name
        Of the network.
    input_shape
        Channels, height and width of an image.
    smallest
        Pixels that each side needs.
    """
    _, height, width = input_shape
    if min(height, width) < smallest:
        raise DataError(
            f"network {name} needs images of at least {smallest}x{smallest} pixels, these are "
            f"{height}x{width}: use network mlp"
        )
