"""``s2e train``: one method or schedule over several seeds, and what it leaves behind."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from s2e_optuna.commands.requests import TrainRequest
from s2e_optuna.errors import InputError, one_sentence
from s2e_optuna.reporting.progress import ProgressDisplay
from s2e_optuna.reporting.terminal import ComparisonRow
from s2e_optuna.schedules import Schedule
from s2e_optuna.training.config import TrainConfig

if TYPE_CHECKING:
    from s2e_optuna.data import NoisyData
    from s2e_optuna.labels import Judgement
    from s2e_optuna.search.final import Final
    from s2e_optuna.training import ComparisonProgress, TrainResult


@dataclass(frozen=True)
class TrainOutcome:
    """What a training over seeds gave."""

    request: TrainRequest
    name: str
    schedule: Schedule | None
    data: NoisyData
    final: Final

    @property
    def config(self) -> TrainConfig:
        """How it was trained, but for the seeds."""
        return self.final.training

    @property
    def results(self) -> tuple[TrainResult, ...]:
        """The trainings, one a seed."""
        return self.final.results[self.name]

    @property
    def complete(self) -> tuple[TrainResult, ...]:
        """The trainings that ran to their end."""
        return tuple(result for result in self.results if result.status == "complete")

    @property
    def best(self) -> TrainResult | None:
        """The training with the best validation accuracy: the one whose model is kept."""
        return next(iter(self.final.complete), None)

    @cached_property
    def judgement(self) -> Judgement:
        """What the labels are worth; at least one training is complete."""
        return self.final.judge(self.data)

    @property
    def network(self) -> str:
        """Name of the network that was trained."""
        best = self.best
        if best is None or best.model is None:
            return str(self.request.training.network)
        return best.model.network

    @property
    def row(self) -> ComparisonRow:
        """The line of the comparison table, of the models that are kept, as in a search."""
        from s2e_optuna.scores import judged, reached
        from s2e_optuna.search.final import expected_validation

        stop, usual = self.config.stop, self.config.metric == "accuracy"
        runs = [(run.curves, run.validation_value) for run in self.complete]
        return ComparisonRow(
            self.name,
            test=_finite(reached(curves["test_accuracy"], v, stop) for curves, v in runs),
            validation=_finite(
                judged(v, stop) if usual else reached(curves["validation_accuracy"], v, stop)
                for curves, v in runs
            ),
            label_precision=_finite(
                reached(curves["label_precision"], v, stop) for curves, v in runs
            ),
            last_epochs=_finite(reached(curves["test_accuracy"], v, "last") for curves, v in runs)
            if stop == "best"
            else (),
            expected=_finite(expected_validation(run, stop) for run in self.complete),
            test_metric=()
            if usual
            else _finite(reached(curves["test_metric"], v, stop) for curves, v in runs),
            validation_metric=() if usual else _finite(judged(v, stop) for _, v in runs),
        )


def run_training(request: TrainRequest, display: ProgressDisplay) -> TrainOutcome:
    """Train with every seed.

    Raises
    ------
    InputError
        If the schedule cannot be read or does not fit the other options.
    s2e_optuna.errors.DataError
        If the data, the method or the device cannot be used.
    """
    from s2e_optuna.labels import expected_validation
    from s2e_optuna.search.final import FOLDING, train_final
    from s2e_optuna.training import get_method

    rule = get_method(request.method)
    schedule = _schedule(request, rule.uses_schedule)
    training = request.training
    if schedule is not None:
        training = replace(training, epochs=schedule.epochs)
    data = request.data.load(display.reading, device=training.device)
    display.data(data)
    data = expected_validation(data, training)
    name = request.method
    if request.schedule is not None and schedule is not None:
        name = f"{request.method}, {request.schedule.name}"
    if rule.uses_clean_data:
        name += " (learns from clean data)"

    def show(progress: ComparisonProgress) -> None:
        folding = FOLDING in progress.names
        first, last = progress.number + 1, progress.number + progress.together
        numbers = f" {first}" if first == last else f"s {first} to {last}"
        what = f"{'fold' if folding else 'seed'}{numbers} of {progress.of}"
        what += ", preparing" if progress.preparing else ""
        display.training(what, progress.epoch, training.epochs)

    final = train_final(
        {name: (request.method, schedule)},
        data,
        training,
        seeds=request.seeds,
        folds=request.folds,
        progress=show,
    )
    return TrainOutcome(request, name, schedule, data, final)


def read_schedule(path: Path) -> Schedule:
    """Read a schedule's JSON file; InputError says what is wrong with it."""
    try:
        return Schedule.from_json(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else one_sentence(error)
        raise InputError(f"cannot read the schedule {path}: {reason}") from error


def check_labels_file(path: Path | None) -> None:
    """Raise an error, before hours of work, if labels cannot be saved to ``path``."""
    from s2e_optuna.data import check_labels_path

    if path is not None:
        check_labels_path(path)


def _schedule(request: TrainRequest, uses_schedule: bool) -> Schedule | None:
    """Return the schedule to train with: of a file, of a share to keep, or of the noise rate."""
    epochs = request.training.epochs
    if request.schedule is not None and request.keep_rate is not None:
        raise InputError("--schedule and --keep-rate both say how much to keep: leave one out.")
    if not uses_schedule:
        for name, given in (
            ("--schedule", request.schedule),
            ("--keep-rate", request.keep_rate),
        ):
            if given is not None:
                raise InputError(f"method {request.method!r} takes no schedule: leave {name} out.")
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
        return Schedule.coteaching(epochs, 1.0 - request.keep_rate, name=name)
    if request.data.noise_rate is None:
        raise InputError(
            f"method {request.method!r} needs to know how much to keep: give --schedule FILE, "
            "--keep-rate SHARE, or --noise-rate for Co-teaching's own schedule."
        )
    return Schedule.coteaching(epochs, request.data.noise_rate)


def _finite(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(value for value in values if math.isfinite(value))
