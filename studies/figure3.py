"""Figure 3: test accuracy by epoch, S2E against the seven methods.

    python -m studies.figure3 --scale small --data data/mnist27k.npz --workers 2
    python -m studies.figure3 --scale paper --storage postgresql://…

The trainings are those of `studies.method_comparison`, which has more methods and more numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from studies.comparison_runs import (
    DATA,
    comparison_provenance,
    comparison_runs,
    counted,
    curves,
    last,
    missing_line,
    schedule_lines,
    settings_lines,
    task_title,
)
from studies.frame import Frame, Study, main
from studies.pages import LABELS, LINES, Table, draw_band, long_table, tidy, usable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENTRIES = (
    "standard",
    "decoupling",
    "f_correction",
    "mentornet",
    "coteaching",
    "coteaching_plus",
    "reweight",
    "s2e",
)
"""The paper's seven methods, and S2E."""

SCALES = {"tiny": 2, "small": 3, "paper": 5}
"""Seeds; all else is the scale of `studies.method_comparison`."""

PAPER = {
    "mnist-sym20": 97.87,
    "mnist-sym50": 96.90,
    "mnist-pair45": 95.47,
    "cifar10-sym20": 58.73,
    "cifar10-sym50": 50.82,
    "cifar10-pair45": 47.58,
    "cifar100-sym20": 45.32,
    "cifar100-sym50": 38.74,
    "cifar100-pair45": 32.44,
}
"""The paper's Table 3, S2E: the figure itself has no numbers."""

Accuracies = dict[str, list[float]]


def compute(frame: Frame) -> dict[str, Any]:
    """Take the trainings, doing what is missing."""
    seeds = SCALES[frame.scale]
    runs = comparison_runs(frame, ENTRIES, seeds)
    return {
        "seeds": seeds,
        "tasks": {
            task: {"curves": {key: curves(table[key], "test_accuracy") for key in ENTRIES}}
            for task, table in runs.items()
        },
        "provenance": comparison_provenance(runs),
    }


def accuracies(task: dict[str, Any]) -> Accuracies:
    """Mean of the last ten epochs of every seed."""
    return {key: [last(curve) for curve in task["curves"][key]] for key in ENTRIES}


def verdict(found: Accuracies) -> str:
    """Say whether S2E is the best, as in the paper, and by how much."""
    means = {key: float(np.mean(values)) for key, values in found.items() if values}
    if "s2e" not in means or len(means) < 2:
        return "nothing to compare"
    rival = max((key for key in means if key != "s2e"), key=lambda key: means[key])
    margin = means["s2e"] - means[rival]
    error = math.hypot(*(_error(found[key]) for key in ("s2e", rival)))
    words = f"{100 * margin:+.2f} against {LABELS[rival]}"
    if abs(margin) < 2.0 * error:
        return f"undecided: {words}, within two standard errors"
    return f"{'yes' if margin > 0 else 'no'}: {words}"


def _error(values: list[float]) -> float:
    numbers = np.array(usable(values))
    return float(numbers.std(ddof=1) / math.sqrt(len(numbers))) if len(numbers) > 1 else 0.0


def unrest(task: dict[str, Any], key: str) -> float:
    """Return the spread over the last ten epochs, mean over seeds; NaN without a training."""
    tails = [usable(curve[-10:]) for curve in task["curves"][key]]
    return float(np.mean([np.std(tail) for tail in tails])) if tails else math.nan


def section(content: dict[str, Any]) -> list[str]:
    """Write both tables: accuracy and steadiness."""
    first, second = [], []
    for name, task in content["tasks"].items():
        found = accuracies(task)
        paper = f"{PAPER[name]:.2f}" if name in PAPER else "–"
        cells = [counted(found[key], content["seeds"]) for key in ENTRIES]
        first.append([task_title(name), *cells, paper, verdict(found)])
        moves = {key: unrest(task, key) for key in ENTRIES}
        there = [key for key in ENTRIES if math.isfinite(moves[key])]
        calmest = min(there, key=lambda key: moves[key], default="s2e")
        shown = [f"{100 * move:.2f}" if math.isfinite(move) else "–" for move in moves.values()]
        steadiest = "yes" if calmest == "s2e" else f"no: {LABELS[calmest]}"
        second.append([task_title(name), *shown, steadiest if "s2e" in there else "–"])
    methods = [LABELS[key] for key in ENTRIES]
    return [
        *settings_lines(content["scale"], content["seeds"]),
        "Test accuracy in %, mean of the last ten epochs ± standard deviation over seeds. The "
        "paper's number is that of its Table 3: best epoch on the test data, whole data sets, 200 "
        "epochs.",
        "",
        *Table(
            ("task", *methods, "S2E, paper", "S2E is the best, as in the paper?"), first
        ).markdown(),
        "",
        "Standard deviation of the test accuracy over the last ten epochs, in %:",
        "",
        *Table(("task", *methods, "S2E is the steadiest, as in the paper?"), second).markdown(),
        "",
        *missing_line(content, content["seeds"]),
        *schedule_lines(content),
        "MentorNet, Co-teaching and Co-teaching+ are told the true noise rate; Reweight learns "
        "from clean samples; S2E chooses R(t) with clean validation samples and is not told the "
        "rate. "
        "F-correction trains twice as long: its first training estimates the transitions.",
    ]


def table(content: dict[str, Any]) -> Table:
    """One line a task and method."""
    ours = {name: accuracies(task) for name, task in content["tasks"].items()}
    return long_table(ours, {name: {"s2e": number} for name, number in PAPER.items()})


def draw(content: dict[str, Any]) -> Figure:
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
        for key in ENTRIES:
            if task["curves"][key]:
                width = 2.4 if key == "s2e" else 1.4
                drawn = draw_band(ax, task["curves"][key], LABELS[key], LINES[key], width)
                handles[LABELS[key]] = drawn
                longest = max(longest, len(task["curves"][key][0]))
        ax.set(title=task_title(name), xlabel="epochs of training", xlim=(1, longest))
        tidy(ax)
    for row in range(rows):
        panels[row * columns].set_ylabel("test accuracy, %")
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    return figure


STUDY = Study(
    name="figure3",
    title="Figure 3: test accuracy by epoch",
    about="""
The paper finds that S2E reaches a clearly higher test accuracy than the other seven methods on
MNIST, CIFAR-10 and CIFAR-100 with three kinds of label noise, and that its accuracy moves least.
Lines are means over seeds, bands one standard deviation. Nothing was chosen by test accuracy. More
methods and more numbers about the same trainings are in
[the comparison of the methods](../method_comparison/README.md).""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data=DATA,
)

if __name__ == "__main__":
    main(STUDY)
