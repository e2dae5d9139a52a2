"""What a search is told, checked in full before anything is written."""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage

from s2e_optuna.data import (
    DATA_OPTIONS,
    DATA_SETS,
    Augmentation,
    NoisyData,
    is_matrix_file,
    load_data,
)
from s2e_optuna.device import resolve_device
from s2e_optuna.labels import check_folds
from s2e_optuna.objective import CoTeachingObjective, check_searchable
from s2e_optuna.objective.resuming import MINUTES, folder_name
from s2e_optuna.sampler import S2ESampler
from s2e_optuna.schedules import get_space
from s2e_optuna.search.loop import TARGET_ATTR
from s2e_optuna.storages.open import mask_password
from s2e_optuna.storages.urls import artifact_folder, is_in_memory
from s2e_optuna.training import TrainConfig, check_execution, check_network, make_network

_logger = logging.getLogger(__name__)

CONFIG_ATTR = "s2e:search"
"""User attribute of the study: what its trials do (`SearchConfig.settings`)."""

SAMPLERS = ("s2e", "tpe", "random", "cmaes", "gp", "qmc")
"""Names of samplers."""


LATER_SETTINGS = {
    "optimizer": "adam",
    "precision": "float32",
    "execution": "auto",
    "augment": "none",
}
"""Settings that studies of earlier versions lack, and what they were."""

LAUNCHERS = ("local", "ray")
"""Where workers can run."""


class ConfigError(ValueError):
    """Settings that cannot be searched with; the message is one sentence that says why."""


