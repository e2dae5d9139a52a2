"""Final comparisons: several methods and schedules over several seeds, stacked where possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.training.config import TrainConfig
from s2e_optuna.training.jobs import Runner, Tell, in_parts, in_turn
from s2e_optuna.training.methods import get_method
from s2e_optuna.training.results import EpochReport, TrainResult
from s2e_optuna.training.setup import Share, takes_own_batches
from s2e_optuna.training.trainer import ScheduleLike, train


@dataclass(frozen=True)
class ComparisonProgress:
    """How far a comparison is.

    Attributes
    ----------
    names
        Entries that train at the moment, side by side.
    seed
        Their seed, the first of several.
    epoch
        Epochs they have finished.
    done, total
        Epochs of trials finished so far and in all, also of entries that train elsewhere.
    preparing
        Whether these are epochs of a training that only prepares the one that is asked for.
    number, of
        Which of the seeds it is, from 0, and how many there are; of folds likewise.
    together
        How many seeds train side by side, from that one on.
    """

    names: tuple[str, ...]
    seed: int
    epoch: int
    done: int
    total: int
    preparing: bool = False
    number: int = 0
    of: int = 1
    together: int = 1


def evaluate_schedules(
    entries: Mapping[str, tuple[str, ScheduleLike]],
    data: NoisyData,
    config: TrainConfig,
    seeds: Sequence[int],
    progress: Callable[[ComparisonProgress], None] | None = None,
    *,
    keep_probabilities: bool = False,
    run: Runner = in_turn,
    own: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, list[TrainResult]]:
    """Train every entry with every seed.

    Entries of the same method and seed see the same batches and initial weights. They train in
    one stack; where the network takes it, several seeds do.

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
    own
        Entries to fields of `config` that are their own, see `train`.

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
    # The largest first: at the end no process has long to wait for another.
    largest_first = sorted(
        stacks.items(), key=lambda stack: -get_method(stack[0]).networks * len(stack[1])
    )
    jobs = [
        _Stack(
            tuple(names),
            method,
            tuple(entries[name][1] for name in names),
            tuple(some),
            config,
            keep_probabilities,
            tuple(own.get(name, {}) for name in names) if own else None,
        )
        for method, names in largest_first
        for some in _side_by_side(seeds, method, data, config, run.processes)
    ]
    tally = [0] * len(jobs)
    total = len(entries) * len(seeds) * config.epochs

    def tell(place: int, epoch: int, preparing: bool) -> None:
        if progress is None:
            return
        job = jobs[place]
        if not preparing:
            tally[place] = len(job.names) * len(job.seeds) * epoch
        first = job.seeds[0]
        number = list(seeds).index(first)
        progress(
            ComparisonProgress(
                job.names,
                first,
                epoch,
                sum(tally),
                total,
                preparing,
                number,
                len(seeds),
                len(job.seeds),
            )
        )

    results: dict[str, list[TrainResult]] = {name: [] for name in entries}
    for job, trained in zip(jobs, run(jobs, data, tell), strict=True):
        for place, result in enumerate(trained):
            results[job.names[place % len(job.names)]].append(result)
    return results


def _side_by_side(
    seeds: Sequence[int], method: str, data: NoisyData, config: TrainConfig, processes: int
) -> list[Sequence[int]]:
    """Divide seeds into those that train in one stack: a part for each process, or one by one."""
    parts = processes if takes_own_batches(method, data, config) else len(seeds)
    return in_parts(seeds, parts)


@dataclass(frozen=True)
class _Stack:
    """Entries of one method, with every one of some seeds."""

    names: tuple[str, ...]
    method: str
    schedules: tuple[ScheduleLike, ...]
    seeds: tuple[int, ...]
    config: TrainConfig
    keep_probabilities: bool
    own: tuple[Mapping[str, float], ...] | None = None

    def __call__(self, data: NoisyData, tell: Tell) -> list[TrainResult]:
        """Train them; all entries with the first seed come first."""

        def on_epoch(epoch: int, _: list[EpochReport]) -> None:
            tell(epoch + 1, False)

        return train(
            self.method,
            self.schedules * len(self.seeds),
            data,
            replace(self.config, seed=self.seeds[0]),
            on_epoch,
            lambda epoch: tell(epoch, True),
            keep_probabilities=self.keep_probabilities,
            shares=None
            if len(self.seeds) == 1
            else [Share(seed) for seed in self.seeds for _ in self.names],
            own=None if self.own is None else self.own * len(self.seeds),
        )
