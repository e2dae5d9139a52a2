"""Plain training that searches regularisation as long as the schedule's search did: a baseline.

So many trainings with drawn values, side by side, as the search has trials; the first has those
of the configuration. They are stopped and chosen by the validation part, and leave early as trials
do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s2e_optuna.data import NoisyData
from s2e_optuna.objective.leaving import leaving, rungs
from s2e_optuna.objective.searched import drawn_values
from s2e_optuna.scores import judged
from s2e_optuna.training import ComparisonProgress, EpochReport, TrainConfig, train
from s2e_optuna.training.jobs import Runner, Tell, in_parts

SEARCHING = "plain training, searched"
"""Name under which these trainings tell how far they are."""

_PLAIN = 3  # spawn key: these trainings share no seed with trials and final ones


@dataclass(frozen=True, eq=False)
class _Plain:
    """A job: plain trainings with values of their own."""

    own: tuple[Mapping[str, float], ...]
    config: TrainConfig
    leave_early: bool

    def __call__(self, data: NoisyData, tell: Tell) -> list[float]:
        """Train; return what each is worth on the validation part, -inf of what has left."""
        config, curves = self.config, [list[float]() for _ in self.own]
        early = self.leave_early and config.stop == "best"
        ends = rungs(config.epochs, config.evaluate_every) if early else ()

        def on_epoch(epoch: int, reports: list[EpochReport]) -> set[int]:
            for report in reports:
                curves[report.trial].append(report.validation_value)
            tell(epoch + 1, False)
            if epoch not in ends:
                return set()
            now = {one.trial: 1.0 - judged(curves[one.trial], "best") for one in reports}
            return leaving(now, ())

        blind = replace(data, x_test=None, y_test=None, y_clean=None)
        # Nobody keeps their networks: those of the best epochs need not be copied.
        how = replace(config, stop="last")
        runs = train("standard", [None] * len(self.own), blind, how, on_epoch, own=self.own)
        return [
            judged(run.validation_value, config.stop) if run.status == "complete" else -np.inf
            for run in runs
        ]


def search_plain(
    names: Sequence[str],
    data: NoisyData,
    training: TrainConfig,
    trials: int,
    run: Runner,
    *,
    leave_early: bool = True,
    progress: Callable[[ComparisonProgress], None] = lambda progress: None,
) -> dict[str, float]:
    """Return the values of the plain training that is best by validation.

    Parameters
    ----------
    names
        What is searched.
    data, training
        What is trained on, and how; seeds are made of its seed.
    trials
        The budget: so many trainings.
    run
        Runs them.
    leave_early
        Whether those that will not win leave.
    progress
        Called after each epoch.
    """
    state = np.random.SeedSequence(training.seed, spawn_key=(_PLAIN,)).generate_state(2)
    drawn = drawn_values(names, training, trials, np.random.default_rng(int(state[0])))
    config = replace(training, seed=int(state[1]))
    jobs = [_Plain(tuple(some), config, leave_early) for some in in_parts(drawn, run.processes)]
    tally = [0] * len(jobs)

    def tell(place: int, epoch: int, _: bool) -> None:
        tally[place] = epoch * len(jobs[place].own)
        done, total = sum(tally), trials * training.epochs
        progress(ComparisonProgress((SEARCHING,), config.seed, epoch, done, total))

    worth = [value for found in run(jobs, data, tell) for value in found]
    return drawn[int(np.argmax(worth))]
