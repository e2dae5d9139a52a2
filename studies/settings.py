"""What the paper's studies stand on: settings, the command line's words, where things lie."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RUNS = Path("runs")

NOISES = {"sym20": ("symmetric", 0.2), "sym50": ("symmetric", 0.5), "pair45": ("pair", 0.45)}
"""The paper's label noises: name to kind and rate."""

NETWORKS = {"mnist": "mlp", "cifar10": "cnn1", "cifar100": "cnn2", "digits": "mlp"}
"""The paper's network for each data set (Table 5)."""


class StudyError(LookupError):
    """Something that a study needs was not given, or is not there yet."""


@dataclass(frozen=True)
class Setting:
    """Data with label noise, and how to train on them; see `s2e_optuna.training`.

    `data` is the name of a data set; ``--data`` may say that it is read from a file or a folder.
    With a `noise` of None the labels stay as they were given.
    The seed of the label noise is `noise_seed`, whatever the seed of a training. With `clean_size`
    validation and test part are so many samples each: measuring every epoch on all of them costs
    more than training on few.
    """

    data: str
    noise: str | None
    noise_rate: float
    network: str = "auto"
    epochs: int = 200
    train_size: int | None = None
    batch_size: int | None = 128
    optimizer: str = "adam"
    learning_rate: float | None = None
    evaluate_every: int = 1
    noise_seed: int = 0
    clean_size: int | None = None

    @property
    def noise_name(self) -> str:
        """Its short name: ``sym50``, or ``given``."""
        if self.noise is None:
            return "given"
        return f"{self.noise[:4].removesuffix('m')}{round(100 * self.noise_rate)}"

    @property
    def name(self) -> str:
        """A readable name; settings that differ in rarer things share it."""
        return f"{self.data}-{self.noise_name}-{self.network}-{self.epochs}"

    def told(self) -> dict[str, Any]:
        """Return what is not at its default, so that new fields do not change old keys."""
        named = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in named.items() if value != default}


def paper_setting(data: str, noise: str, **changes: Any) -> Setting:
    """Return a setting of Section 4.1: data set, and one of `NOISES`."""
    kind, rate = NOISES[noise]
    return Setting(
        **{"data": data, "noise": kind, "noise_rate": rate, "network": NETWORKS[data]} | changes
    )


def data_sets(scales: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name the data sets of each scale that has `settings`, by name; for `Study.data`."""
    return {
        name: sorted({setting.data for setting in scale.settings.values()})
        for name, scale in scales.items()
    }


@dataclass(frozen=True)
class Frame:
    """What the command line said.

    Attributes
    ----------
    scale
        A key of the study's scales.
    storage
        Where searches are stored; any number of commands on any machines may share it.
    workers
        Processes that train.
    sources
        Name of a data set to the file or folder that it is read from.
    device
        See `s2e_optuna.device.split_devices`.
    runs
        Folder for finished trainings.
    trains
        False: show what there is, train nothing.
    """

    scale: str
    storage: str
    workers: int = 1
    sources: Mapping[str, str] | None = None
    device: str = "auto"
    runs: Path = RUNS
    trains: bool = True

    def source(self, setting: Setting) -> str:
        """Return name or path of a setting's data."""
        return (self.sources or {}).get(setting.data, setting.data)


def digest(content: Any) -> str:
    """Eight hexadecimal digits of something that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def hardware() -> str:
    """One line that says what this ran on."""
    import torch

    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{os.cpu_count()} CPU cores ({platform.machine()})"
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "optuna", "numpy"))
    return f"{device}; Python {platform.python_version()}, {packages}"


def commit(checkout: Path = Path(__file__).parent) -> str:
    """Return the commit of a checkout, by default this one; "unknown" outside of one."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
