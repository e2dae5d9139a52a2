"""Where a stack's training stands, in a file: so that a killed one goes on where it was.

A checkpoint holds everything that an epoch changes, a row a trial, and the state of the random
numbers. A trial depends on its schedule and the seed, not on its neighbours: so some trials of a
stack can go on without the others, and end exactly as they would have. Files are safetensors,
replaced in one step; one that cannot be read, or belongs to another training, is reported, and
training starts over.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from s2e_optuna.data.augmentation import augment_name
from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.data.streaming import ImageFiles
from s2e_optuna.training.config import TrainConfig
from s2e_optuna.training.networks import network_name
from s2e_optuna.training.parts import Batches
from s2e_optuna.training.results import EpochReport
from s2e_optuna.training.stack import Stack

_FORMAT = "s2e-checkpoint-2"
_READABLE = (_FORMAT, "s2e-checkpoint-1")  # the first version knew no best epochs
_UNIMPORTANT = ("device", "cuda_graph")

SKETCHED = 32
"""Images of each part, evenly spread, by which the data of a training are known again."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Where to keep a training, and where to go on from.

    Attributes
    ----------
    path
        File to write; its folder is made. Nothing is written before `every` seconds have passed.
    every
        Seconds between two writings.
    resume
        File to go on from, if it is there.
    on_saved
        Called after each writing.
    on_restored
        Called with the reports of all trials so far, where a training goes on.
    """

    path: Path
    every: float = 300.0
    resume: Path | None = None
    on_saved: Callable[[], None] = lambda: None
    on_restored: Callable[[list[EpochReport]], None] = lambda reports: None


class Log(Protocol):
    """What is gathered of one trial while it runs."""

    reports: list[EpochReport]
    seconds: float


class Keeper:
    """Saves one training and restores it.

    Parameters
    ----------
    checkpoint
        Where.
    key
        Fingerprint of the training: a file of another one is not used.
    rates
        R(t) of each trial, and what else tells it from others [P, T + more].
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        key: str,
        rates: NDArray[np.float64],
    ) -> None:
        self._checkpoint = checkpoint
        self._key = key
        self._rates: list[list[float]] = rates.tolist()
        self._saved = time.monotonic()

    def save_if_due(
        self, epochs: int, shards: Sequence[Stack], batches: Batches, logs: Sequence[Log]
    ) -> None:
        """Save, if the last time is long enough ago.

        A folder that cannot be written to is reported; the training goes on.

        Parameters
        ----------
        epochs
            Epochs that are finished.
        shards, batches, logs
            The trials that still run, what draws their batches, and what was gathered of all.
        """
        if time.monotonic() - self._saved < self._checkpoint.every:
            return
        try:
            self._save(epochs, shards, batches, logs)
        except OSError as error:
            _logger.warning("No checkpoint was written: %s.", error)
        else:
            self._checkpoint.on_saved()
        self._saved = time.monotonic()

    def _save(
        self, epochs: int, shards: Sequence[Stack], batches: Batches, logs: Sequence[Log]
    ) -> None:
        tensors = {f"shared/{name}": t for name, t in _shared(shards[0], batches).items()}
        trials = [trial for shard in shards for trial in shard.trials]
        for shard in shards:
            views = shard.by_trial()
            for row, trial in enumerate(shard.trials):
                tensors |= {f"{trial}/{name}": view[row] for name, view in views.items()}
        for trial in trials:
            reports = [astuple(report)[2:] for report in logs[trial].reports]
            tensors[f"{trial}/reports"] = torch.tensor(reports, dtype=torch.float64)
            tensors[f"{trial}/seconds"] = torch.tensor(logs[trial].seconds, dtype=torch.float64)
        metadata = {
            "format": _FORMAT,
            "key": self._key,
            "epochs": str(epochs),
            "rates": json.dumps({trial: self._rates[trial] for trial in trials}),
        }
        path = self._checkpoint.path
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        copies = {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}
        try:
            save_file(copies, partial, metadata)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        except SafetensorError as error:  # how it says that a disk is full
            raise OSError(str(error)) from error
        finally:
            partial.unlink(missing_ok=True)

    def restore(self, shards: Sequence[Stack], batches: Batches, logs: Sequence[Log]) -> int:
        """Go on from a file, if there is one for this training.

        Parameters
        ----------
        shards, batches, logs
            As they are at the start; changed to what they were, or not at all.

        Returns
        -------
        int
            Epochs that are finished; 0 where nothing could be used.
        """
        path = self._checkpoint.resume
        if path is None:
            return 0
        try:
            epochs = self._restore(path, shards, batches, logs) if path.exists() else 0
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            _logger.warning(
                "The checkpoint %s cannot be used (%s): the training starts over.", path, error
            )
            return 0
        if epochs:
            self._checkpoint.on_restored([report for log in logs for report in log.reports])
        return epochs

    def _restore(
        self, path: Path, shards: Sequence[Stack], batches: Batches, logs: Sequence[Log]
    ) -> int:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") not in _READABLE:
                raise ValueError("it is no checkpoint")
            if metadata["key"] != self._key:
                raise ValueError("it belongs to another training")
            stored = json.loads(metadata["rates"])
            places = {}
            for trial, rates in enumerate(self._rates):
                found = [key for key, known in stored.items() if known == rates]
                if not found:
                    raise ValueError("it does not hold all schedules")
                places[trial] = found[0]
            # All of it is read and checked before anything is changed.
            changes: list[tuple[Tensor, Tensor]] = []
            for shard in shards:
                for name, target in _shared(shard, batches).items():
                    if not name.endswith("generator"):
                        changes.append((target, file.get_tensor(f"shared/{name}")))
                for name, view in shard.by_trial().items():
                    for row, trial in enumerate(shard.trials):
                        changes.append((view[row], file.get_tensor(f"{places[trial]}/{name}")))
            generators = [
                (generator, file.get_tensor(f"shared/{name}_generator"))
                for shard in shards
                for name, generator in _generators(shard, batches).items()
            ]
            for target, value in changes:
                if target.shape != value.shape or target.dtype != value.dtype:
                    raise ValueError("its tensors have other shapes")
            epochs = int(metadata["epochs"])
            written: dict[int, tuple[list[EpochReport], float]] = {}
            for trial, key in places.items():
                rows = file.get_tensor(f"{key}/reports").tolist()
                if len(rows) != epochs:
                    raise ValueError("it does not hold all epochs")
                reports = [EpochReport(trial, t, *row) for t, row in enumerate(rows)]
                written[trial] = reports, float(file.get_tensor(f"{key}/seconds"))
        with torch.no_grad():
            for target, value in changes:
                target.copy_(value)
        for generator, state in generators:
            generator.set_state(state)
        for trial, (reports, seconds) in written.items():
            logs[trial].reports, logs[trial].seconds = reports, seconds
        return epochs


