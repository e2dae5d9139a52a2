"""Final comparisons: several methods and schedules over several seeds, stacked where possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.training.methods import get_method
from s2e_optuna.training.results import EpochReport, TrainConfig, TrainResult
from s2e_optuna.training.trainer import ScheduleLike, train


@dataclass(frozen=True)
class ComparisonProgress:
    """How far a comparison is.

    Attributes
    ----------
    names
        Entries that train at the moment, side by side.
    seed
        Their seed.
    epoch
        Epochs they have finished.
    done, total
        Epochs of trials finished so far and in all.
    preparing
        Whether these are epochs of a training that only prepares the one that is asked for.
    """

    names: tuple[str, ...]
    seed: int
    epoch: int
    done: int
    total: int
    preparing: bool = False


def evaluate_schedules(
    entries: Mapping[str, tuple[str, ScheduleLike]],
    data: NoisyData,
    config: TrainConfig,
    seeds: Sequence[int],
    progress: Callable[[ComparisonProgress], None] | None = None,
    *,
    keep_probabilities: bool = False,
) -> dict[str, list[TrainResult]]:
    """Train every entry with every seed.

    Entries of the same method and seed train in one stack, so they see the same batches and
    initial weights.

    Parameters
    ----------
    entries
        Name to (method, schedule); None keeps everything.
    data
        Training, validation and test parts.
    config
        How to train; its seed is replaced.
    seeds
        One training an entry and seed.
    progress
        Called after each epoch.
    keep_probabilities
        See `train`.

    Returns
    -------
    dict
        Name to results, in the order of `seeds`.

    Raises
    ------
    DataError
        No seeds, a seed twice, or what `train` refuses.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise DataError(f"seeds {list(seeds)} are not usable: give one or more different seeds")
    stacks: dict[str, list[str]] = {}
    for name, (method, _) in entries.items():
        get_method(method)
        stacks.setdefault(method, []).append(name)
    results: dict[str, list[TrainResult]] = {name: [] for name in entries}
    total = len(entries) * len(seeds) * config.epochs
    finished = 0
    for seed in seeds:
        for method, names in stacks.items():
            trained = train(
                method,
                [entries[name][1] for name in names],
                data,
                replace(config, seed=seed),
                *_relays(progress, tuple(names), seed, finished, total),
                keep_probabilities=keep_probabilities,
            )
            for name, result in zip(names, trained, strict=True):
                results[name].append(result)
            finished += len(names) * config.epochs
    return results


def _relays(
    progress: Callable[[ComparisonProgress], None] | None,
    names: tuple[str, ...],
    seed: int,
    finished: int,
    total: int,
) -> tuple[Callable[[int, list[EpochReport]], None], Callable[[int], None]]:
    """Turn the trainer's reports into progress of the whole comparison."""

    def on_epoch(epoch: int, reports: list[EpochReport]) -> None:
        if progress is not None:
            done = finished + len(names) * (epoch + 1)
            progress(ComparisonProgress(names, seed, epoch + 1, done, total))

    def on_preparation(epoch: int) -> None:
        if progress is not None:
            progress(ComparisonProgress(names, seed, epoch, finished, total, preparing=True))

    return on_epoch, on_preparation
