"""Searches on real trainings: the error of the schedule that a search recommends, by its cost.

    python -m studies.bench_real --scale small --data mnist=data/mnist27k.npz \
        --data cifar10n=data/cifar_features.npz

`studies.bench_epochs` asks the same of recorded tables, where twenty seeds cost minutes. Here
every trial is a training. Whenever a search has trained as many epochs as 4, 8 and 16 trainings of
full length have, the schedule that it recommends is trained again with fresh seeds; these
trainings, as the trials, are stopped at their best validation epoch.

``cifar10n`` is a file of pretrained features with the labels that people gave, as
`studies.bench_cleanlab` takes it; those of the worst of three people are searched on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.schedules import Schedule, trial_schedule
from s2e_optuna.search.final import final_seeds
from studies.bench_earlier import write_arrays
from studies.frame import Study, main
from studies.pages import Table, mean_sd, provenance, tidy, usable
from studies.searches import Found, Search, recommended_of, searched
from studies.settings import Frame, Setting, data_sets, paper_setting
from studies.table3 import SMALL, settings_told
from studies.trainings import Run, Training, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHECKPOINTS = (4, 8, 16)
"""Costs at which a search is judged, in trainings of full length."""


@dataclass(frozen=True)
class How:
    """A way to search: what a reader is told, how it is drawn, and what it is."""

    words: str
    colour: str
    search: Mapping[str, Any]


SEARCHES: Mapping[str, How] = {
    "s2e": How(
        "S2E, losers leave", "#D55E00", {"sampler": "s2e", "leave_early": True, "stack": 8}
    ),
    "s2e-full": How("S2E, all trained", "#E69F00", {"sampler": "s2e"}),
    "tpe-median": How("TPE + median", "#0072B2", {"sampler": "tpe", "pruner": "median"}),
    "random-halving": How(
        "random + halving", "#000000", {"sampler": "random", "pruner": "halving"}
    ),
}
"""Searches. The pruners are Optuna's own."""


@dataclass(frozen=True)
class Scale:
    """Settings, cost and seeds of the searches, fresh seeds of a schedule."""

    settings: dict[str, Setting]
    cost: int
    seeds: int
    fresh: int

    @property
    def checkpoints(self) -> list[int]:
        """Costs at which a schedule is recommended."""
        return [n for n in CHECKPOINTS if n <= self.cost]


_TINY = paper_setting("digits", "pair45", epochs=4, train_size=300, batch_size=16)
_NOISES = ("sym50", "pair45")
_HUMAN = Setting("cifar10n", None, 0.0, "mlp", **SMALL)

SCALES = {
    "tiny": Scale({"digits-pair45": _TINY}, 4, 1, 1),
    "small": Scale(
        {f"mnist-{n}": paper_setting("mnist", n, **SMALL) for n in _NOISES}
        | {"cifar10n-worst": _HUMAN},
        16,
        5,
        3,
    ),
    "paper": Scale({f"cifar10-{n}": paper_setting("cifar10", n) for n in _NOISES}, 48, 5, 5),
}


def spent(trial: FrozenTrial, epochs: int) -> int:
    """Epochs that a trial has been trained for, as far as it has reported."""
    return epochs if trial.state == TrialState.COMPLETE else (trial.last_step or 0) + 1


def reached_by(trials: Sequence[FrozenTrial], epochs: int, cost: int) -> list[FrozenTrial]:
    """Return the first trials to end that together had `cost` full trainings' epochs, or all."""
    total = np.cumsum([spent(trial, epochs) for trial in trials])
    return list(trials[: int(np.searchsorted(total, cost * epochs)) + 1])


def search_for(search: Search, cost: int, frame: Frame) -> Found:
    """Search until the trials have had the epochs of so many full trainings."""
    epochs = search.setting.epochs
    while True:
        found = searched(search, frame)
        used = sum(spent(trial, epochs) for trial in found.ended)
        if used >= cost * epochs or not frame.trains:
            return found
        search = replace(search, trials=search.trials + search.stack)


def recommended(trials: Sequence[FrozenTrial]) -> Schedule:
    """Return what these trials recommend; of trials that all left early, the farthest's best."""
    if any(trial.state == TrialState.COMPLETE for trial in trials):
        best = recommended_of(trials)
    else:
        steps = [trial.last_step or 0 for trial in trials]
        best = min(
            (trial for trial in trials if (trial.last_step or 0) == max(steps)),
            key=lambda trial: trial.intermediate_values[max(steps)],
        )
    schedule = trial_schedule(best)
    assert schedule is not None  # every trial suggests one
    return schedule


def with_given(frame: Frame) -> Frame:
    """Return a frame whose ``cifar10n`` holds the labels of people alone, the worst ones."""
    sources = dict(frame.sources or {})
    if "cifar10n" in sources:
        path = frame.runs / "bench_real" / "cifar10n-worst.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_arrays(Path(sources["cifar10n"]), "worst", path)
        sources["cifar10n"] = str(path)
    return replace(frame, sources=sources)


