"""What follows a chosen schedule: trainings with fresh seeds, and predictions out of fold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s2e_optuna.data import NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.labels import Judgement, Unseen, check_folds, judge, unseen_probabilities
from s2e_optuna.schedules import Schedule
from s2e_optuna.scores import SCORED, MethodScore, best_epoch, judged, reached
from s2e_optuna.training import (
    ComparisonProgress,
    TrainConfig,
    TrainResult,
    evaluate_schedules,
)
from s2e_optuna.training.jobs import Runner, in_turn

FOLDING = "cross-validation"
"""Name under which the trainings of the cross-validation tell how far they are."""

_FINAL = 1  # spawn key of the seeds of final trainings: they never meet a trial's seed

Entries = Mapping[str, tuple[str, Schedule | None]]
"""Ways to train: name to method and schedule."""


def final_seeds(seed: int, count: int) -> list[int]:
    """Seeds for what follows a search: fresh ones, which no trial of the search has used."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_FINAL,))
    return [int(state) for state in sequence.generate_state(count, np.uint32)]


@dataclass(frozen=True)
class Final:
    """What the final trainings gave.

    Attributes
    ----------
    results
        Name of a way to train to its trainings, one a seed.
    kept
        The way whose best model is kept, and whose models judge the labels.
    unseen
        Predictions by the trainings of the cross-validation; None without one.
    training
        How all of them were trained, but for their seeds.
    """

    results: Mapping[str, tuple[TrainResult, ...]]
    kept: str
    unseen: Unseen | None
    training: TrainConfig

    @property
    def complete(self) -> tuple[TrainResult, ...]:
        """Trainings of the way that is kept that ran to their end, best validation first."""
        usable = _complete(self.results[self.kept])
        stop = self.training.stop
        return tuple(sorted(usable, key=lambda run: -judged(run.validation_accuracy, stop)))

    def require_complete(self) -> None:
        """Raise DataError if none of them ran to its end."""
        if not self.complete:
            failure = self.results[self.kept][0].failure
            raise DataError(f"every training with the schedule failed: {failure}")

    def judge(self, data: NoisyData) -> Judgement:
        """Judge the labels of the training part."""
        return judge(self.complete, data, self.unseen, self.training.device)


def train_final(
    entries: Entries,
    data: NoisyData,
    training: TrainConfig,
    *,
    seeds: int,
    folds: int = 0,
    kept: Sequence[str] = (),
    progress: Callable[[ComparisonProgress], None] | None = None,
    run: Runner = in_turn,
) -> Final:
    """Train in every way with fresh seeds; cross-validate the one that is kept.

    Parameters
    ----------
    entries
        Ways to train.
    data
        What they train on.
    training
        How; its seed is the one that the fresh ones are made of, see `final_seeds`: one for each
        training, and one more for the folds.
    seeds
        Trainings of each way.
    folds
        Folds of the cross-validation; 0 leaves it out.
    kept
        Ways whose model may be kept, by default all: the one with the best validation accuracy,
        on the mean over its trainings, is; of equal ones the last.
    progress
        Called after each epoch; its totals are those of trainings and folds together.
    run
        Runs the trainings; by default this process, one after the other.

    Raises
    ------
    s2e_optuna.errors.DataError
        What training refuses.
    """
    if folds:
        check_folds(folds, len(data.y_train))
    *fresh, folding = final_seeds(training.seed, seeds + 1)
    trainings = len(entries) * seeds
    total = (trainings + folds) * training.epochs

    def tell(found: ComparisonProgress) -> None:
        if progress is not None:
            progress(replace(found, total=total))

    of_fold = [0] * folds

    def tell_fold(fold: int, epoch: int) -> None:
        of_fold[fold] = epoch
        done = trainings * training.epochs + sum(of_fold)
        tell(ComparisonProgress((FOLDING,), folding, epoch, done, total, number=fold, of=folds))

    # Probabilities are for the list of suspects.
    results = evaluate_schedules(
        entries, data, training, fresh, tell, keep_probabilities=True, run=run
    )
    best = _best(results, kept or tuple(entries), training.stop)
    unseen = None
    if folds and _complete(results[best]):
        method, schedule = entries[best]
        unseen = unseen_probabilities(
            method, schedule, data, replace(training, seed=folding), folds, tell_fold, run
        )
    return Final({name: tuple(runs) for name, runs in results.items()}, best, unseen, training)


def _best(results: Mapping[str, Sequence[TrainResult]], names: Sequence[str], stop: str) -> str:
    def mean(name: str) -> float:
        found = [judged(run.validation_accuracy, stop) for run in _complete(results[name])]
        return float(np.mean(found)) if found else -math.inf

    return max(reversed(names), key=mean)


def comparison_entries(
    schedule: Schedule, method: str = "coteaching", noise_rate: float | None = None
) -> dict[str, tuple[str, Schedule]]:
    """Return what a schedule that was found is compared with, and itself as ``s2e``.

    Parameters
    ----------
    schedule
        The schedule that was found, T rates.
    method
        The method that it was searched for.
    noise_rate
        Share that Co-teaching drops in the end; without one there is no Co-teaching.

    Returns
    -------
    dict
        ``standard``, plain training, ``coteaching`` and ``s2e``: method and schedule.
    """
    entries = {"standard": ("standard", Schedule.constant(schedule.epochs))}
    if noise_rate is not None:
        entries["coteaching"] = ("coteaching", Schedule.coteaching(schedule.epochs, noise_rate))
    return {**entries, "s2e": (method, schedule)}


def scores(entries: Entries, final: Final) -> dict[str, MethodScore]:
    """Score every way to train by the models that are kept.

    Parameters
    ----------
    entries
        What `train_final` was given.
    final
        What it returned.
    """
    epochs, stop = final.training.epochs, final.training.stop
    return {
        name: MethodScore(
            method=entries[name][0],
            schedule=tuple(map(float, (entries[name][1] or Schedule.constant(epochs)).rates)),
            test_accuracy=_each(runs, lambda run: _reached(run, "test_accuracy", stop)),
            validation_accuracy=_each(runs, lambda run: judged(run.validation_accuracy, stop)),
            label_precision=_each(runs, lambda run: _reached(run, "label_precision", stop)),
            seconds=round(sum(run.seconds for run in runs), 3),
            stopped_epoch=tuple(best_epoch(run.validation_accuracy) for run in runs)
            if stop == "best"
            else (),
            last_epochs=_each(runs, lambda run: _reached(run, "test_accuracy", "last")),
            curves={key: _curves(runs, key, epochs) for key in SCORED},
        )
        for name, runs in final.results.items()
    }


def _curves(runs: Sequence[TrainResult], name: str, epochs: int) -> tuple[tuple[float, ...], ...]:
    lost = (math.nan,) * epochs
    return tuple(
        tuple(round(float(v), 5) for v in run.curves[name]) if run.status == "complete" else lost
        for run in runs
    )


def _reached(run: TrainResult, name: str, stop: str) -> float:
    return reached(run.curves[name], run.validation_accuracy, stop)


def _each(
    runs: Sequence[TrainResult], number: Callable[[TrainResult], float]
) -> tuple[float, ...]:
    return tuple(number(run) if run.status == "complete" else math.nan for run in runs)


def _complete(runs: Sequence[TrainResult]) -> list[TrainResult]:
    return [run for run in runs if run.status == "complete"]
