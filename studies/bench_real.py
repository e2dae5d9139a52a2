"""Searches on real trainings: the error of the schedule that a sampler recommends.

    python -m studies.bench_real --scale small --data data/mnist27k.npz

`studies.bench_search` asks the same of recorded tables, where twenty seeds cost minutes. Here
every trial is a training. After 6, 12, 24 and 48 trials the schedule that `best_schedule`
recommends, by the trials so far, is trained again with fresh seeds. At ``small`` the searches are
those of `studies.figure6`, gone on with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from s2e_optuna.schedules import Schedule, trial_schedule
from s2e_optuna.search.final import final_seeds
from studies.frame import Study, main
from studies.pages import Table, mean_sd, provenance, tidy, usable
from studies.searches import Found, Search, recommended_of, searched
from studies.settings import Frame, Setting, data_sets, paper_setting
from studies.table3 import SMALL, settings_told
from studies.trainings import Run, Training, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHECKPOINTS = (6, 12, 24, 48)

SAMPLERS: Mapping[str, tuple[str, str, str]] = {
    "s2e": ("S2E", "#D55E00", "-"),
    "tpe": ("TPE", "#0072B2", "-"),
    "random": ("random", "#000000", "--"),
}
"""Samplers: label, colour and dashes."""


@dataclass(frozen=True)
class Scale:
    """Settings, trials and seeds of the searches, fresh seeds of a schedule, trials in flight."""

    settings: dict[str, Setting]
    trials: int
    seeds: int
    fresh: int
    stack: int = 3

    @property
    def checkpoints(self) -> list[int]:
        """Numbers of trials after which a schedule is recommended."""
        return [n for n in CHECKPOINTS if n <= self.trials]


_TINY = paper_setting("digits", "pair45", epochs=4, train_size=300, batch_size=16)
_NOISES = ("sym50", "pair45")

SCALES = {
    "tiny": Scale({"digits-pair45": _TINY}, 6, 1, 1),
    "small": Scale({f"mnist-{n}": paper_setting("mnist", n, **SMALL) for n in _NOISES}, 48, 5, 3),
    "paper": Scale({f"cifar10-{n}": paper_setting("cifar10", n) for n in _NOISES}, 48, 5, 5),
}


def recommended(found: Found, n: int) -> Schedule:
    """Return what the first n finished trials of a search recommend."""
    schedule = trial_schedule(recommended_of(found.trials[:n]))
    assert schedule is not None  # every trial suggests one
    return schedule


def compute(frame: Frame) -> dict[str, Any]:
    """Search, one seed of everything before the next; then train what was recommended."""
    scale = SCALES[frame.scale]
    found = {
        (name, sampler, seed): searched(
            Search(setting, sampler=sampler, trials=scale.trials, seed=seed, stack=scale.stack),
            frame,
        )
        for seed in range(scale.seeds)
        for name, setting in scale.settings.items()
        for sampler in SAMPLERS
    }
    places = [(*key, n) for key in found for n in scale.checkpoints]
    wanted = [
        Training(scale.settings[name], "coteaching", schedule, seed)
        for name, sampler, number, n in places
        for schedule in [recommended(found[name, sampler, number], n)]
        for seed in final_seeds(number, scale.fresh)
    ]
    runs = trained(wanted, frame)
    by_place = dict(zip(places, _parts(runs, scale.fresh), strict=True))
    return {
        "settings": {name: asdict(setting) for name, setting in scale.settings.items()},
        "checkpoints": scale.checkpoints,
        "seeds": scale.seeds,
        "fresh": scale.fresh,
        "in_flight": scale.stack * frame.workers,
        "errors": {
            name: {
                sampler: [
                    {str(n): error(by_place[name, sampler, seed, n]) for n in scale.checkpoints}
                    for seed in range(scale.seeds)
                ]
                for sampler in SAMPLERS
            }
            for name in scale.settings
        },
        "provenance": provenance(runs, found.values()),
    }


def _parts(runs: Sequence[Run], size: int) -> Iterator[Sequence[Run]]:
    return (runs[i : i + size] for i in range(0, len(runs), size))


def error(runs: Sequence[Run]) -> float:
    """Mean test error of trainings with one schedule, over their last epochs."""
    return float(np.mean([1.0 - run.last("test_accuracy") for run in runs]))


def column(seeds: Sequence[Mapping[str, float]], n: int) -> list[float]:
    """Read the errors of all seeds after n trials."""
    return usable(seed[str(n)] for seed in seeds)


def verdict(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> str:
    """Say how S2E compares in the end; searches with the same seed are pairs."""
    n = max(map(int, ours[0]))
    difference = 100.0 * (np.array(column(ours, n)) - np.array(column(theirs, n)))
    if len(difference) < 2:
        return "too few seeds"
    spread = difference.std(ddof=1) / np.sqrt(len(difference))
    word = "undecided" if abs(difference.mean()) < 2.0 * spread else "better"
    word = "worse" if word == "better" and difference.mean() > 0.0 else word
    return f"{word} ({difference.mean():+.2f} ± {spread:.2f})"


def section(content: dict[str, Any]) -> list[str]:
    """Write a table a setting."""
    lines = [
        f"{settings_told(content)}. {content['seeds']} searches each, {content['in_flight']} "
        "trials in flight. Test error of the recommended schedule in "
        f"{content['fresh']} fresh trainings, last ten epochs, in %, mean ± standard "
        "deviation over searches. The last column is S2E's error minus the other's, ± standard "
        "error over pairs of searches with one seed: a negative one says that S2E is ahead, and "
        "less than two standard errors decide nothing.",
        "",
    ]
    for name, errors in content["errors"].items():
        rows = [
            [
                SAMPLERS[sampler][0],
                *(mean_sd(column(seeds, n)) for n in content["checkpoints"]),
                "" if sampler == "s2e" else verdict(errors["s2e"], seeds),
            ]
            for sampler, seeds in errors.items()
        ]
        header = ["sampler", *(f"{n} trials" for n in content["checkpoints"]), "S2E in the end"]
        lines += [f"**{name}**", "", *Table(header, rows).markdown(), ""]
    return lines


def table(content: dict[str, Any]) -> Table:
    """One line a setting, sampler, seed and number of trials."""
    rows = [
        [name, sampler, seed, n, one[str(n)]]
        for name, errors in content["errors"].items()
        for sampler, seeds in errors.items()
        for seed, one in enumerate(seeds)
        for n in content["checkpoints"]
    ]
    return Table(("setting", "sampler", "seed", "trials", "test_error"), rows)


def draw(content: dict[str, Any]) -> Figure:
    """Draw median and interquartile band by number of trials, a panel a setting."""
    from matplotlib.figure import Figure

    errors, at = content["errors"], content["checkpoints"]
    figure = Figure(figsize=(4.6 * len(errors) + 1.0, 3.6), layout="constrained")
    axes = figure.subplots(1, len(errors), squeeze=False)[0]
    for ax, (name, samplers) in zip(axes, errors.items(), strict=True):
        for sampler, seeds in samplers.items():
            label, colour, dashes = SAMPLERS[sampler]
            values = 100.0 * np.array([column(seeds, n) for n in at])
            low, middle, high = np.percentile(values, [25, 50, 75], axis=1)
            ax.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)
            ax.plot(at, middle, color=colour, linestyle=dashes, marker="o", label=label)
        ax.set_xscale("log", base=2)
        ax.set_xticks(at, [str(n) for n in at])
        ax.set(title=name, xlabel="trials")
        tidy(ax)
    axes[0].set_ylabel("test error of the recommended schedule, %")
    axes[0].legend(frameon=False)
    return figure


STUDY = Study(
    name="bench_real",
    title="Searches on real trainings",
    about="""
Not in the paper. A search recommends a schedule by the trials it has seen; how good that schedule
is shows in trainings with fresh seeds. The rule is the same for all samplers: `best_schedule`, by
a model of all trials so far. Test data choose nothing.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data=data_sets(SCALES),
)

if __name__ == "__main__":
    main(STUDY)