@dataclass(frozen=True)
class SearchConfig:
    """A search; what is wrong about it is said when it is made, or before it starts.

    Attributes
    ----------
    data
        Name or path, see `s2e_optuna.training.load_data`.
    noise, noise_rate
        Label noise to add: ``"symmetric"``, ``"pair"`` or ``"instance"`` and its rate, or a file
        with a transition matrix; None adds none.
    validation
        ``"auto"``, ``"clean"`` or ``"noisy"``.
    train_size
        Use only that many training samples.
    labels, path_column, label_column, clean_column, image_size
        A table of labels and its columns, and the size of images; see
        `s2e_optuna.training.load_data`.
    method, network, space
        Method of training, network, search space of the schedule.
    epochs, batch_size, optimizer, learning_rate, precision, execution, augment, seed
        See `s2e_optuna.training.TrainConfig`; the seed is also that of noise and sampler, and
        `augment` a name.
    trials
        The budget N: finished trials in the study.
    workers
        Local processes.
    stack
        Trials that a worker trains at once, at most.
    storage
        URL for `open_storage`, or a storage object that other processes can use.
    study
        Name of the study; by default made of the data's name and the noise.
    sampler, sampler_options
        One of `SAMPLERS`, and keyword arguments for it.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or several with commas: workers are
        spread over them.
    final_seeds
        Seeds of the final comparison; 0 leaves it out.
    folds
        Folds of the cross-validation for the list of suspects; 0 leaves it out.
    out
        Folder for what the search leaves behind, in place of what another search has left there;
        by default ``s2e-out/`` and the study's name.
    data_root
        Folder for downloads and decoded images.
    report_every
        Epochs between two reports of a trial; see `CoTeachingObjective`.
    checkpoint_minutes
        Minutes between two checkpoints of a training, in the folder ``checkpoints`` of `out`; 0
        keeps none.
    launcher
        Where workers run: ``"local"`` processes, or tasks of a ``"ray"`` cluster (the one that
        ``RAY_ADDRESS`` names, else one on this machine).
    gpus_per_worker
        For Ray: GPUs of a worker, fractions share one; by default one where the cluster has GPUs.
    artifacts
        Folder for pictures and curves of the trials, made if it is missing; by default
        `s2e_optuna.storages.urls.artifact_folder` of the storage's URL, and none for a
        storage object.

    Raises
    ------
    ConfigError
        If a value is unknown or out of range.
    """

    data: str = "digits"
    noise: str | None = None
    noise_rate: float | None = None
    validation: str = "auto"
    train_size: int | None = None
    labels: str | Path | None = None
    path_column: str | None = None
    label_column: str | None = None
    clean_column: str | None = None
    image_size: int | None = None
    method: str = "coteaching"
    network: str = "auto"
    space: str = "s2e"
    epochs: int = 60
    batch_size: int | None = None
    optimizer: str = "adam"
    learning_rate: float | None = None
    precision: str = "float32"
    execution: str = "auto"
    augment: str = "none"
    seed: int = 0
    trials: int = 48
    workers: int = 1
    stack: int = 4
    storage: str | BaseStorage = "sqlite:///s2e.db"
    study: str | None = None
    sampler: str = "s2e"
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    final_seeds: int = 5
    folds: int = 5
    out: str | Path | None = None
    data_root: str | Path | None = None
    report_every: int | None = None
    checkpoint_minutes: float = MINUTES
    launcher: str = "local"
    gpus_per_worker: float | None = None
    artifacts: str | Path | None = None

    def __post_init__(self) -> None:
        _check_numbers(self)
        for check in (
            lambda: get_space(self.space),
            lambda: check_searchable(self.method),
            lambda: check_network(self.network),
            lambda: check_execution(self.network, self.execution),
            lambda: self.train_config(),
            lambda: self.devices,
            lambda: make_sampler(self.settings()),
        ):
            try:
                check()
            except ConfigError:
                raise
            except ValueError as error:
                raise ConfigError(str(error)) from error
        if isinstance(self.storage, InMemoryStorage):
            raise ConfigError(
                "a storage in memory cannot be shared with worker processes: give a URL, "
                "for example sqlite:///s2e.db."
            )
        if isinstance(self.storage, str) and is_in_memory(self.storage):
            raise ConfigError(
                "a SQLite database in memory cannot be shared with worker processes: "
                "give a file, for example sqlite:///s2e.db."
            )
        if self.out is not None and Path(self.out).exists() and not Path(self.out).is_dir():
            raise ConfigError(f"out is no folder: {self.out} is a file.")

    @property
    def study_name(self) -> str:
        """The name that was given, or one made of data and noise."""
        if self.study is not None:
            return self.study
        name = self.data if self.data in DATA_SETS else Path(self.data).resolve().stem
        if self.noise:
            rate = "" if self.noise_rate is None else f"-{self.noise_rate:g}"
            return f"{name}-{Path(self.noise).stem}{rate}"
        if self.labels is not None:
            return f"{name}-{self.label_column or Path(self.labels).name.split('.')[0]}"
        return name

    @property
    def folder(self) -> Path:
        """Where the search leaves its files."""
        if self.out is not None:
            return Path(self.out)
        return Path("s2e-out") / folder_name(self.study_name)

    @property
    def artifact_folder(self) -> Path | None:
        """Where pictures and curves of the trials go, as an absolute path; None for nowhere."""
        if self.artifacts is not None:
            return Path(self.artifacts).expanduser().resolve()
        return artifact_folder(self.storage).resolve() if isinstance(self.storage, str) else None

    @property
    def checkpoints(self) -> Path | None:
        """Folder of checkpoints, which all workers should reach; None if there are none."""
        return self.folder / "checkpoints" if self.checkpoint_minutes else None

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices to spread workers over; raises `DataError` if one is not there."""
        return split_devices(self.device)

    @property
    def masked_storage(self) -> str:
        """The storage in words, without passwords."""
        if isinstance(self.storage, str):
            return mask_password(self.storage)
        return type(self.storage).__name__

    def settings(self) -> dict[str, Any]:
        """Return what decides about a trial's result: stored, and compared on resuming."""
        data = self.data if self.data in DATA_SETS else str(Path(self.data).resolve())
        files = {
            "noise": self.noise if not is_matrix_file(self.noise) else _resolved(self.noise),
            "labels": _resolved(self.labels),
            "contents": _digest(self.labels if self.labels is not None else self.noise),
        }
        names = (
            "noise_rate",
            "validation",
            "train_size",
            "path_column",
            "label_column",
            "clean_column",
            "image_size",
            "method",
            "network",
            "space",
            "epochs",
            "batch_size",
            "optimizer",
            "precision",
            "execution",
            "augment",
            "seed",
            "sampler",
        )
        return {
            "data": data,
            **files,
            **{name: getattr(self, name) for name in names},
            "learning_rate": self.train_config().plan.learning_rate,
            "sampler_options": dict(self.sampler_options),
        }

    def stored(self) -> dict[str, Any]:
        """Return what a worker needs to know: the settings, and how to carry them out."""
        root = _resolved(self.data_root)
        folder = self.artifact_folder
        return {
            **self.settings(),
            "data_root": root,
            "report_every": self.report_every,
            "checkpoints": str(self.checkpoints.resolve()) if self.checkpoints else None,
            "checkpoint_minutes": self.checkpoint_minutes,
            "artifacts": None if folder is None else str(folder),
        }

    def load(self, progress: Callable[[int, int], None] | None = None) -> NoisyData:
        """Load the data and check that they can be trained on.

        Parameters
        ----------
        progress
            Told how many images have been decoded, and how many there are.

        Raises
        ------
        s2e_optuna.training.DataError
            What `s2e_optuna.training.load_data` refuses, or if the network does not fit, or there
            are more folds than training samples.
        ConfigError
            If there are fewer training samples than a batch.
        """
        options = {name: getattr(self, name) for name in DATA_OPTIONS}
        data = load_data(self.data, seed=self.seed, progress=progress, **options)
        make_network(self.network, data.input_shape, data.n_classes, execution=self.execution)
        Augmentation.of(self.augment, self.seed, data.input_shape)
        if self.batch_size is not None and len(data.y_train) < self.batch_size:
            raise ConfigError(
                f"the training part has {len(data.y_train)} samples, fewer than one batch of "
                f"{self.batch_size}: choose a batch_size of at most {len(data.y_train)}."
            )
        if self.final_seeds and self.folds:
            check_folds(self.folds, len(data.y_train))
        return data

    def train_config(self) -> TrainConfig:
        """How the final comparison trains."""
        return TrainConfig(
            epochs=self.epochs,
            network=self.network,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            precision=self.precision,
            execution=self.execution,
            augment=self.augment,
            seed=self.seed,
            device=self.devices[0],
        )


