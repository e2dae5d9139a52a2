"""Table 7: a search with shared weights (ASNG) against S2E.

    python -m studies.table7 --scale small --data data/mnist27k.npz

`studies.weight_sharing` searches with one set of weights, S2E trains every schedule from scratch.
Each has one search a seed; then a fresh training with the schedule that was found, and with seeds
that no search has used, is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s2e_optuna.device import split_devices
from s2e_optuna.schedules import Schedule
from s2e_optuna.scores import last_epochs
from s2e_optuna.search.final import final_seeds
from studies.frame import Study, main
from studies.pages import (
    LINES,
    Table,
    beside_paper,
    draw_band,
    long_table,
    mean_sd,
    provenance,
    tidy,
    write_text,
)
from studies.searches import Search, searched
from studies.settings import Frame, Setting, commit, data_sets, digest, hardware, paper_setting
from studies.table3 import SMALL, settings_told
from studies.trainings import Training, config_of, data_of, trained
from studies.weight_sharing import Turns, search_shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TURNS = {"asng_batch": Turns(samples=2, by_batch=True), "asng_epoch": Turns(6, by_batch=False)}
"""Two schedules every mini-batch, as in ASNG; or six every epoch, as many as S2E's paper draws."""

COLUMNS = {
    "asng_batch": "ASNG, every mini-batch",
    "asng_epoch": "ASNG, every epoch",
    "s2e": "S2E",
    "coteaching": "Co-teaching, told the rate",
    "standard": "Standard",
}

ASNG, S2E = (57.82, 47.34, 41.46), (58.73, 50.82, 47.58)
PAPER = {
    noise: {"asng_batch": asng, "asng_epoch": asng, "s2e": s2e}
    for noise, asng, s2e in zip(("sym20", "sym50", "pair45"), ASNG, S2E, strict=True)
}
"""The paper's Table 7: test accuracy in % on CIFAR-10."""

LOOKS = {
    "asng_batch": ("#CC79A7", "-"),
    "asng_epoch": ("#009E73", (0, (5, 2))),
    **{name: LINES[name] for name in ("s2e", "coteaching", "standard")},
}


@dataclass(frozen=True)
class Scale:
    """Settings by noise, S2E's trials, seeds."""

    settings: dict[str, Setting]
    trials: int
    seeds: int


SCALES = {
    "tiny": Scale(
        {"sym50": paper_setting("digits", "sym50", epochs=4, train_size=300, batch_size=16)},
        4,
        2,
    ),
    "small": Scale(
        {noise: paper_setting("mnist", noise, **SMALL) for noise in PAPER},
        24,
        3,
    ),
    "paper": Scale({noise: paper_setting("cifar10", noise) for noise in PAPER}, 60, 5),
}


def search_of(scale: Scale, noise: str, seed: int) -> Search:
    """Say what S2E searches: the same as in `studies.figure6`, so that nothing is done twice."""
    return Search(scale.settings[noise], trials=scale.trials, seed=seed, stack=3)


@dataclass(frozen=True)
class Sharing:
    """One search with shared weights; its result is a file."""

    setting: Setting
    turns: Turns
    seed: int

    def path(self, frame: Frame) -> Path:
        """Where its result lies."""
        source = Path(frame.source(self.setting)).name
        key = digest([self.setting.told(), source, asdict(self.turns), self.seed])
        kind = "batch" if self.turns.by_batch else "epoch"
        folder = frame.runs / "weight_sharing" / self.setting.name
        return folder / f"{kind}-{self.seed}-{key}.json"


