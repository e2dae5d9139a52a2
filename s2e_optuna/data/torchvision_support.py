"""torchvision, imported only where it is used, and what to say when it does not import."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from types import ModuleType

from s2e_optuna.errors import DataError


@dataclass(frozen=True)
class TorchvisionStatus:
    """Whether torchvision imports, with both versions.

    Attributes
    ----------
    ok
        True when torchvision imports.
    torch_version, torchvision_version
        Installed versions; ``"none"`` when not installed.
    message
        One sentence; when `ok` is False it says what to install.
    """

    ok: bool
    torch_version: str
    torchvision_version: str
    message: str


def torchvision_status() -> TorchvisionStatus:
    """Try to import torchvision and say how it went; never raises."""
    torch_version, vision_version = _version("torch"), _version("torchvision")
    advice = "install both from one place: pip install --upgrade torch torchvision"
    try:
        importlib.import_module("torchvision.datasets")
    except ModuleNotFoundError as error:
        message = f"torchvision is not installed ({error}): {advice}"
    # A torchvision built for another torch fails with RuntimeError (operator
    # torchvision::nms does not exist), AttributeError (partly imported) or OSError (symbols).
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        message = (
            f"torchvision {vision_version} does not match torch {torch_version} ({error}): "
            f"{advice}"
        )
    else:
        message = f"torchvision {vision_version} works with torch {torch_version}"
        return TorchvisionStatus(True, torch_version, vision_version, message)
    return TorchvisionStatus(False, torch_version, vision_version, message)


def torchvision_module(name: str) -> ModuleType:
    """Import a part of torchvision, for example ``"datasets"``.

    Raises
    ------
    DataError
        It does not import; the message names both versions and what to install.
    """
    status = torchvision_status()
    if not status.ok:
        raise DataError(status.message)
    return importlib.import_module(f"torchvision.{name}")


def torchvision_datasets() -> ModuleType:
    """Import ``torchvision.datasets``; see `torchvision_module`."""
    return torchvision_module("datasets")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
