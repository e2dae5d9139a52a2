"""Figures 4, 5 and 9: the R(t) that S2E finds, and how clean the samples are that it keeps.

    python -m studies.figure4 --scale small --data data/mnist27k.npz --workers 2
    python -m studies.figure4 --scale paper --storage postgresql://…

The trainings are those of `studies.method_comparison`, shared with `studies.figure3`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from s2e_optuna.schedules import Schedule
from studies.figure3 import SCALES
from studies.frame import Study, main
from studies.method_comparison import SCALES as COMPARED
from studies.method_comparison import (
    compared,
    counted,
    introduction,
    last,
    task_title,
)
from studies.pages import LABELS, LINES, Table, draw_band, tidy, usable
from studies.settings import Frame, data_sets
from studies.trainings import curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENTRIES = ("mentornet", "coteaching", "coteaching_plus", "s2e")
"""The methods that keep a share R(t)."""

CONTENT = dict[str, Any]


def compute(frame: Frame) -> CONTENT:
    """Take the trainings, doing what is missing."""
    found = compared(frame, ENTRIES, SCALES[frame.scale])
    tasks = {}
    for name, setting in COMPARED[frame.scale].settings.items():
        told = Schedule.coteaching(setting.epochs, setting.noise_rate)
        s2e = found.found[name].schedule if name in found.found else None
        tasks[name] = {
            "noise_rate": setting.noise_rate,
            "s2e": None if s2e is None else s2e.rates.round(6).tolist(),
            "others": told.rates.round(6).tolist(),
            "curves": {key: curves(found.runs[name][key], "label_precision") for key in ENTRIES},
        }
    return {"tasks": tasks, **found.content()}


def kept(rates: list[float] | None) -> float:
    """Mean R(t) of the last ten epochs; NaN without a schedule."""
    return last(list(rates or ()))


def precision(task: CONTENT) -> dict[str, list[float]]:
    """Label precision of the last ten epochs, one number a seed."""
    return {key: [last(curve) for curve in task["curves"][key]] for key in ENTRIES}


def verdicts(tasks: dict[str, CONTENT]) -> list[list[str]]:
    """Check what the paper says about these figures."""
    searched = {name: task for name, task in tasks.items() if task["s2e"]}
    rows = []
    dropping = [
        f"{task_title(name)}: {1 - kept(task['s2e']):.2f} {sign} {task['noise_rate']:.2f}"
        for name, task in searched.items()
        for sign in (">" if 1 - kept(task["s2e"]) > task["noise_rate"] else "≤",)
    ]
    rows.append(
        [
            "In the end S2E drops more than the noise rate",
            _count(text for text in dropping if ">" in text) + f" of {len(dropping)}",
            "; ".join(dropping),
        ]
    )
    noisier = []
    for name, task in searched.items():
        other = searched.get(name.replace("sym20", "sym50"))
        if name.endswith("sym20") and other is not None:
            less = kept(other["s2e"]) < kept(task["s2e"])
            sign = "<" if less else "≥"
            noisier.append(
                f"{task_title(name)}: {kept(other['s2e']):.2f} at 50% {sign} "
                f"{kept(task['s2e']):.2f} at 20%"
            )
    rows.append(
        [
            "R(t) is smaller where there is more noise",
            _count(text for text in noisier if "<" in text) + f" of {len(noisier)}",
            "; ".join(noisier) or "–",
        ]
    )
    cleanest = []
    for name, task in searched.items():
        means = {key: float(np.mean(v)) for key, v in precision(task).items() if usable(v)}
        if "s2e" in means and len(means) > 1:
            best = max(means, key=lambda key: means[key])
            cleanest.append(f"{task_title(name)}: {LABELS[best]}")
    rows.append(
        [
            "S2E has the highest label precision",
            _count(text for text in cleanest if text.endswith(LABELS["s2e"]))
            + f" of {len(cleanest)}",
            "; ".join(cleanest),
        ]
    )
    return rows


def _count(items: Any) -> str:
    return str(sum(1 for _ in items))


def section(content: CONTENT) -> list[str]:
    """Write what was found beside what the paper says."""
    rows = []
    for name, task in content["tasks"].items():
        cells = [counted(values, content["seeds"]) for values in precision(task).values()]
        found = kept(task["s2e"])
        shown = f"{found:.2f}" if np.isfinite(found) else "–"
        told = kept(task["others"])
        rows.append(
            [task_title(name), f"{1 - task['noise_rate']:.2f}", shown, f"{told:.2f}", *cells]
        )
    header = ("task", "clean labels", "R of S2E", "R of the others")
    precisions = (f"precision, {LABELS[key]}" for key in ENTRIES)
    return [
        *introduction(content),
        "",
        "Means of the last ten epochs; label precision in %, ± standard deviation over seeds.",
        "",
        *Table((*header, *precisions), rows).markdown(),
        "",
        *Table(("the paper", "here", "in detail"), verdicts(content["tasks"])).markdown(),
    ]


def table(content: CONTENT) -> Table:
    """One line a task and epoch."""
    rows = []
    for name, task in content["tasks"].items():
        columns = {key: np.array(task["curves"][key], dtype=float) for key in ENTRIES}
        length = max((len(rates) for rates in (task["s2e"], task["others"]) if rates), default=0)
        for t in range(length):
            means = [
                float(values[:, t].mean()) if values.size else None for values in columns.values()
            ]
            rates = [rates[t] if rates else None for rates in (task["s2e"], task["others"])]
            rows.append([name, t, *rates, *means])
    precisions = (f"precision_{key}" for key in ENTRIES)
    return Table(("task", "t", "R_s2e", "R_others", *precisions), rows)


def draw(content: CONTENT) -> Figure:
    """Draw R(t) above and label precision below, three tasks side by side."""
    from matplotlib.figure import Figure

    tasks = list(content["tasks"].items())
    columns = min(3, len(tasks))
    blocks = -(-len(tasks) // columns)
    figure = Figure(figsize=(3.9 * columns + 0.4, 5.8 * blocks), layout="constrained")
    panels = figure.subplots(2 * blocks, columns, squeeze=False, sharex=True)
    handles: dict[str, Any] = {}
    # MentorNet's curve lies on Co-teaching's: dashes over a line show both.
    looks = LINES | {"mentornet": (LINES["mentornet"][0], (0, (4, 3)))}
    for i, (name, task) in enumerate(tasks):
        upper = panels[2 * (i // columns), i % columns]
        lower = panels[2 * (i // columns) + 1, i % columns]
        if task["others"]:
            colour, _ = LINES["coteaching"]
            label = "R(t) of MentorNet, Co-teaching, Co-teaching+"
            (handles[label],) = upper.plot(task["others"], color=colour, linestyle=(0, (5, 2)))
        if task["s2e"]:
            (handles["S2E"],) = upper.plot(task["s2e"], color=LINES["s2e"][0], linewidth=2.4)
        clean = 1 - task["noise_rate"]
        handles["share of clean labels"] = upper.axhline(clean, color="0.5", linewidth=1.0, ls=":")
        lower.axhline(100 * clean, color="0.5", linewidth=1.0, linestyle=":")
        for key in ("coteaching", "mentornet", "coteaching_plus", "s2e"):
            if task["curves"][key]:
                width = 2.4 if key == "s2e" else 1.4
                drawn = draw_band(lower, task["curves"][key], LABELS[key], looks[key], width, 0)
                handles.setdefault(LABELS[key], drawn)
        upper.set(title=task_title(name), ylim=(0, 1.03))
        lower.set(xlabel="epoch", ylim=(None, 101), xlim=(0, None))
        for ax in (upper, lower):
            tidy(ax)
        if i % columns == 0:
            upper.set_ylabel("kept share $R(t)$")
            lower.set_ylabel("label precision, %")
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False
    )
    return figure


STUDY = Study(
    name="figure4",
    title="Figures 4, 5 and 9: the R(t) found, and label precision",
    about="""
The paper compares the R(t) that S2E finds with the one that MentorNet, Co-teaching and
Co-teaching+ share (Figure 4), and the share of clean labels among the samples that each of them
keeps, its label precision (Figures 5 and 9). It finds that R(t) depends on the data and is smaller
where there is more noise, that S2E drops more than the noise rate, and that its label precision is
the highest.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data=data_sets(COMPARED),
)

if __name__ == "__main__":
    main(STUDY)
