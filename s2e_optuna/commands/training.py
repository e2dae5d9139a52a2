"""``s2e train``: one method or schedule over several seeds, and what it leaves behind."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from s2e_optuna.errors import InputError, one_sentence
from s2e_optuna.reporting.progress import ProgressDisplay
from s2e_optuna.reporting.terminal import (
    ComparisonRow,
)
from s2e_optuna.schedules import Schedule
from s2e_optuna.writable import check_writable

if TYPE_CHECKING:
    from s2e_optuna.data import NoisyData
    from s2e_optuna.labels import Suspect, Unseen
    from s2e_optuna.training import ComparisonProgress, TrainConfig, TrainResult

DEFAULT_EPOCHS = 200


@dataclass(frozen=True)
class TrainRequest:
    """What to train; the command line's options.

    Attributes
    ----------
    data, noise, noise_rate, train_size, validation, labels, path_column, label_column,
    clean_column, image_size, data_root
        See `s2e_optuna.training.load_data`.
    method
        A name in `s2e_optuna.training.METHODS`; None is ``coteaching``.
    schedule
        File with a schedule, or None.
    keep_rate
        Share of a batch to keep in the end, in place of a schedule; or None.
    network, epochs, batch_size, optimizer, precision, execution, augment, device
        See `s2e_optuna.training.TrainConfig`; no epochs are those of the schedule, or 200.
    seed, seeds
        The first seed, and how many.
    folds
        Folds of a cross-validation for the list of suspects; 0 leaves it out.
    """

    data: str = "digits"
    noise: str | None = None
    noise_rate: float | None = None
    train_size: int | None = None
    validation: str = "auto"
    labels: Path | None = None
    path_column: str | None = None
    label_column: str | None = None
    clean_column: str | None = None
    image_size: int | None = None
    method: str | None = None
    schedule: Path | None = None
    keep_rate: float | None = None
    network: str = "auto"
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: str = "adam"
    precision: str = "float32"
    execution: str = "auto"
    augment: str = "none"
    device: str = "auto"
    data_root: Path | None = None
    seed: int = 0
    seeds: int = 3
    folds: int = 0


@dataclass(frozen=True)
class TrainOutcome:
    """What a training over seeds gave."""

    request: TrainRequest
    name: str
    method: str
    schedule: Schedule | None
    config: TrainConfig
    data: NoisyData
    results: tuple[TrainResult, ...]
    unseen: Unseen | None = None

    @property
    def complete(self) -> tuple[TrainResult, ...]:
        """The trainings that ran to their end."""
        return tuple(result for result in self.results if result.status == "complete")

    @property
    def best(self) -> TrainResult | None:
        """The training with the best validation accuracy: the one whose model is kept."""
        return max(
            self.complete,
            key=lambda result: _mean_of_last(result, "validation_accuracy"),
            default=None,
        )

    @cached_property
    def suspects(self) -> list[Suspect]:
        """All samples, the most doubtful labels first; at least one training is complete."""
        from s2e_optuna.labels import suspects

        return suspects(self.complete, self.data, self.unseen, self.config.device)

    @property
    def network(self) -> str:
        """Name of the network that was trained."""
        best = self.best
        return self.request.network if best is None or best.model is None else best.model.network

    @property
    def row(self) -> ComparisonRow:
        """The line of the comparison table: means of the last epochs, as in a search."""
        return ComparisonRow(
            self.name,
            test=_numbers(self.complete, "test_accuracy"),
            validation=_numbers(self.complete, "validation_accuracy"),
            label_precision=_numbers(self.complete, "label_precision"),
        )


def run_training(request: TrainRequest, display: ProgressDisplay) -> TrainOutcome:
    """Train with every seed.

    Raises
    ------
    InputError
        If the schedule cannot be read or does not fit the other options.
    s2e_optuna.training.DataError
        If the data, the method or the device cannot be used.
    """
    from s2e_optuna.data import DATA_OPTIONS, load_data
    from s2e_optuna.labels import check_folds, unseen_probabilities
    from s2e_optuna.training import TrainConfig, evaluate_schedules, get_method

    if request.seeds < 1:
        raise InputError(f"--seeds must be at least 1, but is {request.seeds}.")
    if request.folds < 0 or request.folds == 1:
        raise InputError(f"--folds must be 0 or at least 2, but is {request.folds}.")
    method = request.method or "coteaching"
    rule = get_method(method)
    schedule = _schedule(request, method, rule.uses_schedule)
    epochs = _epochs(request) if schedule is None else schedule.epochs
    options = {name: getattr(request, name) for name in DATA_OPTIONS}
    data = load_data(request.data, seed=request.seed, progress=display.reading, **options)
    if request.folds:
        check_folds(request.folds, len(data.y_train))
    config = TrainConfig(
        epochs=epochs,
        network=request.network,
        batch_size=request.batch_size,
        optimizer=request.optimizer,
        precision=request.precision,
        execution=request.execution,
        augment=request.augment,
        device=request.device,
    )
    name = method if request.schedule is None else f"{method}, {request.schedule.name}"
    if rule.uses_clean_data:
        name += " (learns from clean data)"
    seeds = range(request.seed, request.seed + request.seeds)

    def show(progress: ComparisonProgress) -> None:
        number = progress.seed - request.seed + 1
        what = f"seed {number} of {len(seeds)}" + (", preparing" if progress.preparing else "")
        display.training(what, progress.epoch, epochs)

    results = evaluate_schedules({name: (method, schedule)}, data, config, seeds, show)[name]
    unseen = None
    if request.folds and any(result.status == "complete" for result in results):

        def show_fold(fold: int, epoch: int) -> None:
            display.training(f"fold {fold + 1} of {request.folds}", epoch, epochs)

        settings = replace(config, seed=request.seed + request.seeds)
        unseen = unseen_probabilities(method, schedule, data, settings, request.folds, show_fold)
    return TrainOutcome(request, name, method, schedule, config, data, tuple(results), unseen)


def read_schedule(path: Path) -> Schedule:
    """Read a schedule's JSON file; InputError says what is wrong with it."""
    try:
        return Schedule.from_json(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else one_sentence(error)
        raise InputError(f"cannot read the schedule {path}: {reason}") from error


def check_output_folder(path: Path | None) -> None:
    """Raise an error, before hours of work, if results cannot be written to ``path``."""
    if path is None:
        return
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file: --out names a folder.")
    parent = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not parent.is_dir():
        raise InputError(f"{path} cannot be made: {parent} is a file.")
    check_writable(path)


def check_labels_file(path: Path | None) -> None:
    """Raise an error, before hours of work, if labels cannot be saved to ``path``."""
    from s2e_optuna.data import check_labels_path

    if path is not None:
        check_labels_path(path)


def _schedule(request: TrainRequest, method: str, uses_schedule: bool) -> Schedule | None:
    """Return the schedule to train with: of a file, of a share to keep, or of the noise rate."""
    if request.schedule is not None and request.keep_rate is not None:
        raise InputError("--schedule and --keep-rate both say how much to keep: leave one out.")
    if not uses_schedule:
        for option, given in (
            ("--schedule", request.schedule),
            ("--keep-rate", request.keep_rate),
        ):
            if given is not None:
                raise InputError(f"method {method!r} takes no schedule: leave {option} out.")
        return None
    if request.schedule is not None:
        schedule = read_schedule(request.schedule)
        if request.epochs is not None and request.epochs != schedule.epochs:
            raise InputError(
                f"{request.schedule} is a schedule of {schedule.epochs} epochs: "
                f"leave --epochs {request.epochs} out."
            )
        return schedule
    if request.keep_rate is not None:
        if not 0.0 < request.keep_rate <= 1.0:
            raise InputError(
                f"--keep-rate must be above 0 and at most 1, not {request.keep_rate}."
            )
        name = f"keep {request.keep_rate:g}"
        return Schedule.coteaching(_epochs(request), 1.0 - request.keep_rate, name=name)
    if request.noise_rate is None:
        raise InputError(
            f"method {method!r} needs to know how much to keep: give --schedule FILE, "
            "--keep-rate SHARE, or --noise-rate for Co-teaching's own schedule."
        )
    return Schedule.coteaching(_epochs(request), request.noise_rate)


def _epochs(request: TrainRequest) -> int:
    return DEFAULT_EPOCHS if request.epochs is None else request.epochs


def _numbers(results: tuple[TrainResult, ...], curve: str) -> tuple[float, ...]:
    values = (_mean_of_last(result, curve) for result in results)
    return tuple(value for value in values if math.isfinite(value))


def _mean_of_last(result: TrainResult, curve: str) -> float:
    from s2e_optuna.scores import last_epochs, mean_of_last

    return mean_of_last(getattr(result, curve), last_epochs(len(result.rates)))
