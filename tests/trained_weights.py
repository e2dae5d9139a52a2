"""A machine without a connection, and weights where torchvision looks for them."""

import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from s2e_optuna.data import pretrained_networks


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A machine without a connection; return torch's folder for weights."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(pretrained_networks.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def put(folder: Path, name: str, module: nn.Module) -> None:
    """Put weights where torchvision looks for them."""
    url = torchvision.models.get_model_weights(name).DEFAULT.url
    torch.save(module.state_dict(), folder / url.rpartition("/")[2])
