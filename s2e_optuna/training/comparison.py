"""Final comparisons: several methods and schedules over several seeds, stacked where possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.training.config import TrainConfig
from s2e_optuna.training.methods import get_method
from s2e_optuna.training.results import EpochReport, TrainResult
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
    number, of
        Which of the seeds it is, from 0, and how many there are; of folds likewise.
    """

    names: tuple[str, ...]
    seed: int
    epoch: int
    done: int
    total: int
    preparing: bool = False
    number: int = 0
    of: int = 1


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
    for number, seed in enumerate(seeds):
        for method, names in stacks.items():
            start = ComparisonProgress(
                tuple(names), seed, 0, finished, total, number=number, of=len(seeds)
            )
            trained = train(
                method,
                [entries[name][1] for name in names],
                data,
                replace(config, seed=seed),
                *_relays(progress, start),
                keep_probabilities=keep_probabilities,
            )
            for name, result in zip(names, trained, strict=True):
                results[name].append(result)
            finished += len(names) * config.epochs
    return results


def _relays(
    progress: Callable[[ComparisonProgress], None] | None, start: ComparisonProgress
) -> tuple[Callable[[int, list[EpochReport]], None], Callable[[int], None]]:
    """Turn the trainer's reports into progress of the whole comparison, from its start on."""
    names, finished = start.names, start.done

    def on_epoch(epoch: int, reports: list[EpochReport]) -> None:
        if progress is not None:
            done = finished + len(names) * (epoch + 1)
            progress(replace(start, epoch=epoch + 1, done=done))

    def on_preparation(epoch: int) -> None:
        if progress is not None:
            progress(replace(start, epoch=epoch, preparing=True))

    return on_epoch, on_preparation
