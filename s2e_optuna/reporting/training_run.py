"""``s2e train``: one method or schedule over several seeds, and what it leaves behind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from s2e_optuna.reporting.errors import InputError, one_sentence
from s2e_optuna.reporting.plots import LearningCurves, learning_figure, save_figure
from s2e_optuna.reporting.progress import ProgressDisplay
from s2e_optuna.reporting.terminal import (
    ComparisonRow,
    comparison_table,
    duration,
    print_schedules,
)
from s2e_optuna.schedules import Schedule

if TYPE_CHECKING:
    from s2e_optuna.training import ComparisonProgress, NoisyData, TrainResult

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
    network, epochs, batch_size, device
        See `s2e_optuna.training.TrainConfig`; no epochs are those of the schedule, or 200.
    seed, seeds
        The first seed, and how many.
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
    network: str = "auto"
    epochs: int | None = None
    batch_size: int | None = None
    device: str = "auto"
    data_root: Path | None = None
    seed: int = 0
    seeds: int = 3


@dataclass(frozen=True)
class TrainOutcome:
    """What a training over seeds gave."""

    request: TrainRequest
    name: str
    method: str
    schedule: Schedule | None
    data: NoisyData
    results: tuple[TrainResult, ...]

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
    from s2e_optuna.training import (
        DATA_OPTIONS,
        TrainConfig,
        evaluate_schedules,
        get_method,
        load_data,
    )

    if request.seeds < 1:
        raise InputError(f"--seeds must be at least 1, but is {request.seeds}.")
    method = request.method or "coteaching"
    uses_schedule = get_method(method).uses_schedule
    if request.schedule is not None and not uses_schedule:
        raise InputError(f"method {method!r} takes no schedule: leave --schedule out.")
    schedule = None if request.schedule is None else read_schedule(request.schedule)
    epochs = _epochs(request, schedule)
    if uses_schedule and schedule is None:
        if request.noise_rate is None:
            raise InputError(
                f"method {method!r} needs to know how much to keep: give --schedule FILE, "
                "or --noise-rate for Co-teaching's own schedule."
            )
        schedule = Schedule.coteaching(epochs, request.noise_rate)
    options = {name: getattr(request, name) for name in DATA_OPTIONS}
    data = load_data(request.data, seed=request.seed, progress=display.reading, **options)
    config = TrainConfig(
        epochs=epochs,
        network=request.network,
        batch_size=request.batch_size,
        device=request.device,
    )
    name = method if request.schedule is None else f"{method}, {request.schedule.name}"
    seeds = range(request.seed, request.seed + request.seeds)

    def show(progress: ComparisonProgress) -> None:
        number = progress.seed - request.seed + 1
        display.training(f"seed {number} of {len(seeds)}", progress.epoch, epochs)

    results = evaluate_schedules({name: (method, schedule)}, data, config, seeds, show)[name]
    return TrainOutcome(request, name, method, schedule, data, tuple(results))


def read_schedule(path: Path) -> Schedule:
    """Read a schedule's JSON file; InputError says what is wrong with it."""
    try:
        return Schedule.from_json(path)
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError, too
        reason = error.strerror if isinstance(error, OSError) else one_sentence(error)
        raise InputError(f"cannot read the schedule {path}: {reason}") from error


def check_output_folder(path: Path | None) -> None:
    """Raise InputError, before hours of work, if results cannot be written to ``path``."""
    if path is None:
        return
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file: --out names a folder.")
    parent = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not parent.is_dir():
        raise InputError(f"{path} cannot be made: {parent} is a file.")


def check_labels_file(path: Path | None) -> None:
    """Raise an error, before hours of work, if labels cannot be saved to ``path``."""
    from s2e_optuna.training import check_labels_path

    if path is not None:
        check_labels_path(path)


def save_drawn_labels(outcome: TrainOutcome, path: Path) -> Path:
    """Save the labels that were trained on."""
    from s2e_optuna.training import save_labels

    save_labels(path, outcome.data)
    return path