def share(search: Sharing, frame: Frame, device: str) -> str:
    """Search with shared weights, write the result, return a line about it."""
    started = time.perf_counter()
    data = data_of(search.setting, frame)
    found = search_shared(data, config_of(search.setting, search.seed, device), search.turns)
    seconds = time.perf_counter() - started
    curves = ("followed", "validation_accuracy", "test_accuracy", "entropy")
    content = {
        "schedule": found.schedule.rates.tolist(),
        "theta": found.theta.tolist(),
        "updates": found.updates,
        **{name: getattr(found, name) for name in curves},
        "seconds": round(seconds, 1),
        "hardware": hardware(),
        "commit": commit(),
    }
    write_text(search.path(frame), json.dumps(content))
    return f"{search.path(frame).stem}: {found.updates} steps of theta ({seconds:.0f} s)"


def shared(searches: Sequence[Sharing], frame: Frame) -> list[dict[str, Any]]:
    """Do the searches with shared weights that are not done yet; read all."""
    missing = [search for search in searches if not search.path(frame).exists()]
    devices = split_devices(frame.device)
    jobs = [(search, frame, devices[i % len(devices)]) for i, search in enumerate(missing)]
    if frame.workers == 1 or len(jobs) < 2:
        for number, job in enumerate(jobs, 1):
            print(f"[{number}/{len(jobs)}] {share(*job)}", flush=True)
    else:
        with ProcessPoolExecutor(frame.workers, get_context("spawn")) as pool:
            futures = [pool.submit(share, *job) for job in jobs]
            for number, future in enumerate(as_completed(futures), 1):
                print(f"[{number}/{len(jobs)}] {future.result()}", flush=True)
    return [json.loads(search.path(frame).read_text(encoding="utf-8")) for search in searches]


def compute(frame: Frame) -> dict[str, Any]:
    """Search in both ways, then train with what was found."""
    scale = SCALES[frame.scale]
    keys = [(noise, seed) for noise in scale.settings for seed in range(scale.seeds)]
    sharings = {
        (noise, way, seed): Sharing(scale.settings[noise], turns, seed)
        for noise, seed in keys
        for way, turns in TURNS.items()
    }
    found = dict(zip(sharings, shared(list(sharings.values()), frame), strict=True))
    searches = {key: searched(search_of(scale, *key), frame) for key in keys}
    fresh = final_seeds(0, scale.seeds)
    wanted = {}
    for noise, seed in keys:
        setting = scale.settings[noise]
        schedules = {
            **{way: Schedule(found[noise, way, seed]["schedule"], name=way) for way in TURNS},
            "s2e": searches[noise, seed].schedule,
            "coteaching": Schedule.coteaching(setting.epochs, setting.noise_rate),
        }
        for name, schedule in schedules.items():
            wanted[noise, name, seed] = Training(setting, "coteaching", schedule, fresh[seed])
        wanted[noise, "standard", seed] = Training(setting, "standard", None, fresh[seed])
    runs = dict(zip(wanted, trained(wanted.values(), frame), strict=True))
    last = {noise: last_epochs(setting.epochs) for noise, setting in scale.settings.items()}
    seeds = range(scale.seeds)
    return {
        "settings": {noise: asdict(setting) for noise, setting in scale.settings.items()},
        "trials": scale.trials,
        "seeds": scale.seeds,
        "test": {
            noise: {
                name: [
                    runs[noise, name, seed].last("test_accuracy", last[noise]) for seed in seeds
                ]
                for name in COLUMNS
            }
            for noise in scale.settings
        },
        "shared_weights": {
            noise: {
                way: {
                    "test": [
                        float(np.mean(found[noise, way, s]["test_accuracy"][-last[noise] :]))
                        for s in seeds
                    ],
                    "updates": [found[noise, way, s]["updates"] for s in seeds],
                    "entropy": [found[noise, way, s]["entropy"][-1] for s in seeds],
                    "seconds": [found[noise, way, s]["seconds"] for s in seeds],
                }
                for way in TURNS
            }
            for noise in scale.settings
        },
        "search_seconds": {
            noise: [searches[noise, seed].seconds for seed in seeds] for noise in scale.settings
        },
        "schedules": {
            noise: {
                name: [
                    runs[noise, name, seed].training.schedule.rates.round(5).tolist()
                    for seed in seeds
                ]
                for name in (*TURNS, "s2e", "coteaching")
            }
            for noise in scale.settings
        },
        "curves": {
            noise: {
                name: [runs[noise, name, s].curves["test_accuracy"].tolist() for s in seeds]
                for name in COLUMNS
            }
            for noise in scale.settings
        },
        "provenance": provenance(runs.values(), searches.values()),
    }