def _check_numbers(config: SearchConfig) -> None:
    for name in ("epochs", "trials", "workers", "stack"):
        _check_integer(name, getattr(config, name), 1)
    if config.folds == 1:
        raise ConfigError("folds must be 2 or more, or 0 to leave the cross-validation out.")
    for name in ("seed", "final_seeds", "folds"):
        _check_integer(name, getattr(config, name), 0)
    for name in ("batch_size", "train_size", "image_size", "report_every"):
        if getattr(config, name) is not None:
            _check_integer(name, getattr(config, name), 1)
    if config.launcher not in LAUNCHERS:
        raise ConfigError(
            f"unknown launcher {config.launcher!r}: choose one of {', '.join(LAUNCHERS)}."
        )
    if config.gpus_per_worker is not None and config.launcher != "ray":
        raise ConfigError("gpus_per_worker needs the launcher ray; else name a --device.")
    if config.gpus_per_worker is not None and not 0.0 <= config.gpus_per_worker < math.inf:
        raise ConfigError(f"gpus_per_worker must be 0 or more, but is {config.gpus_per_worker}.")
    if not (config.checkpoint_minutes >= 0 and math.isfinite(config.checkpoint_minutes)):
        raise ConfigError(
            f"checkpoint_minutes must be 0 or more, but is {config.checkpoint_minutes}."
        )
    rate = config.learning_rate
    if rate is not None and not (rate > 0 and math.isfinite(rate)):
        raise ConfigError(f"learning_rate must be above 0, but is {config.learning_rate}.")
    if config.noise is None and config.noise_rate is not None:
        raise ConfigError("noise_rate needs noise: choose noise symmetric or pair.")
    if is_matrix_file(config.noise):
        if config.noise_rate is not None:
            raise ConfigError(f"{config.noise} has its rates in itself: leave noise_rate out.")
    elif config.noise is not None and config.noise_rate is None:
        raise ConfigError(f"noise {config.noise} needs a noise_rate, for example 0.4.")
    if config.noise_rate is not None and not 0.0 <= config.noise_rate < 1.0:
        raise ConfigError(f"noise_rate must be in [0, 1), but is {config.noise_rate}.")
    if config.sampler not in SAMPLERS:
        raise ConfigError(
            f"unknown sampler {config.sampler!r}: choose one of {', '.join(SAMPLERS)}."
        )
    if not isinstance(config.augment, str):
        raise ConfigError(
            "a search stores its settings, so augment is a name: functions are for "
            "CoTeachingObjective."
        )
    if config.study is not None and not config.study.strip():
        raise ConfigError("the study's name is empty: leave it out, or give one.")
    batch_size = config.sampler_options.get("batch_size", 1)
    if config.sampler == "s2e":
        _check_integer("the sampler's batch_size (K)", batch_size, 1)


def _resolved(path: str | Path | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().resolve())


def _digest(file: str | Path | None) -> str | None:
    """Digest of a file's contents: trials on other labels do not belong into the same study."""
    if file is None or not Path(file).expanduser().is_file():
        return None  # no file; where it should be one, loading the data says so
    return hashlib.sha256(Path(file).expanduser().read_bytes()).hexdigest()[:16]


