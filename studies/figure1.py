"""Figures 1 and 8: schedules matter, and learning curves look alike (long: seven panels).

    python -m studies.figure1 --scale small --data mnist=mnist27k.npz --data cifar10=cifar10_jpg
    python -m studies.figure1 --scale paper --storage postgresql://… --workers 4

(a) trains Co-teaching with five random schedules, Co-teaching's own, the one that S2E finds, and
none; Figure 8 shows these schedules. (b) to (f) train plainly, on everything: over data sets and
noises, networks, optimisers, learning rates and batch sizes. The plain trainings come first, so
that ``--no-training`` shows them before the search is through.

Where the paper does not say what it used, this is what is used here: symmetric noise of 50% in (a)
and (d) to (f), the networks and data of (d), the learning rates and batch sizes of (f).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.schedules import Schedule, get_space
from s2e_optuna.search.final import final_seeds
from studies.frame import Study, main
from studies.pages import Table, draw_band, mean_sd, provenance, standard_error, tidy
from studies.searches import Found, Search, searched
from studies.settings import NETWORKS, NOISES, Frame, Setting, StudyError
from studies.trainings import Run, Training, curves, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

SYM50 = {"noise": "symmetric", "noise_rate": 0.5}


@dataclass(frozen=True)
class Scale:
    """What is trained.

    Attributes
    ----------
    main
        The setting of (a), and what (e) and (f) change.
    data
        The settings of (b) and (c), but for their noise.
    networks
        The settings of (d), by network.
    sgd_epochs
        Epochs with SGD in (e).
    rates
        Learning rates of (f), and the epochs with each.
    batches
        Batch sizes of (f).
    trials
        Of the search in (a).
    seeds
        Trainings of each curve.
    """

    main: Setting
    data: tuple[Setting, ...]
    networks: tuple[Setting, ...]
    sgd_epochs: int
    rates: tuple[tuple[float, int], ...]
    batches: tuple[int, ...]
    trials: int
    seeds: int


def _paper_data(name: str) -> Setting:
    return Setting(name, **SYM50, network=NETWORKS[name], evaluate_every=2)


_DIGITS = Setting("digits", **SYM50, network="mlp", epochs=4, train_size=600, batch_size=32)
_SMALL_MNIST = Setting(
    "mnist", **SYM50, network="mlp", epochs=60, train_size=4000, batch_size=32, evaluate_every=2
)
_SMALL = replace(_SMALL_MNIST, data="cifar10", network="cnn1", evaluate_every=1, clean_size=2000)

SCALES = {
    "tiny": Scale(
        main=_DIGITS,
        data=(_DIGITS,),
        networks=(_DIGITS,),
        sgd_epochs=8,
        rates=((1e-2, 4), (1e-3, 4)),
        batches=(16, 32),
        trials=3,
        seeds=1,
    ),
    "small": Scale(
        main=_SMALL,
        data=(_SMALL_MNIST, _SMALL),
        networks=(replace(_SMALL, network="mlp"), _SMALL),
        sgd_epochs=180,
        rates=((1e-2, 60), (1e-3, 60), (1e-4, 180)),
        batches=(32, 128),
        trials=16,
        seeds=3,
    ),
    "paper": Scale(
        main=_paper_data("cifar10"),
        data=tuple(_paper_data(name) for name in ("mnist", "cifar10", "cifar100")),
        networks=tuple(
            replace(_paper_data("cifar100"), network=network)
            for network in ("cnn1", "cnn2", "cnn3", "resnet18", "densenet121")
        ),
        sgd_epochs=1000,
        rates=((1e-2, 200), (1e-3, 200), (1e-4, 1000)),
        batches=(32, 128, 512),
        trials=48,
        seeds=1,
    ),
}

RANDOM = 5
"""Random schedules in (a)."""

FALL = 0.01
"""Test accuracy has peaked and fallen if it ends at least so much below its peak."""


def plain(scale: Scale) -> Iterator[tuple[str, str, Setting]]:
    """Yield panel, label and setting of (b) to (f), where everything is kept."""
    for setting in scale.data:
        for name, (noise, rate) in NOISES.items():
            yield (
                "data",
                f"{setting.data}, {name}",
                replace(setting, noise=noise, noise_rate=rate),
            )
    for setting in scale.networks:
        yield "networks", setting.network, setting
    for optimizer, label in {"adam": "Adam", "sgd": "SGD", "rmsprop": "RMSProp"}.items():
        epochs = scale.sgd_epochs if optimizer == "sgd" else scale.main.epochs
        yield "optimisers", label, replace(scale.main, optimizer=optimizer, epochs=epochs)
    for rate, epochs in scale.rates:
        # Adam's own rate is left out, so that the training is the one of the other panels.
        changed = replace(scale.main, learning_rate=None if rate == 1e-3 else rate, epochs=epochs)
        yield "settings", f"rate {rate:g}", changed
    for batch in scale.batches:
        yield "settings", f"batch {batch}", replace(scale.main, batch_size=batch)


def random_schedules(epochs: int) -> list[Schedule]:
    """Draw schedules of S2E's space at theta = 1."""
    space = get_space("s2e")
    x = np.random.default_rng(1).random((RANDOM, len(space.parameters)))
    return [
        Schedule.clipped(rates, name=f"random {i}")
        for i, rates in enumerate(space.rates(x, epochs), 1)
    ]


