"""Figure 6: search algorithms inside S2E's space.

    python -m studies.figure6 --scale small --data data/mnist27k.npz

All algorithms train the same way, so what they cost is the number of trainings; a training that
Hyperband stops counts with the epochs it had. Every search is an Optuna study of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import TrialState

from studies.frame import Study, main
from studies.pages import Table, mean_sd, provenance, tidy, usable
from studies.searches import Found, Search, searched
from studies.settings import Frame, Setting, data_sets, paper_setting
from studies.table3 import SMALL, settings_told

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRINTED: Mapping[str, Any] = {
    "estimator": "score",
    "batch_size": 6,
    "warm_start": False,
    "baseline": False,
    "eigenvalue_floor": 0.01,
    "max_kl": 10.0,
    "min_theta": 0.05,
}
"""What `S2ESampler.paper` sets."""


@dataclass(frozen=True)
class Algorithm:
    """A search algorithm and how it is drawn: in which panel, with which colour and dashes."""

    label: str
    sampler: str
    panel: int
    colour: str
    options: Mapping[str, Any] = field(default_factory=dict)
    pruner: str = "none"
    dashes: Any = "-"


_SHORT, _LONG = (0, (1, 1.4)), (0, (5, 2))

ALGORITHMS = {
    "newton": Algorithm("Newton (S2E's default)", "s2e", 0, "#D55E00"),
    "natural": Algorithm("natural gradient", "s2e", 0, "#0072B2", {"update": "natural"}),
    "gradient": Algorithm("gradient", "s2e", 0, "#009E73", {"update": "gradient"}),
    "newton_printed": Algorithm("Newton, as printed", "s2e", 0, "#D55E00", PRINTED, dashes=_SHORT),
    "natural_printed": Algorithm(
        "natural gradient, as printed",
        "s2e",
        0,
        "#0072B2",
        {**PRINTED, "update": "natural"},
        dashes=_SHORT,
    ),
    "gradient_printed": Algorithm(
        "gradient, as printed",
        "s2e",
        0,
        "#009E73",
        {**PRINTED, "update": "gradient"},
        dashes=_SHORT,
    ),
    "random": Algorithm("random", "random", 1, "#000000"),
    "tpe": Algorithm("TPE", "tpe", 1, "#0072B2"),
    "hyperband": Algorithm("Hyperband, random", "random", 1, "#E69F00", pruner="hyperband"),
    "hyperband_tpe": Algorithm(
        "Hyperband, TPE", "tpe", 1, "#E69F00", pruner="hyperband", dashes=_LONG
    ),
    "gp": Algorithm("Gaussian process", "gp", 1, "#CC79A7"),
    "cmaes": Algorithm(
        "CMA-ES", "cmaes", 1, "#009E73", {"warn_independent_sampling": False}, dashes=_LONG
    ),
}
"""The paper's, each of its three twice, and below them what Optuna has besides."""


@dataclass(frozen=True)
class Scale:
    """Settings, full trainings that a search may cost, seeds, trials in flight, algorithms."""

    settings: dict[str, Setting]
    budget: int
    seeds: int
    stack: int
    algorithms: Sequence[str] = tuple(ALGORITHMS)


SCALES = {
    "tiny": Scale(
        {
            "digits-pair45": paper_setting(
                "digits", "pair45", epochs=4, train_size=300, batch_size=16
            )
        },
        4,
        1,
        3,
        ("newton", "newton_printed", "hyperband_tpe"),
    ),
    "small": Scale(
        {
            f"mnist-{noise}": paper_setting("mnist", noise, **SMALL)
            for noise in ("sym50", "pair45")
        },
        24,
        3,
        3,
    ),
    "paper": Scale(
        {f"cifar10-{noise}": paper_setting("cifar10", noise) for noise in ("sym50", "pair45")},
        60,
        5,
        3,
    ),
}


def search_of(scale: Scale, setting: Setting, name: str, seed: int) -> Search:
    """Say what an algorithm searches."""
    algorithm = ALGORITHMS[name]
    return Search(
        setting,
        sampler=algorithm.sampler,
        sampler_options=tuple(sorted(algorithm.options.items())),
        pruner=algorithm.pruner,
        trials=scale.budget,
        seed=seed,
        stack=scale.stack,
    )