def save_outcome(outcome: TrainOutcome, folder: Path) -> list[Path]:
    """Write the best model, its learning curves, its schedule and its list of suspects."""
    from s2e_optuna.training import get_method, save_model, suspects, write_suspects

    best = outcome.best
    if best is None or best.model is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "model.safetensors"]
    save_model(best.model, written[0])
    curves = learning_curves(outcome)
    if curves:
        figure = learning_figure(curves, y_label="accuracy", title=outcome.data.name)
        written.append(save_figure(figure, folder / "learning.png"))
    if outcome.schedule is not None:
        outcome.schedule.to_json(folder / "schedule.json")
        written.append(folder / "schedule.json")
    if get_method(outcome.method).uses_schedule:
        write_suspects(suspects(outcome.complete, outcome.data), folder / "suspects.csv")
        written.append(folder / "suspects.csv")
    return written


def learning_curves(outcome: TrainOutcome) -> list[LearningCurves]:
    """Collect the curves worth drawing: those that were measured."""
    curves = {
        "test accuracy": [result.test_accuracy for result in outcome.complete],
        "validation accuracy": [result.validation_accuracy for result in outcome.complete],
        "label precision": [result.label_precision for result in outcome.complete],
    }
    return [
        LearningCurves(name, np.stack(values))
        for name, values in curves.items()
        if values and np.isfinite(np.stack(values)).any()
    ]


def print_outcome(target: Console, outcome: TrainOutcome, written: list[Path]) -> None:
    """Print the accuracies, the schedule, and where the files lie."""
    data = outcome.data
    target.print(
        f"{data.name}: {len(data.y_train)} training samples, {data.n_classes} classes, "
        f"labels: {data.noise}, validation part: {data.validation}.",
        markup=False,
    )
    target.print()
    if outcome.complete:
        target.print(comparison_table([outcome.row], target, title="Accuracy"))
    for result in outcome.results:
        if result.failure is not None:
            target.print(f"seed {result.seed}: {result.failure}", markup=False)
    if outcome.schedule is not None:
        target.print()
        print_schedules(target, [outcome.schedule])
    seconds = sum(result.seconds for result in outcome.results)
    target.print(f"\nTrained for {duration(seconds)}.")
    for path in written:
        target.print(f"  {path}", markup=False, soft_wrap=True)


def outcome_dict(outcome: TrainOutcome, written: list[Path]) -> dict[str, Any]:
    """Return what `print_outcome` shows, for programs."""
    return {
        "data": outcome.data.name,
        "noise": outcome.data.noise,
        "validation": outcome.data.validation,
        "method": outcome.method,
        "schedule": None
        if outcome.schedule is None
        else [float(rate) for rate in outcome.schedule.rates],
        "seeds": [result.seed for result in outcome.results],
        "failures": [result.failure for result in outcome.results if result.failure is not None],
        "validation_accuracy": _summary(outcome.row.validation),
        "test_accuracy": _summary(outcome.row.test),
        "files": [str(path) for path in written],
    }


def _epochs(request: TrainRequest, schedule: Schedule | None) -> int:
    if schedule is None:
        return DEFAULT_EPOCHS if request.epochs is None else request.epochs
    if request.epochs is not None and request.epochs != schedule.epochs:
        raise InputError(
            f"{request.schedule} is a schedule of {schedule.epochs} epochs: "
            f"leave --epochs {request.epochs} out."
        )
    return schedule.epochs


def _numbers(results: tuple[TrainResult, ...], curve: str) -> tuple[float, ...]:
    values = (_mean_of_last(result, curve) for result in results)
    return tuple(value for value in values if math.isfinite(value))


def _mean_of_last(result: TrainResult, curve: str) -> float:
    from s2e_optuna.objective import last_epochs, mean_of_last

    return mean_of_last(getattr(result, curve), last_epochs(len(result.rates)))


def _summary(values: tuple[float, ...]) -> dict[str, Any] | None:
    if not values:
        return None
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": spread, "values": list(values)}
