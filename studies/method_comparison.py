"""Every method of the paper on the same data, as a table and as learning curves.

    python -m studies.method_comparison --scale small --data data/mnist27k.npz --workers 2
    python -m studies.method_comparison --scale paper --storage postgresql://…

`studies.figure3` and `studies.figure4` show the same trainings. Nothing is chosen by test
accuracy: S2E's schedule by its search, and the epoch in the column "best epoch" by validation
accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s2e_optuna.schedules import Schedule
from s2e_optuna.search.final import final_seeds
from studies.frame import Study, main
from studies.pages import LINES, Table, draw_band, mean_sd, provenance, tidy, usable
from studies.searches import Found, Search, searched
from studies.settings import NETWORKS, NOISES, Frame, Setting, StudyError, data_sets, paper_setting
from studies.trainings import Run, Training, curves, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Scale:
    """What is compared on; `trials` are those of S2E's search."""

    settings: dict[str, Setting]
    seeds: int
    trials: int


SCALES = {
    "tiny": Scale(
        {
            "digits-pair45": paper_setting(
                "digits", "pair45", epochs=4, train_size=300, batch_size=32
            )
        },
        2,
        3,
    ),
    "small": Scale(
        {
            f"mnist-{noise}": paper_setting("mnist", noise, epochs=60, train_size=10_000)
            for noise in NOISES
        },
        5,
        48,
    ),
    "paper": Scale(
        {
            f"{data}-{noise}": paper_setting(data, noise)
            for data in NETWORKS
            if data != "digits"
            for noise in NOISES
        },
        5,
        48,
    ),
}

NAMES = {
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "sym20": "symmetric 20%",
    "sym50": "symmetric 50%",
    "pair45": "pair 45%",
}


@dataclass(frozen=True)
class Entry:
    """One line of the table: a method, and what it knows that others do not."""

    method: str
    label: str
    told_rate: bool = False
    clean_data: str = "no"

    def schedule(self, setting: Setting) -> Schedule | None:
        """Return the R(t) of those that are told the noise rate; None: all are kept."""
        if not self.told_rate:
            return None
        return Schedule.coteaching(setting.epochs, setting.noise_rate)


ENTRIES = {
    "standard": Entry("standard", "Standard"),
    "mentornet": Entry("mentornet", "MentorNet (self-paced)", told_rate=True),
    "coteaching": Entry("coteaching", "Co-teaching", told_rate=True),
    "coteaching_plus": Entry("coteaching_plus", "Co-teaching+, the paper", told_rate=True),
    "coteaching_plus_released": Entry(
        "coteaching_plus:as_released", "Co-teaching+, as released", told_rate=True
    ),
    "comining": Entry("comining", "Co-mining", told_rate=True),
    "decoupling": Entry("decoupling", "Decoupling"),
    "f_correction": Entry("f_correction", "F-correction"),
    "f_correction_early": Entry(
        "f_correction:estimation_epochs=6", "F-correction, T after 6 epochs"
    ),
    "reweight": Entry("reweight", "Reweight (L2RW)", clean_data="to learn"),
    "s2e": Entry("coteaching", "S2E (Co-teaching)", clean_data="to choose R(t)"),
}


@dataclass(frozen=True)
class Compared:
    """Finished trainings by task and entry, one a seed, and S2E's searches by task."""

    seeds: int
    runs: Mapping[str, Mapping[str, list[Run]]]
    found: Mapping[str, Found]

    def content(self) -> dict[str, Any]:
        """Return what the pages of all studies that show these trainings say of them."""
        groups = [runs for table in self.runs.values() for runs in table.values()]
        runs = [run for group in groups for run in group]
        return {
            "seeds": self.seeds,
            "missing": self.seeds * len(groups) - len(runs),
            "searches": {
                task: {"trials": len(one.trials), "commit": one.commit}
                for task, one in self.found.items()
            },
            "provenance": provenance(runs, self.found.values()),
        }


def compared(frame: Frame, entries: Collection[str], seeds: int) -> Compared:
    """Train with the first so many seeds: S2E last, since it has to search first."""
    scale = SCALES[frame.scale]
    numbers = final_seeds(0, scale.seeds)[:seeds]
    others = trained(
        [
            Training(setting, ENTRIES[key].method, ENTRIES[key].schedule(setting), seed)
            for seed in numbers
            for key in entries
            if key != "s2e"
            for setting in scale.settings.values()
        ],
        frame,
    )
    found: dict[str, Found] = {}
    for task, setting in scale.settings.items():
        try:
            found[task] = searched(Search(setting, trials=scale.trials), frame)
        except StudyError:
            print(f"{task}: the search has not begun")
    s2e = trained(
        [
            Training(one.search.setting, ENTRIES["s2e"].method, one.schedule, seed)
            for seed in numbers
            for one in found.values()
        ],
        frame,
    )
    runs = {
        task: {
            key: [
                run
                for run in (s2e if key == "s2e" else others)
                if run.training.setting == setting and run.training.method == ENTRIES[key].method
            ]
            for key in entries
        }
        for task, setting in scale.settings.items()
    }
    return Compared(seeds, runs, found)


MEASURES: dict[str, Callable[[Run], float]] = {
    "test_last": lambda run: run.last("test_accuracy"),
    "test_at_best_epoch": lambda run: run.at_best_validation(),
    "label_precision": lambda run: run.last("label_precision"),
    "kept_share": lambda run: run.last("kept_share"),
}
"""Columns of the table: name to number of a training."""