def _check_integer(name: str, value: Any, lowest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise ConfigError(f"{name} must be an integer of at least {lowest}, but is {value!r}.")


def split_devices(device: str) -> tuple[str, ...]:
    """Turn ``auto`` or a list with commas into devices; all GPUs for ``auto``, or the CPU.

    Raises `s2e_optuna.training.DataError` if one of them is unknown or not there.
    """
    if device == "auto":
        if resolve_device("auto").type == "cpu":
            return ("cpu",)
        import torch

        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    names = tuple(name.strip() for name in device.split(","))
    return tuple(str(resolve_device(name)) for name in names)


def make_sampler(settings: Mapping[str, Any], worker: int | None = None) -> BaseSampler:
    """Make the sampler that a study's settings name.

    Parameters
    ----------
    settings
        With ``sampler``, ``sampler_options`` and ``seed``.
    worker
        A number of this worker among all. Samplers that draw from a seed alone would repeat
        each other with the same one, so theirs is derived from both. S2E needs no number.

    Raises
    ------
    ConfigError
        If the sampler does not take these options, or a package is missing.
    """
    name, options = settings["sampler"], {"seed": settings["seed"], **settings["sampler_options"]}
    if name in ("tpe", "random", "cmaes", "gp") and worker is not None:
        import numpy as np

        options["seed"] = int(
            np.random.SeedSequence([options["seed"], worker]).generate_state(1)[0]
        )
    if name == "tpe":
        options = {"constant_liar": True, **options}  # several workers, several trials at once
    kinds: dict[str, Any] = {
        "s2e": S2ESampler,
        "tpe": optuna.samplers.TPESampler,
        "random": optuna.samplers.RandomSampler,
        "cmaes": optuna.samplers.CmaEsSampler,
        "gp": optuna.samplers.GPSampler,
        "qmc": optuna.samplers.QMCSampler,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler: BaseSampler = kinds[name](**options)
            return sampler
    except ImportError as error:
        raise ConfigError(f"the sampler {name} needs a package: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the sampler {name} does not take these options: {error}") from error


def objective_of(
    stored: Mapping[str, Any], device: str, artifacts: Path | None = None
) -> CoTeachingObjective:
    """Make the objective that a study's stored configuration describes.

    Parameters
    ----------
    stored
        See `read_stored`.
    device
        What to train on.
    artifacts
        Folder for pictures of trials, if another one than the search has stored. If neither is
        there, which is usual on another machine, a warning says so and there are no pictures.
    """
    names = ("method", "network", "space", "epochs", "batch_size", "learning_rate", "seed")
    # Studies of earlier versions lack some options, which were at their defaults then.
    options: dict[str, Any] = {
        name: stored.get(name) for name in (*names, *DATA_OPTIONS, "report_every")
    }
    options |= {name: stored.get(name, default) for name, default in LATER_SETTINGS.items()}
    folder = _usable_artifacts(artifacts or stored.get("artifacts"))
    return CoTeachingObjective(
        stored["data"],
        device=device,
        artifacts=folder,
        checkpoints=stored.get("checkpoints"),
        checkpoint_minutes=stored.get("checkpoint_minutes", MINUTES),
        **options,
    )


def _usable_artifacts(folder: str | Path | None) -> Path | None:
    if folder is None or (path := Path(folder)).is_dir():
        return None if folder is None else path
    _logger.warning(
        "The artifact folder %s is not on this machine: trials of this worker will have no "
        "pictures in the dashboard. Mount it here, or name it with --artifacts.",
        path,
    )
    return None


def read_stored(study: optuna.Study) -> dict[str, Any]:
    """Read the configuration of a study that a search has made.

    Raises
    ------
    ConfigError
        If the study was made by something else.
    """
    attrs = study.user_attrs
    if CONFIG_ATTR not in attrs or TARGET_ATTR not in attrs:
        raise ConfigError(
            f"the study {study.study_name!r} was not made by s2e search: choose another study."
        )
    return dict(attrs[CONFIG_ATTR])


def check_same(stored: Mapping[str, Any], config: SearchConfig) -> None:
    """Refuse to go on with a study whose trials did something else (`ConfigError`)."""
    wanted = config.settings()
    before = {**LATER_SETTINGS, **stored}
    different = [name for name in wanted if before.get(name) != wanted[name]]
    if different:
        told = "; ".join(
            f"{name} is {before.get(name)!r}, not {wanted[name]!r}" for name in different
        )
        raise ConfigError(
            f"the study {config.study_name!r} exists with other settings ({told}): "
            "choose another name with --study, or the same settings to go on with it."
        )


def check_direction(study: optuna.Study) -> None:
    """Refuse studies that do not minimise one value (`ConfigError`)."""
    if len(study.directions) > 1:
        raise ConfigError(
            f"the study {study.study_name!r} has {len(study.directions)} objectives, "
            "a search has one: choose another name with --study."
        )
    if study.direction != optuna.study.StudyDirection.MINIMIZE:
        raise ConfigError(
            f"the study {study.study_name!r} maximises, a search minimises the error: "
            "choose another name with --study."
        )