def compute(frame: Frame) -> dict[str, Any]:
    """Train plainly, then with schedules, then search and train with what was found."""
    scale = SCALES[frame.scale]
    seeds = final_seeds(0, scale.seeds)
    wanted = list(plain(scale))
    settings = dict.fromkeys(setting for *_, setting in wanted)
    runs = trained(
        [Training(s, "standard", None, seed) for s in settings for seed in seeds], frame
    )
    panels: dict[str, dict[str, Any]] = {}
    for panel, label, setting in wanted:
        there = [run for run in runs if run.training.setting == setting]
        if there:
            panels.setdefault(panel, {})[label] = accuracies(there)
    epochs, rate = scale.main.epochs, scale.main.noise_rate
    schedules = [
        Schedule.constant(epochs, name="none (plain training)"),
        *random_schedules(epochs),
        Schedule.coteaching(epochs, rate),
    ]
    found: list[Found] = []
    scheduled = train_schedules(schedules, scale, frame)
    try:
        found.append(searched(Search(scale.main, trials=scale.trials), frame))
        schedules.append(Schedule(found[0].schedule.rates, name="S2E"))
        scheduled += train_schedules(schedules[-1:], scale, frame)
    except StudyError:
        print("the search has not begun")
    by_name: dict[str, Any] = {}
    for schedule in schedules:
        there = [run for run in scheduled if run.training.schedule is schedule]
        if there:
            by_name[schedule.name] = accuracies(there) | {
                "rates": schedule.rates.round(6).tolist()
            }
    return {
        "schedules": by_name,
        "panels": panels,
        "missing": scale.seeds * (len(settings) + RANDOM + 3) - len(runs) - len(scheduled),
        "provenance": provenance([*runs, *scheduled], found),
    }


def train_schedules(schedules: list[Schedule], scale: Scale, frame: Frame) -> list[Run]:
    """Train Co-teaching with schedules and every seed; return what is there."""
    seeds = final_seeds(0, scale.seeds)
    return trained(
        [Training(scale.main, "coteaching", one, seed) for seed in seeds for one in schedules],
        frame,
    )


def accuracies(runs: Sequence[Run]) -> dict[str, Any]:
    """Return accuracies by seed and epoch, and why trainings failed."""
    return {name: curves(runs, f"{name}_accuracy") for name in ("training", "test")} | {
        "failures": [run.failure for run in runs if run.failure is not None]
    }


def measured(by_seed: list[list[float | None]]) -> tuple[Array, Array]:
    """Return epochs, from 1, and the numbers measured in them, shape [seeds, epochs]."""
    numbers = np.array(by_seed, dtype=np.float64)
    there = np.isfinite(numbers).all(axis=0)
    return np.flatnonzero(there) + 1.0, numbers[:, there]


