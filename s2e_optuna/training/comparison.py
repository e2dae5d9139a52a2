"""Final comparisons: several methods and schedules over several seeds, stacked where possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.training.config import TrainConfig
from s2e_optuna.training.jobs import Runner, Tell, in_turn
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
        Epochs of trials finished so far and in all, also of entries that train elsewhere.
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
    run: Runner = in_turn,
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
    run
        Runs the stacks; by default this process, one after the other.

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
    jobs = [
        _Stack(
            tuple(names),
            method,
            tuple(entries[name][1] for name in names),
            replace(config, seed=seed),
            keep_probabilities,
        )
        for seed in seeds
        for method, names in stacks.items()
    ]
    tally = [0] * len(jobs)
    total = len(entries) * len(seeds) * config.epochs

    def tell(place: int, epoch: int, preparing: bool) -> None:
        if progress is None:
            return
        job = jobs[place]
        if not preparing:
            tally[place] = len(job.names) * epoch
        number = place // len(stacks)
        progress(
            ComparisonProgress(
                job.names, job.config.seed, epoch, sum(tally), total, preparing, number, len(seeds)
            )
        )

    results: dict[str, list[TrainResult]] = {name: [] for name in entries}
    for job, trained in zip(jobs, run(jobs, data, tell), strict=True):
        for name, result in zip(job.names, trained, strict=True):
            results[name].append(result)
    return results


@dataclass(frozen=True)
class _Stack:
    """Entries of one method and seed."""

    names: tuple[str, ...]
    method: str
    schedules: tuple[ScheduleLike, ...]
    config: TrainConfig
    keep_probabilities: bool

    def __call__(self, data: NoisyData, tell: Tell) -> list[TrainResult]:
        """Train them."""

        def on_epoch(epoch: int, _: list[EpochReport]) -> None:
            tell(epoch + 1, False)

        return train(
            self.method,
            self.schedules,
            data,
            self.config,
            on_epoch,
            lambda epoch: tell(epoch, True),
            keep_probabilities=self.keep_probabilities,
        )
