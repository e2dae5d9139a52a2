"""A search: one frozen value, checked before anything is written (long: one field an option).

Imports neither torch nor Optuna: the command line is made of these fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2e_optuna.data.spec import DataSpec
from s2e_optuna.errors import ConfigError, check_integer
from s2e_optuna.objective import MINUTES
from s2e_optuna.objective.searched import SEARCHABLE, searched_names
from s2e_optuna.options import (
    OUTPUT_PANEL,
    SEARCH_PANEL,
    TRAINING_PANEL,
    WORKERS_PANEL,
    build,
    named_values,
    option,
    settings,
    values,
)
from s2e_optuna.storages.urls import artifact_folder, default_storage, is_in_memory
from s2e_optuna.stored_names import folder_name
from s2e_optuna.training.config import TrainConfig

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from s2e_optuna.data import NoisyData
    from s2e_optuna.data.pretrained_vectors import Extract
    from s2e_optuna.search.budget import Budget
else:  # evaluated where the command line is made of these types; Optuna would be imported for it
    BaseStorage = Any

SAMPLERS = ("s2e", "tpe", "random", "cmaes", "gp", "qmc")
"""Names of samplers."""

SPACE_NAMES = ("s2e", "coteaching", "single", "rbf", "mlp")
"""Names of search spaces; a test compares them with `s2e_optuna.schedules.SPACES`."""

SEARCHED_METHODS = ("mentornet", "coteaching", "coteaching_plus", "comining")
"""Methods with a schedule to search for; a test compares them."""

LAUNCHERS = ("local", "ray")
"""Where workers can run."""


@dataclass(frozen=True)
class SearchConfig:
    """A search; what is wrong about it is said when it is made, or before it starts.

    Attributes
    ----------
    data
        What is searched on.
    training
        How trials and the final comparison train. Its seed is also that of the sampler; workers
        are spread over its devices.
    method
        Method whose schedule is searched for.
    space
        Search space of the schedule.
    trials
        The budget N: finished trials in the study.
    epochs_total, minutes
        Further budgets: epochs of all trials together, and minutes of trials in a run. The search
        ends with its results when the first of them is spent; None sets no limit.
    sampler, sampler_options
        One of `SAMPLERS`, and keyword arguments for it.
    search
        Parameters of the training that are searched beside the schedule, of `SEARCHABLE`.
    leave_early
        Whether trials that will not win leave, see `s2e_optuna.objective.leaving`.
    final_seeds
        Seeds of the final comparison; 0 leaves it out.
    folds
        Folds of the cross-validation for the list of suspects; 0 leaves it out.
    workers
        Local processes.
    stack
        Trials that a worker trains at once, at most.
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
    storage
        URL for `open_storage`, or a storage object that other processes can use.
    study
        Name of the study; by default made of the data's name and the noise.
    warm_from
        A study of the same storage; a new study begins with its best schedules.
    anyway
        Go on with a study though the data have changed since it was begun.
    artifacts
        Folder for pictures and curves of the trials, made if it is missing; by default
        `s2e_optuna.storages.urls.artifact_folder` of the storage's URL, and none for a
        storage object.
    out
        Folder for what the search leaves behind, in place of what another search has left there;
        by default ``s2e-out/`` and the study's name.

    Raises
    ------
    ConfigError
        If a value is unknown or out of range.

    Examples
    --------
    >>> from s2e_optuna.data import DataSpec
    >>> from s2e_optuna.training import TrainConfig
    >>> config = SearchConfig(DataSpec("digits"), TrainConfig(epochs=20), trials=8)
    >>> config == SearchConfig.of(data="digits", epochs=20, trials=8)
    True
    """

    data: DataSpec = field(default_factory=DataSpec)
    training: TrainConfig = field(default_factory=TrainConfig)
    method: str = option(
        "coteaching",
        f"Method whose R(t) is searched: {', '.join(SEARCHED_METHODS)}.",
        panel=TRAINING_PANEL,
        choices=SEARCHED_METHODS,
        metavar="NAME",
    )
    trials: int = option(
        48,
        "Finished trials in the study; fewer than it was to have end it with its results.",
        panel=SEARCH_PANEL,
        metavar="N",
        stored=False,
    )
    epochs_total: int | None = option(
        None,
        "End the search after so many epochs of all trials together, if it has fewer trials then.",
        panel=SEARCH_PANEL,
        metavar="N",
        stored=False,
    )
    minutes: float | None = option(
        None,
        "End the search after that time and write its results, if it has fewer trials then; "
        "what follows it takes as long again, about.",
        panel=SEARCH_PANEL,
        metavar="M",
        stored=False,
    )
    sampler: str = option(
        "s2e",
        "s2e, tpe, random, cmaes, gp or qmc.",
        panel=SEARCH_PANEL,
        choices=SAMPLERS,
        metavar="NAME",
    )
    sampler_options: Mapping[str, Any] = option(
        factory=dict,
        help="An option of the sampler, for example batch_size=6; may be repeated.",
        panel=SEARCH_PANEL,
        flag="sampler-option",
        parse=named_values,
        metavar="NAME=VALUE",
    )
    space: str = option(
        "s2e",
        "Search space: s2e, coteaching, single, rbf or mlp.",
        panel=SEARCH_PANEL,
        choices=SPACE_NAMES,
        metavar="NAME",
    )
    search: str | None = option(
        None,
        f"Search these jointly with R(t), names with commas between: {', '.join(SEARCHABLE)}. "
        "Plain training searches the same ones as long.",
        panel=SEARCH_PANEL,
        metavar="NAMES",
    )
    leave_early: bool = option(
        True,
        "Trials that will not win leave early: at 20, 40 and 70% of the epochs those whose best "
        "epochs so far are not in the best third, or too far from the best trial to reach it. "
        "Only with --stop best.",
        panel=SEARCH_PANEL,
        before=False,
        adopted=True,
    )
    final_seeds: int = option(
        5,
        "Seeds of the final comparison; 0 leaves it out.",
        panel=SEARCH_PANEL,
        flag="seeds",
        least=0,
        metavar="N",
        stored=False,
    )
    folds: int = option(
        5,
        "Folds of the cross-validation for the list of suspects; 0 leaves it out.",
        panel=SEARCH_PANEL,
        metavar="N",
        stored=False,
    )
    workers: int = option(1, "Local processes.", panel=WORKERS_PANEL, metavar="N", stored=False)
    stack: int = option(
        8, "Trials that a worker trains at once.", panel=WORKERS_PANEL, metavar="P", stored=False
    )
    report_every: int | None = option(
        None,
        "Epochs between two reports of a trial; default: about 20 reports a trial.",
        panel=WORKERS_PANEL,
        metavar="N",
        stored=False,
    )
    checkpoint_minutes: float = option(
        MINUTES,
        "Keep long trainings so often, so that a killed one goes on; 0: never.",
        panel=WORKERS_PANEL,
        metavar="MINUTES",
        stored=False,
    )
    launcher: str = option(
        "local",
        "Where workers run: local processes, or tasks of a ray cluster (RAY_ADDRESS).",
        panel=WORKERS_PANEL,
        choices=LAUNCHERS,
        metavar="NAME",
        stored=False,
    )
    gpus_per_worker: float | None = option(
        None,
        "For ray: GPUs of a worker; fractions share one.",
        panel=WORKERS_PANEL,
        metavar="N",
        stored=False,
    )
    storage: str | BaseStorage = option(
        factory=default_storage,
        help="sqlite:///file.db, postgresql+psycopg://…, journal:///file.log or "
        "grpc://host:port. Default: sqlite:///storage/s2e.db if there is a folder storage, "
        "else sqlite:///s2e.db.",
        panel=WORKERS_PANEL,
        envvar="S2E_STORAGE",
        metavar="URL",
        stored=False,
    )
    study: str | None = option(
        None,
        "Name of the study; default: made of data and noise.",
        panel=WORKERS_PANEL,
        complete="studies",
        metavar="NAME",
        stored=False,
    )
    warm_from: str | None = option(
        None,
        "A new study begins with the best schedules of this one, in the same storage.",
        panel=SEARCH_PANEL,
        complete="studies",
        metavar="STUDY",
        stored=False,
    )
    anyway: bool = option(
        False,
        "Go on with a study though the data have changed since it was begun.",
        panel=SEARCH_PANEL,
        stored=False,
    )
    artifacts: Path | str | None = option(
        None,
        "Folder for pictures and curves of the trials, which the dashboard shows; default: "
        "artifacts beside the storage's file, or storage/artifacts.",
        panel=WORKERS_PANEL,
        envvar="S2E_ARTIFACTS",
        metavar="FOLDER",
        stored=False,
    )
    out: Path | str | None = option(
        None,
        "Folder for schedule, model, pictures and suspicious labels; default: s2e-out/ "
        "and the study's name.",
        panel=OUTPUT_PANEL,
        metavar="FOLDER",
        stored=False,
    )

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_names()
        if not isinstance(self.storage, str):
            from optuna.storages import InMemoryStorage

            if isinstance(self.storage, InMemoryStorage):
                raise ConfigError(
                    "a storage in memory cannot be shared with worker processes: give a URL, "
                    "for example sqlite:///s2e.db."
                )
        elif is_in_memory(self.storage):
            raise ConfigError(
                "a SQLite database in memory cannot be shared with worker processes: "
                "give a file, for example sqlite:///s2e.db."
            )

    @classmethod
    def of(cls, **options: Any) -> SearchConfig:
        """Make a search of options by name, its own and those of its data and training."""
        return build(cls, options)

    def _check_numbers(self) -> None:
        for name in ("trials", "workers", "stack"):
            check_integer(name, getattr(self, name), 1, ConfigError)
        if self.folds == 1:
            raise ConfigError("`folds` must be 2 or more, or 0 to leave the cross-validation out.")
        for name in ("final_seeds", "folds"):
            check_integer(name, getattr(self, name), 0, ConfigError)
        if self.report_every is not None:
            check_integer("report_every", self.report_every, 1, ConfigError)
        if self.epochs_total is not None:
            check_integer("epochs_total", self.epochs_total, 1, ConfigError)
        if self.minutes is not None and not 0.0 < self.minutes < math.inf:
            raise ConfigError(f"`minutes` must be more than 0, but is {self.minutes}.")
        if self.gpus_per_worker is not None and self.launcher != "ray":
            raise ConfigError("`gpus_per_worker` needs the launcher ray; else name a `device`.")
        if self.gpus_per_worker is not None and not 0.0 <= self.gpus_per_worker < math.inf:
            raise ConfigError(
                f"`gpus_per_worker` must be 0 or more, but is {self.gpus_per_worker}."
            )
        if not (self.checkpoint_minutes >= 0 and math.isfinite(self.checkpoint_minutes)):
            raise ConfigError(
                f"`checkpoint_minutes` must be 0 or more, but is {self.checkpoint_minutes}."
            )
        if self.sampler == "s2e":
            batch_size = self.sampler_options.get("batch_size", 1)
            check_integer("the sampler's batch_size (K)", batch_size, 1, ConfigError)

    def _check_names(self) -> None:
        # These know the names; they import torch and Optuna.
        from s2e_optuna.objective import check_searchable
        from s2e_optuna.schedules import get_space
        from s2e_optuna.search.samplers import make_sampler
        from s2e_optuna.training import check_execution, check_network

        if self.launcher not in LAUNCHERS:
            raise ConfigError(
                f"unknown launcher {self.launcher!r}: choose one of {', '.join(LAUNCHERS)}."
            )
        if self.sampler not in SAMPLERS:
            raise ConfigError(
                f"unknown sampler {self.sampler!r}: choose one of {', '.join(SAMPLERS)}."
            )
        if self.study is not None and not self.study.strip():
            raise ConfigError("the study's name is empty: leave it out, or give one.")
        if self.data.noise is None and self.data.noise_rate is not None:
            raise ConfigError("`noise_rate` needs `noise`: choose symmetric, pair or instance.")
        if not isinstance(self.data.data, str | Path) or not isinstance(
            self.data.noise, str | Path | None
        ):
            raise ConfigError(
                "workers read the data themselves: give a name or a path, and a file with the "
                "transition matrix. (CoTeachingObjective takes data in memory.)"
            )
        if not isinstance(self.training.augment, str):
            raise ConfigError(
                "a search stores its settings, so `augment` is a name: functions are for "
                "CoTeachingObjective."
            )
        try:
            get_space(self.space)
            check_searchable(self.method)
            check_network(self.training.network)
            check_execution(self.training.network, self.training.execution)
            if "weight_decay" in self.searched and self.training.weight_decay:
                raise ConfigError(
                    f"weight decay is searched, and {self.training.weight_decay:g} is given, too: "
                    "leave out `weight_decay`, or take it out of `search`."
                )
            _ = self.devices
            make_sampler(self.settings())
        except ValueError as error:
            raise error if isinstance(error, ConfigError) else ConfigError(str(error)) from error

    @property
    def searched(self) -> tuple[str, ...]:
        """Names of what is searched beside the schedule."""
        return searched_names(self.search)

    @property
    def study_name(self) -> str:
        """The name that was given, or one made of data and noise."""
        return self.data.label if self.study is None else self.study

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
        from s2e_optuna.device import split_devices

        return split_devices(self.training.device)

    @property
    def final_training(self) -> TrainConfig:
        """How the final comparison trains: on the first of the devices."""
        return replace(self.training, device=self.devices[0])

    @property
    def masked_storage(self) -> str:
        """The storage in words, without passwords."""
        from s2e_optuna.storages import mask_password

        if isinstance(self.storage, str):
            return mask_password(self.storage)
        return type(self.storage).__name__

    @property
    def budget(self) -> Budget | None:
        """What trials may cost together; None without a limit."""
        from s2e_optuna.search.budget import Budget

        if self.minutes is None and self.epochs_total is None:
            return None
        return Budget(self.training.epochs, self.minutes, self.epochs_total)

    def settings(self) -> dict[str, Any]:
        """Return what decides about a trial's result: stored, and compared on resuming."""
        return {
            **self.data.settings(),
            **self.training.settings(),
            **settings(self),
            "sampler_options": dict(self.sampler_options),
            "search": ",".join(self.searched) or None,
        }

    def stored(self) -> dict[str, Any]:
        """Return what a worker needs to know: the settings, and how to carry them out."""
        root, folder = self.data.data_root, self.artifact_folder
        return {
            **self.settings(),
            "data_root": None if root is None else str(Path(root).expanduser().resolve()),
            "report_every": self.report_every,
            "checkpoints": str(self.checkpoints.resolve()) if self.checkpoints else None,
            "checkpoint_minutes": self.checkpoint_minutes,
            "artifacts": None if folder is None else str(folder),
        }

    def described(self) -> dict[str, Any]:
        """Return all options by name, for JSON: another search like this one begins with them.

        A storage whose URL holds a password, or that has no URL, is None.
        """
        url = self.storage if self.storage == self.masked_storage else None
        own = {name: str(v) if isinstance(v, Path) else v for name, v in values(self).items()}
        stored = {name: v for name, v in self.data.settings().items() if name in own}
        named = {"study": self.study_name, "storage": url, "out": str(self.folder)}
        return {**own, **stored, **named}

    def _extract(self) -> Extract | None:
        """Return what computes features of images in place of this process."""
        if self.launcher != "ray" or self.data.features is None:
            return None
        from s2e_optuna.search.ray_shards import RayShards

        return RayShards(self.workers, self.ray_gpus)

    @property
    def ray_gpus(self) -> float | None:
        """GPUs of each task on Ray; None takes one where the cluster has some."""
        if self.gpus_per_worker is None and self.training.device != "auto":
            return float(self.devices[0] != "cpu")
        return self.gpus_per_worker

    def load(self, progress: Callable[[int, int], None] | None = None) -> NoisyData:
        """Load the data and check that they can be trained on.

        Parameters
        ----------
        progress
            Told how many images have been decoded, and how many there are.

        Raises
        ------
        s2e_optuna.errors.DataError
            What `load_data` refuses, or if the network does not fit, or there are more folds
            than training samples.
        ConfigError
            If there are fewer training samples than a batch.
        """
        from s2e_optuna.data import Augmentation
        from s2e_optuna.labels import check_folds
        from s2e_optuna.training import make_network

        training = self.training
        data = self.data.load(progress, device=self.devices[0], extract=self._extract())
        network = make_network(
            training.network, data.input_shape, data.n_classes, execution=training.execution
        )
        network.check_weights()
        Augmentation.of(training.augment, training.seed, data.input_shape)
        if training.batch_size is not None and len(data.y_train) < training.batch_size:
            raise ConfigError(
                f"the training part has {len(data.y_train)} samples, fewer than one batch of "
                f"{training.batch_size}: choose a `batch_size` of at most {len(data.y_train)}."
            )
        if self.final_seeds and self.folds:
            check_folds(self.folds, len(data.y_train))
        return data
