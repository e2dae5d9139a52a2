"""Shared small data; one thread, because tests run side by side."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from s2e_optuna.data import NoisyData, from_arrays, load_data


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> NoisyData:
    return load_data("digits", noise="symmetric", noise_rate=0.5, seed=1)


@pytest.fixture(scope="session")
def blobs() -> NoisyData:
    """Tiny, easily learned images of 6x6 pixels in three classes."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0.2, 0.8, (3, 6, 6))
    labels = np.arange(240) % 3
    images = (centres[labels] + rng.normal(0, 0.05, (240, 6, 6))).clip(0, 1)
    return from_arrays(
        images[:120],
        labels[:120],
        images[120:180],
        labels[120:180],
        images[180:],
        labels[180:],
        noise="symmetric",
        noise_rate=0.3,
        name="blobs",
    )
