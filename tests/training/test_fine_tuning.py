"""Networks that begin with trained weights, all of which are trained further."""

import numpy as np
import pytest
import torch
import torchvision
from trained_weights import put

from s2e_optuna.data import from_arrays
from s2e_optuna.errors import DataError
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.training import TrainConfig, load_model, make_network, save_model, train
from s2e_optuna.training.networks.pretrained import PRETRAINED

NAME = "resnet18-pretrained"


@pytest.fixture
def weights(offline):
    """Random weights where torchvision's trained ones lie; return the network that has them."""
    torch.manual_seed(0)
    module = torchvision.models.resnet18(weights=None).eval()
    put(offline, "resnet18", module)
    return module


def test_all_but_the_last_layer_begins_as_it_was_trained(weights):
    state = make_network(NAME, (3, 32, 32), 4).initial([1, 2])
    for name, tensor in weights.state_dict().items():
        if not name.startswith("fc."):
            own = state[f"network.{name}"]
            assert torch.equal(own[0], tensor) and torch.equal(own[1], tensor), name
    head = state["network.fc.weight"]
    assert head.shape == (2, 4, 512) and not torch.equal(head[0], head[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_scaled_as_the_weights_want_them(weights, channels):
    network = make_network(NAME, (channels, 32, 32), 1000)
    state = network.initial([0])
    for part in ("weight", "bias"):
        state[f"network.fc.{part}"][0] = getattr(weights.fc, part).detach()
    images = torch.rand(2, channels, 32, 32)
    scaling = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        expected = weights(scaling(images.expand(-1, 3, -1, -1)))
        torch.testing.assert_close(network.forward(state, images)[0], expected)


def test_it_trains_and_its_model_needs_no_weights_but_its_own(weights, tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (24, 3, 16, 16), dtype=np.uint8)
    data = from_arrays(images, np.arange(24) % 2, images[:6], np.arange(6) % 2)
    config = TrainConfig(epochs=1, batch_size=8, network=NAME)
    model = train("standard", [None], data, config)[0].model
    save_model(model, tmp_path / "m.safetensors")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "empty"))
    again = load_model(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict_proba(images), model.predict_proba(images))


def test_missing_weights_are_said_before_the_first_trial(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "empty"))
    with pytest.raises(DataError, match="weights of resnet18 are not on this machine"):
        SearchConfig.of(data="digits", network=NAME).load()


def test_images_with_other_channels_are_refused():
    for name in PRETRAINED:
        with pytest.raises(DataError, match=r"the images have 4 channels, and .*choose another"):
            make_network(name, (4, 16, 16), 2)
        with pytest.raises(DataError, match="for images, and the samples are rows of 5 numbers"):
            make_network(name, (1, 1, 5), 2)
