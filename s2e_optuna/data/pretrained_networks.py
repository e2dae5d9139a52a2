"""Frozen networks whose features stand for images: torchvision's, timm's, and a user's own.

Each comes with its own weights and, from where these come, with the preprocessing of its images:
another size, interpolation or mean gives other features. Images are resized in Pillow, as bytes:
bicubic interpolation of floats overshoots beside sharp edges.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from s2e_optuna.data.spec import SENTENCES, TIMM, WORDS, is_own
from s2e_optuna.data.torchvision_support import torchvision_module
from s2e_optuna.errors import DataError
from s2e_optuna.own_code import import_function

Prepare = Callable[[Image.Image], Tensor]
"""From an image in RGB to what a network takes, [channels, height, width]."""

SECONDS_TO_CONNECT = 5.0
"""How long a connection is tried before it counts as missing."""

DAMAGED = "remove a damaged file, and they are fetched again"
"""What to do where downloaded weights cannot be read."""

_TIMM_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A frozen network without its last layer.

    Attributes
    ----------
    name
        As users name it.
    module
        Takes images [N, channels, height, width] and returns vectors [N, D].
    prepare
        What is done to an image before.
    code
        What its features depend on beside weights and images, as a text: where the network is a
        user's own, the file of its function.
    """

    name: str
    module: nn.Module
    prepare: Prepare
    code: str = ""

    @cached_property
    def weights(self) -> str:
        """A digest of all parameters and buffers."""
        return digest_of_weights(self.module)

    @cached_property
    def identity(self) -> str:
        """A digest of all that decides about the features of an image.

        What preprocessing does is seen by what it makes of an image, not by its name.

        Raises
        ------
        DataError
            Preprocessing is random.
        """
        probe = _probe()
        first, second = (self.prepared(probe) for _ in range(2))
        if not torch.equal(first, second):
            raise DataError(
                f"the preprocessing of {self.name} gives another tensor each time: leave its "
                "random parts out"
            )
        found = hashlib.blake2b(f"{self.name}\0{self.weights}\0{self.code}\0".encode())
        found.update(f"{first.dtype}{tuple(first.shape)}".encode())
        found.update(first.contiguous().numpy().tobytes())
        return found.hexdigest()[:32]

    def prepared(self, image: Image.Image) -> Tensor:
        """Prepare an image in RGB.

        Raises
        ------
        DataError
            The result is no tensor [channels, height, width] of floats.
        """
        found = self.prepare(image)
        if not isinstance(found, Tensor) or found.ndim != 3 or not found.is_floating_point():
            raise DataError(
                f"the preprocessing of {self.name} must return a tensor [channels, height, width] "
                "of floats for an image of Pillow in RGB"
            )
        return found.detach()

    def vectors(self, images: Tensor) -> Tensor:
        """Return the features [N, D] of prepared images; maps are averaged over their places.

        Raises
        ------
        DataError
            The network returns something else.
        """
        with torch.inference_mode():
            found = self.module(images)
        if isinstance(found, Tensor) and found.ndim == 4 and len(found) == len(images):
            found = found.mean((2, 3))
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise DataError(
                f"the network of {self.name} returns {shape} for {len(images)} images: let it "
                "return one vector for each, [N, D]"
            )
        return found.float()


def digest_of_weights(module: nn.Module) -> str:
    """Return a digest of all parameters and buffers."""
    found = hashlib.blake2b(digest_size=16)
    for name, tensor in module.state_dict().items():
        values = tensor.detach().cpu().contiguous()
        found.update(f"{name}\0{values.dtype}\0{tuple(values.shape)}\0".encode())
        found.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def code_of(function: Callable[..., Any]) -> str:
    """Return the file of a user's function as a text; empty where there is none."""
    try:
        return Path(inspect.getsourcefile(function) or "").read_text(encoding="utf-8")
    except (TypeError, OSError):  # as in an interactive session
        return ""