def within_budget(search: Search, frame: Frame) -> Found:
    """Search until the trials cost as much as `search.trials` full trainings, or a little more."""
    found = searched(search, frame)
    while (cost := float(costs(found.study, search.setting.epochs).sum())) < search.trials:
        finished = found.search.trials
        more = math.ceil((search.trials - cost) * finished / cost)
        found = searched(replace(search, trials=finished + more), frame)
    return found


def finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return trials that were trained or stopped on the way, in the order in which they ended."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False, states=states)
    return sorted(trials, key=lambda trial: (str(trial.datetime_complete), trial.number))


def costs(study: optuna.Study, epochs: int) -> np.ndarray:
    """Return what each finished trial cost, in full trainings."""
    return np.array(
        [
            1.0
            if trial.state == TrialState.COMPLETE
            else (1 + max(trial.intermediate_values, default=0)) / epochs
            for trial in finished_trials(study)
        ]
    )


def progress(found: Found, budget: int) -> dict[str, Any]:
    """Follow a search: the trial with the best validation error so far, at 1 … N trainings.

    Returns
    -------
    dict
        ``validation`` error and ``test`` accuracy of that trial, N numbers each, NaN before the
        first complete trial; ``trials`` and ``stopped``, how many ended within the budget.
    """
    trials = finished_trials(found.study)
    spent = np.cumsum(costs(found.study, found.search.setting.epochs))
    validation, test = np.full(budget, np.nan), np.full(budget, np.nan)
    best = math.inf
    for trial, at in zip(trials, spent, strict=True):
        value = trial.value if trial.state == TrialState.COMPLETE else None
        step = max(0, math.ceil(at - 1e-9) - 1)
        if value is not None and value < best and step < budget:
            best = value
            validation[step:] = value
            test[step:] = trial.user_attrs.get("test_accuracy", math.nan)
    ended = int(np.sum(spent <= budget + 1e-9))
    return {
        "validation": validation.round(5).tolist(),
        "test": test.round(5).tolist(),
        "trials": ended,
        "stopped": sum(trial.state == TrialState.PRUNED for trial in trials[:ended]),
    }


def compute(frame: Frame) -> dict[str, Any]:
    """Search with every algorithm: all of them with one seed before the next seed."""
    scale = SCALES[frame.scale]
    found = {
        (name, algorithm, seed): within_budget(search_of(scale, setting, algorithm, seed), frame)
        for seed in range(scale.seeds)
        for name, setting in scale.settings.items()
        for algorithm in scale.algorithms
    }
    return {
        "settings": {name: asdict(setting) for name, setting in scale.settings.items()},
        "budget": scale.budget,
        "seeds": scale.seeds,
        "in_flight": scale.stack * frame.workers,
        "searches": {
            name: {
                algorithm: [
                    progress(found[name, algorithm, seed], scale.budget)
                    for seed in range(scale.seeds)
                ]
                for algorithm in scale.algorithms
            }
            for name in scale.settings
        },
        "provenance": provenance((), found.values()),
    }


