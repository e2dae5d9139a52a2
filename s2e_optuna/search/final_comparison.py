"""After a search: the schedule that was found beside plain training and Co-teaching."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from s2e_optuna.data import NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.schedules import Schedule
from s2e_optuna.scores import SCORED, MethodScore, last_epochs, mean_of_last
from s2e_optuna.training import ComparisonProgress, TrainConfig, TrainResult, evaluate_schedules

_FINAL = 1  # spawn key of the seeds of final comparisons: they never meet a trial's seed


def final_seeds(seed: int, count: int) -> list[int]:
    """Seeds for a final comparison: fresh ones, which no trial of the search has used."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_FINAL,))
    return [int(state) for state in sequence.generate_state(count, np.uint32)]


def final_comparison(
    data: NoisyData,
    schedule: Schedule,
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    method: str = "coteaching",
    noise_rate: float | None = None,
    progress: Callable[[ComparisonProgress], None] | None = None,
) -> tuple[dict[str, MethodScore], list[TrainResult]]:
    """Compare the schedule that was found with plain training and with Co-teaching.

    Parameters
    ----------
    data
        What the search was about.
    schedule
        The schedule that was found, T rates.
    config
        How to train; its seed is not used.
    seeds
        A training of each way with each of them; see `final_seeds`.
    method
        The method that the schedule was searched for.
    noise_rate
        Share that Co-teaching drops in the end; by default the true noise rate.
    progress
        Called after each epoch.

    Returns
    -------
    scores : dict
        ``standard``, ``coteaching`` (only if a noise rate is known) and ``s2e``.
    trained : list of TrainResult
        The completed trainings with ``schedule``, that with the best validation accuracy first.

    Raises
    ------
    s2e_optuna.training.DataError
        What training refuses, or if all trainings with the schedule diverged.
    """
    tau = data.noise_rate if noise_rate is None else noise_rate
    entries: dict[str, tuple[str, Schedule]] = {
        "standard": ("standard", Schedule.constant(config.epochs))
    }
    if tau is not None:
        entries["coteaching"] = ("coteaching", Schedule.coteaching(config.epochs, tau))
    entries["s2e"] = (method, schedule)
    config = replace(config, keep_probabilities=True)  # for the list of suspects
    results = evaluate_schedules(entries, data, config, seeds, progress)
    last = last_epochs(config.epochs)
    scores = {
        name: MethodScore(
            method=entries[name][0],
            schedule=tuple(float(rate) for rate in entries[name][1].rates),
            test_accuracy=_means(runs, "test_accuracy", last),
            validation_accuracy=_means(runs, "validation_accuracy", last),
            label_precision=_means(runs, "label_precision", last),
            seconds=round(sum(run.seconds for run in runs), 3),
            curves={key: _curves(runs, key, config.epochs) for key in SCORED},
        )
        for name, runs in results.items()
    }
    usable = [run for run in results["s2e"] if run.status == "complete"]
    if not usable:
        raise DataError(f"every training with the schedule failed: {results['s2e'][0].failure}")
    usable.sort(key=lambda run: mean_of_last(run.validation_accuracy, last), reverse=True)
    return scores, usable


def _curves(runs: Sequence[TrainResult], name: str, epochs: int) -> tuple[tuple[float, ...], ...]:
    lost = (math.nan,) * epochs
    return tuple(
        tuple(round(float(v), 5) for v in getattr(run, name)) if run.status == "complete" else lost
        for run in runs
    )


def _means(runs: Sequence[TrainResult], name: str, last: int) -> tuple[float, ...]:
    return tuple(
        mean_of_last(getattr(run, name), last) if run.status == "complete" else math.nan
        for run in runs
    )