def _probe() -> Image.Image:
    """Return an image that no two preprocessings treat alike: coloured noise, wider than high."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 77, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def feature_network(
    name: str, side: int | None = None, function: Callable[[], Any] | None = None
) -> FeatureNetwork:
    """Build a network with its trained weights.

    Parameters
    ----------
    name
        Of a classifier of torchvision, such as ``"resnet18"``; ``"timm:NAME"``; or
        ``"package.module:function"``. The function takes nothing and returns a `torch.nn.Module`
        that makes vectors of images, or a pair of it and its preprocessing, which makes a tensor
        of an image of Pillow in RGB. Without preprocessing images are scaled to [0, 1].
    side
        Height and width of the images that the network gets, in place of its own.
    function
        That function, where it is at hand.

    Raises
    ------
    DataError
        There is no such network, or neither its weights nor a connection are there.
    """
    if function is not None or is_own(name):
        return _own(name, side, function)
    if name == WORDS or name.startswith(SENTENCES):
        raise DataError(
            f"the features {name} are those of texts in a table, and these are images: name a "
            "network for images, such as resnet18"
        )
    found = _of_timm(name, side) if name.startswith(TIMM) else _of_torchvision(name, side)
    found.module.eval().requires_grad_(False)
    return found


def _own(name: str, side: int | None, function: Callable[[], Any] | None) -> FeatureNetwork:
    makes = "returns a torch.nn.Module, or one and its preprocessing"
    make = import_function(name, "features", makes) if function is None else function
    made = make()
    module, prepare = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module) or not (prepare is None or callable(prepare)):
        raise DataError(f"the function {name} {makes.replace('returns', 'must return')}")
    if prepare is not None and side is not None:
        raise DataError(f"{name} has a preprocessing of its own: leave `image_size` out")
    module.eval().requires_grad_(False)
    return FeatureNetwork(name, module, prepare or _Scaled(side), code_of(make))


@dataclass(frozen=True)
class _Scaled:
    """Preprocessing of a network that has none: resized, if asked, and scaled to [0, 1]."""

    side: int | None

    def __call__(self, image: Image.Image) -> Tensor:
        if self.side is not None and image.size != (self.side, self.side):
            image = image.resize((self.side, self.side), Image.Resampling.BILINEAR)
        return torch.tensor(np.asarray(image)).permute(2, 0, 1).to(torch.float32).div_(255.0)


def _of_torchvision(name: str, side: int | None) -> FeatureNetwork:
    models = torchvision_module("models")
    if name not in models.list_models(module=models):
        raise DataError(
            f"unknown features {name!r}: choose a classifier of torchvision such as resnet18, "
            "resnet50, efficientnet_v2_s, convnext_tiny or vit_b_16, timm:NAME, or "
            "package.module:function of your own"
        )
    module, weights = trained_classifier(name), torchvision_weights(name)
    prepare = weights.transforms()
    if side is not None:
        resized = round(side * prepare.resize_size[0] / prepare.crop_size[0])
        prepare = weights.transforms(crop_size=side, resize_size=resized)
    return FeatureNetwork(name, without_classes(module), prepare)


def torchvision_weights(name: str) -> Any:
    """Return what torchvision tells of the weights of a classifier."""
    return torchvision_module("models").get_model_weights(name).DEFAULT


def trained_classifier(name: str) -> nn.Module:
    """Build a classifier of torchvision with its trained weights.

    Raises
    ------
    DataError
        Neither they nor a connection are there.
    """
    weights = torchvision_weights(name)
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(weights.url).path).name
    if not place.is_file():
        check_connection(name, weights.url, str(place))
    with readable(name, str(place)):
        # By the enum, not by a state dictionary: with its `transform_input`.
        module: nn.Module = torchvision_module("models").get_model(name, weights=weights)
    return module


@contextmanager
def readable(name: str, place: str, advice: str = DAMAGED) -> Iterator[None]:
    """Say what is wrong where weights cannot be fetched or read.

    Parameters
    ----------
    name
        Whose weights.
    place
        Where they are.
    advice
        What to do, for the message.
    """
    try:
        yield
    except (
        *(OSError, RuntimeError, EOFError, ValueError, KeyError),
        *(UnpicklingError, SafetensorError),
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"the weights of {name} cannot be read from {place} ({reason}): {advice}"
        ) from error


def without_classes(module: nn.Module) -> nn.Module:
    """Replace the last layer of a classifier, which gives the classes, by nothing."""
    above, own, _ = last_layer(module)
    setattr(above, own, nn.Identity())
    return module


def last_layer(module: nn.Module) -> tuple[nn.Module, str, nn.Module]:
    """Return the layer of a classifier that gives the classes: what holds it, its name, itself."""
    name, layer = [
        pair for pair in module.named_modules() if isinstance(pair[1], nn.Linear | nn.Conv2d)
    ][-1]
    above, _, own = name.rpartition(".")
    return module.get_submodule(above), own, layer


def _of_timm(name: str, side: int | None) -> FeatureNetwork:
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise DataError(
            f"the features {name} need timm: install s2e-optuna[timm] ({error})"
        ) from error
    own = name.removeprefix(TIMM)
    if not timm.is_model(own.partition(".")[0]):
        raise DataError(f"timm has no network {own!r}: timm.list_models() names them")
    config = timm.get_pretrained_cfg(own, allow_unregistered=False)
    if config is None or not (config.has_weights):
        raise DataError(f"timm has no weights for {own!r}: timm.list_pretrained() names those")
    place = _timm_weights(config)
    if place is None:
        check_connection(name, config.url or hub_address(), "timm's and torch's caches")
    size = None if side is None else (3, side, side)
    with readable(name, str(place or config.url or config.hf_hub_id)):
        module = timm.create_model(
            own,
            pretrained=True,
            # From a file that is there nobody asks a server first.
            pretrained_cfg_overlay=None if place is None else {"file": str(place)},
        )
    # Not num_classes=0 above: with another pooling that leaves out a trained norm.
    module.reset_classifier(0)
    found = timm.data.resolve_data_config(
        {} if size is None else {"input_size": size}, model=module, use_test_size=side is None
    )
    return FeatureNetwork(name, module, timm.data.create_transform(**found, is_training=False))


def _timm_weights(config: Any) -> Path | None:
    """Return the file with the weights of a network of timm, if it is on this machine."""
    if config.file:
        return Path(config.file)
    if config.hf_hub_id:
        hub = importlib.import_module("huggingface_hub")
        repository, _, revision = config.hf_hub_id.partition("@")
        names = (config.hf_hub_filename,) if config.hf_hub_filename else _TIMM_FILES
        for file in names:
            found = hub.try_to_load_from_cache(repository, file, revision=revision or None)
            if isinstance(found, str):
                return Path(found)
    if config.url:
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(config.url).path).name
        return place if place.is_file() else None
    return None


def hub_address() -> str:
    """Return where the hub's models are fetched from."""
    return str(importlib.import_module("huggingface_hub").constants.ENDPOINT)


def check_connection(name: str, address: str, looked: str) -> None:
    """Raise a `DataError` at once if weights cannot be fetched; libraries try for a minute.

    Parameters
    ----------
    name
        Whose weights.
    address
        Where they are.
    looked
        Where they were looked for on this machine.
    """
    request = urllib.request.Request(address, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=SECONDS_TO_CONNECT).close()
    except urllib.error.HTTPError:
        return  # somebody answers; the library says what is wrong with the address
    except (OSError, ValueError) as error:  # URLError and time-outs are OSErrors
        reason = getattr(error, "reason", error)
        raise DataError(
            f"the weights of {name} are not on this machine (looked in {looked}), and "
            f"{urlsplit(address).hostname} cannot be reached ({reason}): connect, or copy them "
            "there"
        ) from error
