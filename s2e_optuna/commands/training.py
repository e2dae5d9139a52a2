"""``s2e train``: one method or schedule over several seeds, and what it leaves behind."""

from __future__ import annotations

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
    from s2e_optuna.scores import MethodScore
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
        """The training with the best validation accuracy, not on the posterior."""
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
    def kept(self) -> str:
        """The way to train whose model is kept, in words."""
        from s2e_optuna.reporting.verdict import METHOD_NAMES

        kept = self.final.kept
        return kept if kept == self.name else METHOD_NAMES[kept]

    @cached_property
    def scores(self) -> dict[str, MethodScore]:
        """How well it did and, after it, what else was trained, by name."""
        from s2e_optuna.search.final import scores

        found = scores({self.name: (self.request.method, self.schedule)}, self.final)
        return {self.name: found[self.name], **found}

    @property
    def row(self) -> ComparisonRow:
        """The line of the comparison table, of the models that are kept, as in a search."""
        return self.rows[0]

    @property
    def rows(self) -> list[ComparisonRow]:
        """All lines of that table."""
        from s2e_optuna.reporting.verdict import METHOD_NAMES

        return [
            ComparisonRow.of(name if name == self.name else METHOD_NAMES[name], score)
            for name, score in self.scores.items()
        ]


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
    from s2e_optuna.labels.linear import fits_linear, linear_model
    from s2e_optuna.search.final import CLEAN_ONLY, FOLDING, POSTERIOR, train_final
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
        kind = {
            FOLDING: "fold",
            CLEAN_ONLY: "clean part, training",
            POSTERIOR: "posterior, training",
        }
        first, last = progress.number + 1, progress.number + progress.together
        numbers = f" {first}" if first == last else f"s {first} to {last}"
        what = f"{kind.get(progress.names[0], 'seed')}{numbers} of {progress.of}"
        what += ", preparing" if progress.preparing else ""
        display.training(what, progress.epoch, training.epochs)

    linear = None
    if request.posterior:
        _check_posterior(request, data, rule.uses_clean_data)
        if fits_linear(data):
            linear = linear_model(data, training.seed, request.folds, training.metric)
    final = train_final(
        {name: (request.method, schedule)},
        data,
        training,
        seeds=request.seeds,
        folds=request.folds,
        progress=show,
        posterior=request.posterior,
        linear=linear,
    )
    return TrainOutcome(request, name, schedule, data, final)


def _check_posterior(request: TrainRequest, data: NoisyData, learns: bool) -> None:
    """Raise an error, before anything is trained, if there can be no posterior to train on."""
    from s2e_optuna.search.posterior import LEAST_CLEAN, can_be_halved

    if data.validation != "clean":
        return
    if learns:
        raise InputError(
            f"method {request.method!r} learns from the clean part, and nothing is left to judge "
            "labels by: leave --posterior out."
        )
    if not can_be_halved(data):
        raise InputError(
            f"{len(data.y_val)} clean samples are too few to learn from one half of them and "
            f"judge by the other, which takes {LEAST_CLEAN} and two a class: leave --posterior "
            "out."
        )


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