def section(content: dict[str, Any]) -> list[str]:
    """Write the accuracies, and what there is to say about the shared weights."""
    lines = [
        f"{settings_told(content)}. {content['trials']} trials for S2E; {content['seeds']} "
        "searches of each kind, a fresh training with each schedule. Test accuracy in %, mean of "
        "the last epochs, mean ± standard deviation over seeds; in brackets the paper's, on "
        "CIFAR-10.",
        "",
        *beside_paper(content["test"], PAPER, COLUMNS, "noise").markdown(),
        "",
        "The networks that the searches with shared weights end with, which nobody would use, and "
        "what the searches cost:",
        "",
    ]
    rows = []
    for noise, ways in content["shared_weights"].items():
        for way, one in ways.items():
            rows.append(
                [
                    noise,
                    COLUMNS[way],
                    mean_sd(one["test"]),
                    f"{np.mean(one['updates']):.0f}",
                    f"{np.mean(one['entropy']):.1f}",
                    f"{np.mean(one['seconds']):.0f}",
                    f"{np.mean(content['search_seconds'][noise]):.0f}",
                ]
            )
    header = [
        "noise",
        "search",
        "test accuracy of the shared weights",
        "steps of theta",
        "entropy of p_theta in the end (at first -1.8)",
        "seconds",
        "seconds of S2E's search",
    ]
    return [*lines, *Table(header, rows).markdown()]


def table(content: dict[str, Any]) -> Table:
    """One line a noise and method."""
    return long_table(content["test"], PAPER)


def draw(content: dict[str, Any]) -> Figure:
    """Draw a row a noise: schedules found, and how training with them goes."""
    from matplotlib.figure import Figure

    names = list(content["test"])
    figure = Figure(figsize=(10.4, 3.1 * len(names) + 0.4), layout="constrained")
    axes = figure.subplots(len(names), 2, squeeze=False)
    for (left, right), noise in zip(axes, names, strict=True):
        for name, rows in content["schedules"][noise].items():
            colour, dashes = LOOKS[name]
            for i, rates in enumerate(rows):
                label = COLUMNS[name] if i == 0 else None
                left.plot(rates, color=colour, linestyle=dashes, alpha=0.8, label=label)
        for name, curves in content["curves"][noise].items():
            draw_band(right, curves, COLUMNS[name], LOOKS[name])
        left.set(xlabel="epoch t", ylabel="kept share $R(t)$", ylim=(0, 1.03))
        left.set_title(f"{noise}: schedules found, one a search", fontsize=10)
        right.set(xlabel="epochs of training", ylabel="test accuracy, %")
        right.set_title(f"{noise}: training with them", fontsize=10)
        tidy(left)
        tidy(right)
    handles = axes[0, 1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(COLUMNS), frameon=False)
    return figure


STUDY = Study(
    name="table7",
    title="Table 7: weight sharing",
    about="""
The paper compares S2E with ASNG (Akimoto et al., 2019), which searches with one set of weights for
all schedules, and finds that what it finds is much worse. It does not say how often theta and the
weights take turns, nor how an R(t), which has no part in a forward pass, is judged with shared
weights; `studies/weight_sharing.py` says how it is done here, in two ways. Both compare what a
schedule does to the validation loss at once, after a mini-batch or an epoch. Memorisation is slow:
what pays in the end can cost now, and weights that one schedule has spoilt judge another.

Standard training and Co-teaching, which is told the noise rate, are there to show the range.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data=data_sets(SCALES),
)

if __name__ == "__main__":
    main(STUDY)