def checkpoints(budget: int) -> list[int]:
    """Numbers of trainings at which the tables read the searches."""
    return sorted({max(1, budget // 4), max(1, budget // 2), budget})


def values(seeds: Sequence[Mapping[str, Any]], curve: str, at: int) -> list[float]:
    """Read a curve of all seeds after so many trainings."""
    return usable(seed[curve][at - 1] for seed in seeds)


def ahead(newton: Sequence[float], other: Sequence[float]) -> str:
    """Say whether Newton's test accuracies are higher, as the paper finds."""
    ours, theirs = np.array(newton), np.array(other)
    if len(ours) < 2 or len(theirs) < 2:
        return "too few seeds"
    difference = ours.mean() - theirs.mean()
    error = math.hypot(
        ours.std(ddof=1) / math.sqrt(len(ours)), theirs.std(ddof=1) / math.sqrt(len(theirs))
    )
    if abs(difference) < 2.0 * error:
        return f"undecided ({100 * difference:+.2f} ± {100 * error:.2f})"
    return f"{'yes' if difference > 0 else 'no'} ({100 * difference:+.2f} ± {100 * error:.2f})"


def section(content: dict[str, Any]) -> list[str]:
    """Write a table a setting."""
    at = checkpoints(content["budget"])
    lines = [
        f"{settings_told(content)}. {content['seeds']} seed(s), {content['in_flight']} trials in "
        "flight. In %, mean ± standard deviation over seeds, of the trial with the best "
        "validation error so far.",
        "",
    ]
    for name, algorithms in content["searches"].items():
        rows = []
        for key, seeds in algorithms.items():
            printed = key in ("natural_printed", "gradient_printed")
            newton = algorithms["newton_printed" if printed else "newton"]
            verdict = ahead(values(newton, "test", at[-1]), values(seeds, "test", at[-1]))
            rows.append(
                [
                    ALGORITHMS[key].label,
                    *(mean_sd(values(seeds, "validation", n)) for n in at),
                    *(mean_sd(values(seeds, "test", n)) for n in at),
                    f"{sum(s['trials'] for s in seeds)} ({sum(s['stopped'] for s in seeds)})",
                    "" if key == "newton" else verdict,
                ]
            )
        header = [
            "algorithm",
            *(f"validation error at {n}" for n in at),
            *(f"test accuracy at {n}" for n in at),
            "trials (stopped)",
            "Newton ahead, as in the paper?",
        ]
        lines += [
            f"**{name}**",
            "",
            *Table(header, rows).markdown(),
            "",
        ]
    return [
        *lines,
        "The last column compares test accuracies in the end, difference ± standard error: each "
        "algorithm *as printed* with Newton as printed, and that one and all others with the "
        "default.",
    ]


def table(content: dict[str, Any]) -> Table:
    """One line a setting, algorithm, seed and number of trainings."""
    rows = [
        [name, key, seed, n + 1, one["validation"][n], one["test"][n]]
        for name, algorithms in content["searches"].items()
        for key, seeds in algorithms.items()
        for seed, one in enumerate(seeds)
        for n in range(content["budget"])
    ]
    header = ("setting", "algorithm", "seed", "trainings", "validation_error", "test_accuracy")
    return Table(header, rows)


def draw(content: dict[str, Any]) -> Figure:
    """Draw a row a setting: S2E's own algorithms, and the default beside all others."""
    from matplotlib.figure import Figure

    names = list(content["searches"])
    figure = Figure(figsize=(11.0, 3.6 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 2, squeeze=False, sharey="row")
    for row, name in zip(axes, names, strict=True):
        for key, seeds in content["searches"][name].items():
            algorithm = ALGORITHMS[key]
            curves = 100.0 * np.array([seed["test"] for seed in seeds], dtype=float)
            known = np.isfinite(curves).all(axis=0)
            trainings = np.arange(1, content["budget"] + 1)[known]
            for panel in {algorithm.panel, *((1,) if key == "newton" else ())}:
                row[panel].plot(
                    trainings,
                    curves[:, known].mean(axis=0),
                    color=algorithm.colour,
                    linestyle=algorithm.dashes,
                    linewidth=2.4 if key == "newton" else 1.5,
                    label=algorithm.label,
                )
        row[0].set(ylabel="test accuracy, %", title=f"{name}: S2E's update rules")
        row[1].set(title=f"{name}: other algorithms")
        for ax in row:
            ax.set(xlabel="trainings", xlim=(1, content["budget"]))
            tidy(ax)
    for ax in axes[0]:
        ax.legend(frameon=False, fontsize=9)
    return figure


STUDY = Study(
    name="figure6",
    title="Figure 6: search algorithms",
    about="""
The paper searches in its space with Newton's method, natural gradient and gradient descent, random
search, Bayesian optimisation (TPE) and Hyperband, and finds Newton most efficient; the figure has
no numbers in the text. Here the three update rules run twice: with S2E's default estimates (a
Gaussian process on the curve R(t), a warm start near Co-teaching's schedules), and *as printed*,
with score estimates from six trials each. Optuna's Gaussian process and CMA-ES are added.

Of all trials so far the one with the best validation error counts; its test accuracy is reported
and chooses nothing.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data=data_sets(SCALES),
)

if __name__ == "__main__":
    main(STUDY)
