"""Nothing that a training needs stays behind on the CPU.

Fake tensors have no values but know their device: an operation on those of two devices raises, as
on a GPU. The device is ``meta``, since autograd would ask for CUDA's driver.
"""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from s2e_optuna.data import from_arrays, streaming
from s2e_optuna.training import METHODS, TrainConfig, epoch_buffers, shards
from s2e_optuna.training import setup as setup_of_training
from s2e_optuna.training.evaluation import evaluate
from s2e_optuna.training.setup import Setup
from s2e_optuna.training.shards import make_shards, train_shards

DEVICE = torch.device("meta")

# Fake tensors cannot be differentiated forwards, as `reweight` does.
FAKEABLE = [name for name in METHODS if name != "reweight"]


class HostGenerator(torch.Generator):
    """Random numbers for devices that have none."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls)


def fused_update(*groups, lr, **_):
    """Stand for fused Adam, which has no fake kernel; CUDA's reads lr on the device."""
    assert lr.device == DEVICE and lr.dtype == torch.float32 and lr.ndim == 0
    assert all(t.device == DEVICE and t.is_contiguous() for group in groups for t in group)


@pytest.fixture
def elsewhere(monkeypatch):
    """Make trainings take place on a device that is not the CPU."""
    monkeypatch.setattr(setup_of_training, "resolve_device", lambda name: DEVICE)
    for module in (shards, streaming):
        monkeypatch.setattr(module, "free_memory", lambda device: 1 << 30)
    monkeypatch.setattr(torch, "Generator", HostGenerator)
    monkeypatch.setattr(torch, "_fused_adam_", fused_update)


def train_elsewhere(method, data, **options):
    """Train two trials for an epoch; return their shard and the parts of the data."""
    config = TrainConfig(epochs=2, batch_size=8, **options)
    setup = Setup.of(method, data, config)
    weights = setup.network.initial(setup.seeds.networks, copies=2)
    assert setup.network.footprint.parameters  # measured with tensors of its own
    with (
        patch.object(type(setup.network), "initial", lambda *_, **__: weights),
        FakeTensorMode(allow_non_fake_inputs=True),
    ):
        parts = setup.parts(data)
        shards = make_shards(setup, np.full((2, 2), 0.5))
        order = setup.batches(parts).draw(0)
        ((shard, tally),) = train_shards(shards, parts.training, order, 0, count=True)
        measured = evaluate(shard.network, shard.tensors, *parts.validation)
        made = [tally.loss, tally.correct, tally.kept, measured.loss, measured.accuracy]
        assert shard.probabilities(parts.validation_images).device.type == "cpu"
        assert all(t.device.type == "cpu" for t in shard.snapshot())
        shard.return_to(shard.snapshot())
        for one in (shard, shard.without({0})):
            made += [*one.optimizer.tensors(), *one.tensors.values(), *one.state.values()]
            made += [one.kept_counts, one.offered_counts]
    return {tensor.device for tensor in made}


@pytest.mark.parametrize("method", FAKEABLE)
def test_of_every_method(method, blobs, elsewhere):
    assert train_elsewhere(method, blobs) == {DEVICE}


@pytest.mark.parametrize("network", ["cnn1", "cnn2"])
def test_of_convolutional_networks(network, elsewhere):
    rng = np.random.default_rng(0)
    pictures = from_arrays(rng.random((24, 3, 16, 16)), np.arange(24) % 2)
    assert train_elsewhere("coteaching", pictures, network=network) == {DEVICE}


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_of_other_optimisers(optimizer, blobs, elsewhere):
    assert train_elsewhere("coteaching", blobs, optimizer=optimizer) == {DEVICE}


def test_of_augmented_images(blobs, elsewhere):
    assert train_elsewhere("coteaching", blobs, augment="crop_flip") == {DEVICE}


def test_a_tensor_on_the_cpu_is_found(blobs, elsewhere, monkeypatch):
    monkeypatch.setattr(epoch_buffers, "scale_pixels", lambda images: torch.zeros(images.shape))
    with pytest.raises(RuntimeError, match="same device"):
        train_elsewhere("coteaching", blobs)