def shape(curve: dict[str, Any]) -> dict[str, Any]:
    """Describe a mean learning curve: its peak in a mean of three measurements, and its end.

    One measurement's peak would be a lucky one. ``ends`` are those of the seeds.
    """
    epochs, test = measured(curve["test"])
    _, training = measured(curve["training"])
    training = training.mean(axis=0)
    width = min(3, len(epochs))
    window = np.ones(width) / width
    smooth = np.convolve(test.mean(axis=0), window, mode="valid")
    peak = int(smooth.argmax())
    at = int(epochs[peak + width // 2])
    tail = max(1, len(training) // 10)
    return {
        "peak": float(smooth[peak]),
        "epoch": at,
        "end": float(smooth[-1]),
        "ends": test[:, -width:].mean(axis=1).tolist(),
        "training_at_peak": float(training[at - 1]),
        "training_end": float(training[-tail:].mean()),
    }


def as_in_paper(found: dict[str, Any]) -> str:
    """Say whether training accuracy goes on rising while test accuracy has peaked and falls."""
    rises = found["training_end"] > found["training_at_peak"]
    falls = found["peak"] - found["end"] > FALL
    if rises and falls:
        return "yes"
    return "no: test accuracy does not fall" if rises else "no: training accuracy does not rise"


TITLES = {
    "data": "(b), (c) data sets and noises",
    "networks": "(d) networks",
    "optimisers": "(e) optimisers",
    "settings": "(f) learning rates and batch sizes",
}


def section(content: dict[str, Any]) -> list[str]:
    """Write what every curve does, and whether the paper says so."""
    scale = SCALES[content["scale"]]
    size = f", {scale.main.train_size:,} training images" if scale.main.train_size else ""
    lines = [
        f"(a): {scale.main.data}, symmetric noise of 50%{size}, {scale.main.network}, "
        f"{scale.main.epochs} epochs, batch {scale.main.batch_size}; S2E: {scale.trials} trials. "
        f"{_seeds(scale.seeds)} Test accuracies in %; peaks and ends are those of a mean of three "
        "measurements.",
        "",
        *schedule_lines(content["schedules"]),
    ]
    rows = []
    for panel, some in content["panels"].items():
        for label, curve in some.items():
            failed = f"failed: {'; '.join(curve['failures'])}"
            if not curve["test"]:
                rows.append([TITLES[panel], label, *["–"] * 4, failed])
                continue
            found = shape(curve)
            rows.append(
                [
                    TITLES[panel],
                    label,
                    f"{100 * found['training_end']:.1f}",
                    f"{100 * found['peak']:.1f} ({found['epoch']})",
                    mean_sd(found["ends"]),
                    f"{100 * (found['end'] - found['peak']):+.1f}",
                    as_in_paper(found) + (f"; one seed {failed}" if curve["failures"] else ""),
                ]
            )
    header = ("panel", "", "training, end", "test, peak (epoch)", "test, end", "fall")
    lines += Table((*header, "as in the paper?"), rows).markdown()
    lines += [
        "",
        "As in the paper: training accuracy (on the given labels) goes on rising after test "
        f"accuracy has peaked, and test accuracy ends more than {FALL:.0%} below its peak.",
    ]
    if content["missing"]:
        lines += [
            "",
            f"**{content['missing']} trainings are missing:** the command below does them.",
        ]
    return lines


def _seeds(count: int) -> str:
    return "One seed, as in the paper." if count == 1 else f"{count} seeds: means ± sd."


def schedule_lines(schedules: dict[str, Any]) -> list[str]:
    """Write (a): accuracies by schedule, and the paper's order."""
    rows: list[list[str]] = []
    ends: dict[str, list[float]] = {}
    for name, curve in schedules.items():
        if not curve["test"]:
            rows.append([name, f"{np.mean(curve['rates']):.2f}", "–", curve["failures"][0]])
            continue
        found = shape(curve)
        ends[name] = found["ends"]
        kept = np.mean(curve["rates"])
        rows.append([name, f"{kept:.2f}", f"{100 * found['peak']:.1f}", mean_sd(found["ends"])])
    lines = Table(("schedule", "mean R(t)", "peak", "end"), rows).markdown()
    randoms = [end for name, end in ends.items() if name.startswith("random")]
    none = ends.get("none (plain training)")
    checks = []
    if "Co-teaching" in ends and randoms:
        beaten = sum(np.mean(ends["Co-teaching"]) > np.mean(end) for end in randoms)
        checks.append(["Co-teaching's is better than random ones", f"{beaten} of {len(randoms)}"])
    if none is not None and randoms:
        better = sum(np.mean(end) > np.mean(none) for end in randoms)
        gain = 100 * (np.mean(randoms) - np.mean(none))
        checks.append(
            [
                "random ones are hardly better than none",
                f"{better} of {len(randoms)} are better, by {gain:+.1f} in the mean",
            ]
        )
    if {"S2E", "Co-teaching"} <= ends.keys():
        gain = float(np.mean(ends["S2E"]) - np.mean(ends["Co-teaching"]))
        error = math.hypot(*(standard_error(ends[name]) for name in ("S2E", "Co-teaching")))
        word = "yes" if gain > 0 else "no"
        if abs(gain) < 2.0 * error:
            word = "undecided (within two standard errors)"
        checks.append(["S2E's is better than Co-teaching's", f"{word}: {100 * gain:+.1f}"])
    return [*lines, "", *Table(("the paper, at the end", "here"), checks).markdown(), ""]


def table(content: dict[str, Any]) -> Table:
    """One line a curve and epoch; means over seeds."""
    rows = []
    for panel, some in {"schedules": content["schedules"], **content["panels"]}.items():
        for label, curve in some.items():
            training, test = (np.array(curve[n], dtype=np.float64) for n in ("training", "test"))
            for t in range(test.shape[-1] if len(test) else 0):
                rate = curve["rates"][t] if "rates" in curve else None
                means = (float(training[:, t].mean()), float(test[:, t].mean()))
                rows.append([panel, label, t, rate, *means, float(test[:, t].std()), len(test)])
    header = ("panel", "curve", "t", "R", "training_accuracy", "test_accuracy", "test_sd", "seeds")
    return Table(header, rows)


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)))