def fingerprint(method: str, data: NoisyData, config: TrainConfig) -> str:
    """Hash what a training depends on, apart from its schedules.

    Parameters
    ----------
    method
        Name, with its options.
    data
        Labels count in full, images by a sample of them or by the names of their files.
    config
        Fields that change no number do not count.
    """
    settings = {
        field.name: str(getattr(config, field.name))
        for field in fields(config)
        if field.name not in _UNIMPORTANT
    } | {"network": network_name(config.network), "augment": augment_name(config.augment)}
    if config.augment == "none":
        del settings["augment"]  # as in files of earlier versions
    if config.stop == "last":
        del settings["stop"]  # likewise
    if config.metric == "accuracy":
        del settings["metric"]  # likewise
    if not config.weight_decay:
        del settings["weight_decay"]  # likewise
    kind = torch.device("cpu" if config.device == "auto" else config.device).type
    if config.device == "auto" and torch.cuda.is_available():
        kind = "cuda"
    text = json.dumps([method, settings, kind, list(data.input_shape)], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for labels in (
        data.y_train,
        data.y_val,
        data.y_test,
        data.y_clean,
        data.targets,
        data.val_weights,
    ):
        digest.update(b"" if labels is None else labels.cpu().numpy().tobytes())
    for images in (data.x_train, data.x_val, data.x_test):
        digest.update(b"" if images is None else _sketch(images))
    if data.preparation.words is not None:  # in earlier versions nothing was done
        text, arrays = data.preparation.stored()
        digest.update(text.encode())
        for array in arrays.values():
            digest.update(array.numpy().tobytes())
    return digest.hexdigest()[:32]


def _sketch(images: Tensor | ImageFiles) -> bytes:
    """Tell images from others without reading all of them: some in full, or the files' names."""
    shape = str(tuple(images.shape)).encode()
    if isinstance(images, ImageFiles):
        return shape + "\0".join(images.paths).encode()
    rows = torch.linspace(0, len(images) - 1, min(SKETCHED, len(images))).long()
    return shape + images[rows.to(images.device)].cpu().numpy().tobytes()


def _generators(shard: Stack, batches: Batches) -> dict[str, torch.Generator]:
    return {**batches.generators, "dropout": shard.training_pass.generator}


def _shared(shard: Stack, batches: Batches) -> dict[str, Tensor]:
    """Return what all trials have in common."""
    states = {
        f"{name}_generator": generator.get_state()
        for name, generator in _generators(shard, batches).items()
    }
    counts = {"steps": shard.optimizer.step_count, "offered_counts": shard.offered_counts}
    return {**counts, **states}