def compute(frame: Frame) -> dict[str, Any]:
    """Train everything."""
    found = compared(frame, ENTRIES, SCALES[frame.scale].seeds)
    tasks = {
        task: {
            "curves": {key: curves(runs, "test_accuracy") for key, runs in table.items()},
            "rows": {key: row(runs) for key, runs in table.items()},
        }
        for task, table in found.runs.items()
    }
    return {"tasks": tasks, **found.content()}


def row(runs: Sequence[Run]) -> dict[str, Any]:
    """Measure the trainings of an entry; numbers are in the order of the seeds."""
    return {
        "seeds": [run.training.seed for run in runs],
        "failed": sum(run.failure is not None for run in runs),
        **{name: [measure(run) for run in runs] for name, measure in MEASURES.items()},
    }


def last(curve: Sequence[float | None], epochs: int = 10) -> float:
    """Mean over the last epochs of a curve as read from a file; NaN without a number."""
    numbers = usable(curve[-epochs:])
    return sum(numbers) / len(numbers) if numbers else math.nan


def counted(values: Sequence[float], seeds: int) -> str:
    """Write mean ± standard deviation, and of how many seeds where some are missing."""
    some = f" ({len(values)} of {seeds} seeds)" if 0 < len(values) < seeds else ""
    return mean_sd(values) + some


def task_title(task: str) -> str:
    """Write a task's name as a heading."""
    return ", ".join(NAMES.get(word, word) for word in task.split("-"))


def introduction(content: Mapping[str, Any]) -> list[str]:
    """Write what was trained, what is missing, and where S2E's schedules come from."""
    scale = SCALES[content["scale"]]
    rows = [
        [task_title(name), s.data, f"{s.train_size:,}" if s.train_size else "all", s.network]
        for name, s in scale.settings.items()
    ]
    one = next(iter(scale.settings.values()))
    lines = [
        f"{one.epochs} epochs, batch {one.batch_size or 'by size of the data'}, "
        f"{content['seeds']} seeds, Adam 1e-3, constant to 40% of the epochs, then falling to 0; "
        "beta1 0.9, then 0.1.",
        "",
        *Table(("task", "data", "training images", "network"), rows).markdown(),
    ]
    if content["missing"]:
        count = content["missing"]
        lines += ["", f"**{count} trainings are missing:** the command below does them."]
    named = [
        f"{task_title(task)}: {search['trials']} trials, commit {search['commit']}"
        for task, search in content["searches"].items()
    ]
    return [*lines, "", f"Searches of S2E: {'; '.join(named)}."] if named else lines


def section(content: dict[str, Any]) -> list[str]:
    """Write a table a task."""
    lines = introduction(content)
    measured = ("last", "best epoch", "label precision", "kept")
    header = ("method", *measured, "told the rate", "uses clean data", "seeds")
    for task, found in content["tasks"].items():
        rows = []
        for key, entry in ENTRIES.items():
            some = found["rows"][key]
            done = len(some["seeds"])
            count = f"{done}" + (f" of {content['seeds']}" if done < content["seeds"] else "")
            rows.append(
                [
                    entry.label,
                    *(mean_sd(some[name]) if done else "missing" for name in MEASURES),
                    "yes" if entry.told_rate else "no",
                    entry.clean_data,
                    count + (f", {some['failed']} failed" if some["failed"] else ""),
                ]
            )
        lines += ["", f"### {task_title(task)}", "", *Table(header, rows).markdown()]
    return lines


def table(content: dict[str, Any]) -> Table:
    """One line a task, method and seed."""
    rows = [
        [task, key, *numbers]
        for task, found in content["tasks"].items()
        for key, some in found["rows"].items()
        for numbers in zip(some["seeds"], *(some[name] for name in MEASURES), strict=True)
    ]
    return Table(("task", "method", "seed", *MEASURES), rows)


def draw(content: dict[str, Any]) -> Figure:
    """Draw the learning curves of all methods."""
    return draw_curves(content, {key: entry.label for key, entry in ENTRIES.items()})


def draw_curves(content: dict[str, Any], labels: Mapping[str, str]) -> Figure:
    """Draw a panel a task, as the paper does: data sets down, noises across."""
    from matplotlib.figure import Figure

    tasks = content["tasks"]
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(3.9 * columns + 1.9, 3.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    handles: dict[str, Any] = {}
    for ax, (name, task) in zip(panels, tasks.items(), strict=False):
        longest = 2
        for key, label in labels.items():
            if task["curves"][key]:
                width = 2.4 if key == "s2e" else 1.4
                handles[label] = draw_band(ax, task["curves"][key], label, LINES[key], width)
                longest = max(longest, len(task["curves"][key][0]))
        ax.set(title=task_title(name), xlabel="epochs of training", xlim=(1, longest))
        tidy(ax)
    for row in range(rows):
        panels[row * columns].set_ylabel("test accuracy, %")
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    return figure


STUDY = Study(
    name="method_comparison",
    title="Every method of the paper",
    about="""
Numbers are test accuracies in %, mean ± standard deviation over seeds. *Last*: mean of the last
10 epochs. *Best epoch*: the epoch with the best validation accuracy. Nothing was chosen by test
accuracy. *Label precision*: share of clean samples among those that were learnt from, last epochs.
*Kept*: share of the samples that were learnt from, likewise. The label noise is the same for all
seeds.

Not all know the same. MentorNet, Co-teaching, Co-teaching+ and Co-mining are told the true noise
rate; Reweight learns from clean samples (up to 1,000 of the validation part; its best epoch is
chosen on the others); S2E searches with the clean validation part and is not told the rate.
F-correction trains twice as long: its first training only estimates the transitions.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data=data_sets(SCALES),
)

if __name__ == "__main__":
    main(STUDY)