def draw(content: dict[str, Any]) -> Figure:
    """Draw Figure 1 (a) to (f), and Figure 8 beside (a); a band is a standard deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.4, 8.4), layout="constrained")
    panels = figure.subplots(2, 4).ravel()
    _draw_schedules(panels[0], panels[1], content["schedules"])
    data = content["panels"].get("data", {})
    names = list(dict.fromkeys(label.split(", ")[0] for label in data))
    noises = list(NOISES)
    for i, kind in enumerate(("training", "test")):
        ax = panels[2 + i]
        for label, curve in data.items():
            name, noise = label.split(", ")
            line = (COLOURS[names.index(name)], DASHES[noises.index(noise)])
            draw_band(ax, curve[kind], label, line)
        ax.set(title=f"({'bc'[i]}) data and noise", xlabel="epochs of training")
        ax.set_ylabel(f"{kind} accuracy, %")
    for ax, panel in zip(panels[4:7], ("networks", "optimisers", "settings"), strict=True):
        for i, (label, curve) in enumerate(content["panels"].get(panel, {}).items()):
            epochs = np.shape(curve["test"])[-1]
            line = (COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)])
            # Trainings of 60 and of 180 epochs beside each other: by their share.
            share = 100.0 / max(1, epochs)
            draw_band(
                ax, curve["test"], f"{label} ({epochs} epochs)", line, first=share, step=share
            )
        ax.set(title=TITLES[panel], xlabel="share of the training, %", ylabel="test accuracy, %")
    for ax in panels[:7]:
        tidy(ax)
        if ax.get_legend_handles_labels()[0]:  # below, where it covers no curve
            ax.legend(
                frameon=False,
                fontsize=7.5,
                ncols=2,
                loc="upper center",
                bbox_to_anchor=(0.5, -0.17),
            )
    panels[7].axis("off")
    return figure


def _draw_schedules(accuracies: Any, rates: Any, schedules: dict[str, Any]) -> None:
    looks = _schedule_looks(schedules)
    for name, curve in schedules.items():
        colour, dashes, width, label = looks[name]
        rates.plot(curve["rates"], color=colour, linestyle=dashes, linewidth=width, label=label)
        test = curve["test"]
        if test and "random" in label:  # five bands would cover the rest: their means alone
            test = np.mean(np.array(test, dtype=float), axis=0)
        draw_band(accuracies, test, label, (colour, dashes), width)
    accuracies.set(title="(a) schedules", xlabel="epochs of training", ylabel="test accuracy, %")
    rates.set(title="Figure 8: R(t) in (a)", xlabel="epoch t", ylabel="kept share $R(t)$")
    rates.set_ylim(0, 1.03)


def _schedule_looks(schedules: dict[str, Any]) -> dict[str, tuple[str, Any, float, str]]:
    """Return colour, dashes, width and label of each schedule; the random ones share a label."""
    known: dict[str, tuple[str, Any, float, str]] = {
        "none (plain training)": ("#000000", "-", 1.5, "none"),
        "Co-teaching": ("#0072B2", (0, (5, 2)), 2.0, "Co-teaching's"),
        "S2E": ("#D55E00", "-", 2.4, "found by S2E"),
        "random 1": ("0.6", "-", 1.0, "random"),
    }
    return {name: known.get(name, ("0.6", "-", 1.0, "_random")) for name in schedules}


STUDY = Study(
    name="figure1",
    title="Figures 1 and 8: schedules matter, and learning curves look alike",
    about="""
The paper's motivation. (a): which share of the small losses is kept decides about the accuracy;
random schedules hardly help, Co-teaching's does, and the one that is found does more. (b) to (f):
when everything is kept, training accuracy rises to the end while test accuracy peaks and falls,
whatever the data, noise, network, optimiser, learning rate and batch size. The paper gives no
numbers for these figures, so what can agree is the order and the shape.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data={
        "tiny": ("digits",),
        "small": ("mnist", "cifar10"),
        "paper": ("mnist", "cifar10", "cifar100"),
    },
)

if __name__ == "__main__":
    main(STUDY)