def compute(frame: Frame) -> dict[str, Any]:
    """Search, one seed of everything before the next; then train what was recommended."""
    scale, frame = SCALES[frame.scale], with_given(frame)
    found = {
        (name, way, seed): search_for(
            Search(setting, **{"stack": 4, **how.search}, trials=8, seed=seed, stop="best"),
            scale.cost,
            frame,
        )
        for seed in range(scale.seeds)
        for name, setting in scale.settings.items()
        for way, how in SEARCHES.items()
    }
    places = [(*key, n) for key in found for n in scale.checkpoints]
    wanted = [
        Training(scale.settings[name], "coteaching", schedule, seed)
        for name, way, number, n in places
        for trials in [found[name, way, number].ended]
        for schedule in [recommended(reached_by(trials, scale.settings[name].epochs, n))]
        for seed in final_seeds(number, scale.fresh)
    ]
    runs = trained(wanted, frame)
    by_place = dict(zip(places, _parts(runs, scale.fresh), strict=True))
    return {
        "settings": {name: asdict(setting) for name, setting in scale.settings.items()},
        "checkpoints": scale.checkpoints,
        "seeds": scale.seeds,
        "fresh": scale.fresh,
        "errors": {
            name: {
                way: [
                    {str(n): error(by_place[name, way, seed, n]) for n in scale.checkpoints}
                    for seed in range(scale.seeds)
                ]
                for way in SEARCHES
            }
            for name in scale.settings
        },
        "provenance": provenance(runs, found.values()),
    }


def _parts(runs: Sequence[Run], size: int) -> Iterator[Sequence[Run]]:
    return (runs[i : i + size] for i in range(0, len(runs), size))


def error(runs: Sequence[Run]) -> float:
    """Mean test error of trainings with one schedule, each stopped at its best epoch."""
    return float(np.mean([1.0 - run.at_best_validation("test_accuracy") for run in runs]))


def column(seeds: Sequence[Mapping[str, float]], n: int) -> list[float]:
    """Read the errors of all seeds at the cost of n trainings."""
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
        f"{settings_told(content)}. {content['seeds']} searches each. A column is what a search "
        "has cost, in trainings of full length. Test error of the recommended schedule in "
        f"{content['fresh']} fresh trainings, stopped at their best validation epochs, in %, "
        "mean ± standard deviation over searches. The last column is S2E's error minus the "
        "other's, ± standard error over pairs of searches with one seed: a negative one says "
        "that S2E is ahead, and less than two standard errors decide nothing.",
        "",
    ]
    for name, errors in content["errors"].items():
        rows = [
            [
                SEARCHES[way].words,
                *(mean_sd(column(seeds, n)) for n in content["checkpoints"]),
                "" if way == "s2e" else verdict(errors["s2e"], seeds),
            ]
            for way, seeds in errors.items()
        ]
        header = ["search", *(f"{n} trainings" for n in content["checkpoints"]), "S2E in the end"]
        lines += [f"**{name}**", "", *Table(header, rows).markdown(), ""]
    return lines


def table(content: dict[str, Any]) -> Table:
    """One line a setting, search, seed and cost."""
    rows = [
        [name, way, seed, n, one[str(n)]]
        for name, errors in content["errors"].items()
        for way, seeds in errors.items()
        for seed, one in enumerate(seeds)
        for n in content["checkpoints"]
    ]
    return Table(("setting", "search", "seed", "trainings", "test_error"), rows)


def draw(content: dict[str, Any]) -> Figure:
    """Draw median and interquartile band by cost, a panel a setting."""
    from matplotlib.figure import Figure

    errors, at = content["errors"], content["checkpoints"]
    figure = Figure(figsize=(4.6 * len(errors) + 1.0, 3.6), layout="constrained")
    axes = figure.subplots(1, len(errors), squeeze=False)[0]
    for ax, (name, ways) in zip(axes, errors.items(), strict=True):
        for way, seeds in ways.items():
            how = SEARCHES[way]
            values = 100.0 * np.array([column(seeds, n) for n in at])
            low, middle, high = np.percentile(values, [25, 50, 75], axis=1)
            ax.fill_between(at, low, high, color=how.colour, alpha=0.12, linewidth=0)
            ax.plot(at, middle, color=how.colour, marker="o", label=how.words)
        ax.set_xscale("log", base=2)
        ax.set_xticks(at, [str(n) for n in at])
        ax.set(title=name, xlabel="cost, in full trainings")
        tidy(ax)
    axes[0].set_ylabel("test error of the recommended schedule, %")
    axes[0].legend(frameon=False)
    return figure


STUDY = Study(
    name="bench_real",
    title="Searches on real trainings",
    about="""
Not in the paper. A search recommends a schedule by the trials it has seen; how good that schedule
is shows in trainings with fresh seeds. The rule is the same for all of them: `best_schedule`, by a
model of all trials so far. A trial is worth its best epochs by validation, and some searches end
those early that will not win; what they cost is counted in epochs. Test data choose nothing.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data=data_sets(SCALES),
)

if __name__ == "__main__":
    main(STUDY)
