"""Networks whose features stand for images: their weights, preprocessing and last layer."""

import urllib.error

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from trained_weights import put

from s2e_optuna.data import load_data, pretrained_networks
from s2e_optuna.data.pretrained_networks import feature_network, without_classes
from s2e_optuna.data.spec import is_own
from s2e_optuna.errors import DataError

WITHOUT_INIT = {"googlenet": {"init_weights": False}}


def untrained(name: str) -> nn.Module:
    """A classifier of torchvision with random weights, as trained ones lie on disk."""
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None, **WITHOUT_INIT.get(name, {})).eval()


def an_image(size=(300, 260)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_features_are_what_the_last_layer_gets(offline):
    name, given = "shufflenet_v2_x0_5", []
    whole = untrained(name)
    put(offline, name, whole)
    whole.fc.register_forward_hook(lambda layer, inputs, output: given.append(inputs[0]))
    network = feature_network(name)
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    image = an_image()
    prepared = network.prepared(image)
    assert torch.equal(prepared, transform(image))  # in Pillow: resized as bytes
    with torch.no_grad():
        whole(prepared[None])
    torch.testing.assert_close(network.vectors(prepared[None]), given[0])
    assert not network.module.training
    assert not any(p.requires_grad for p in network.module.parameters())


def test_another_size_keeps_the_share_that_is_cut_out(offline):
    put(offline, "shufflenet_v2_x0_5", untrained("shufflenet_v2_x0_5"))
    network = feature_network("shufflenet_v2_x0_5", side=64)
    assert network.prepare.crop_size == [64] and network.prepare.resize_size == [73]
    assert network.prepared(an_image()).shape == (3, 64, 64)


@pytest.mark.filterwarnings("ignore:.*initialization of GoogleNet")
def test_googlenet_transforms_its_input_as_its_weights_were_trained(offline):
    with_aux = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True)
    put(offline, "googlenet", with_aux)
    assert feature_network("googlenet").module.transform_input is True


@pytest.mark.parametrize(
    ("name", "width"), [("squeezenet1_1", 512), ("mobilenet_v3_small", 1024), ("resnet18", 512)]
)
def test_without_the_classes_size_is_that_of_one_forward_pass(name, width):
    module = without_classes(untrained(name))
    with torch.no_grad():
        assert module(torch.zeros(1, 3, 64, 64)).shape == (1, width)


def test_missing_weights_are_said_before_anything_is_read(offline):
    says = r"weights of resnet18 are not on this machine \(looked in .*resnet18-\w+\.pth\), and .*"
    with pytest.raises(DataError, match=says + r"cannot be reached \(no route\): connect, or"):
        load_data("/there/is/no/such/folder", features="resnet18")


def test_damaged_weights_are_named(offline):
    url = torchvision.models.get_model_weights("resnet18").DEFAULT.url
    (offline / url.rpartition("/")[2]).write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"weights of resnet18 cannot be read from .*\.pth \("):
        feature_network("resnet18")


def test_somebody_who_answers_is_a_connection(monkeypatch):
    def answer(request, timeout):
        raise urllib.error.HTTPError(request.full_url, 403, "no HEAD here", {}, None)

    monkeypatch.setattr(pretrained_networks.urllib.request, "urlopen", answer)
    pretrained_networks.check_connection("x", "https://example.org/x.pth", "here")


def test_a_digest_of_the_weights_and_of_what_preprocessing_does():
    name = "feature_networks:"
    small, again = feature_network(name + "small"), feature_network(name + "small")
    assert small.weights == again.weights and small.identity == again.identity
    assert feature_network(name + "other_weights").weights != small.weights
    other = feature_network(name + "other_preprocessing")
    assert other.weights == small.weights and other.identity != small.identity


def test_what_is_no_network_for_features():
    for name, says in {
        "resnet19": "unknown features 'resnet19': choose a classifier of torchvision",
        "feature_networks:nothing": "cannot import features feature_networks:nothing",
        "feature_networks:no_network": "must return a torch.nn.Module, or one and its prepro",
    }.items():
        with pytest.raises(DataError, match=says):
            feature_network(name)
    with pytest.raises(DataError, match="gives another tensor each time"):
        _ = feature_network("feature_networks:random_preprocessing").identity
    with pytest.raises(DataError, match="has a preprocessing of its own: leave `image_size` out"):
        feature_network("feature_networks:small", side=8)


def test_a_network_without_preprocessing_gets_images_in_0_to_1():
    prepared = feature_network("feature_networks:plain", side=8).prepared(an_image())
    assert prepared.shape == (3, 8, 8) and 0 <= prepared.min() <= prepared.max() <= 1


def test_maps_are_averaged_over_their_places():
    network = feature_network("feature_networks:maps")
    images = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(network.vectors(images), images.mean((2, 3)))


def test_own_functions_are_told_from_timm():
    assert is_own("a.b:c") and not is_own("timm:vit_tiny_patch16_224") and not is_own("resnet18")


def test_timm_says_what_to_install():
    try:
        import timm  # noqa: F401 - whether it is there
    except ImportError:
        with pytest.raises(
            DataError, match=r"timm:resnet18 need timm: install s2e-optuna\[timm\]"
        ):
            feature_network("timm:resnet18")


@pytest.fixture
def timm():
    return pytest.importorskip("timm", reason="timm is missing")


def trained_by_timm(timm, offline, name, monkeypatch):
    """Put random weights where timm's are looked for, and return the whole network."""
    torch.manual_seed(0)
    whole = timm.create_model(name, pretrained=False).eval()
    place = offline / "weights.pth"
    torch.save(whole.state_dict(), place)
    monkeypatch.setattr(pretrained_networks, "_timm_weights", lambda config: place)
    return whole


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_of_timm_the_trained_norm_and_its_own_pooling_stay(timm, offline, monkeypatch, name):
    whole = trained_by_timm(timm, offline, name, monkeypatch)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter += 0.1 * torch.randn_like(parameter)  # a norm that does something
    torch.save(whole.state_dict(), offline / "weights.pth")
    network = feature_network(f"timm:{name}")
    images = torch.randn(2, *network.prepared(an_image()).shape)
    with torch.no_grad():
        expected = whole.forward_head(whole.forward_features(images), pre_logits=True)
    torch.testing.assert_close(network.vectors(images), expected)


def test_of_timm_images_have_the_size_of_its_tests(timm, offline, monkeypatch):
    trained_by_timm(timm, offline, "resnet18.a1_in1k", monkeypatch)
    assert feature_network("timm:resnet18.a1_in1k").prepared(an_image()).shape == (3, 288, 288)
    small = feature_network("timm:resnet18.a1_in1k", side=64)
    assert small.prepared(an_image()).shape == (3, 64, 64)


def test_of_timm_missing_weights_are_said_at_once(timm, offline):
    with pytest.raises(DataError, match="weights of timm:resnet18 are not on this machine"):
        feature_network("timm:resnet18")
    with pytest.raises(DataError, match="timm has no network 'nothing'"):
        feature_network("timm:nothing")
