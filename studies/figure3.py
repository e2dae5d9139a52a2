"""Figure 3: test accuracy by epoch, S2E against the seven methods.

    python -m studies.figure3 --scale small --data data/mnist27k.npz --workers 2
    python -m studies.figure3 --scale paper --storage postgresql://…

The trainings are those of `studies.method_comparison`, which has more methods and more numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from studies.frame import Study, main
from studies.method_comparison import SCALES as COMPARED
from studies.method_comparison import (
    compared,
    counted,
    draw_curves,
    introduction,
    last,
    task_title,
)
from studies.pages import LABELS, Table, long_table, standard_error, usable
from studies.settings import Frame, data_sets
from studies.trainings import curves

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
    found = compared(frame, ENTRIES, SCALES[frame.scale])
    tasks = {
        task: {"curves": {key: curves(runs, "test_accuracy") for key, runs in table.items()}}
        for task, table in found.runs.items()
    }
    return {"tasks": tasks, **found.content()}


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
    error = math.hypot(*(standard_error(found[key]) for key in ("s2e", rival)))
    words = f"{100 * margin:+.2f} against {LABELS[rival]}"
    if abs(margin) < 2.0 * error:
        return f"undecided: {words}, within two standard errors"
    return f"{'yes' if margin > 0 else 'no'}: {words}"


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
        *introduction(content),
        "",
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
    """Draw the learning curves."""
    return draw_curves(content, {key: LABELS[key] for key in ENTRIES})


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
    data=data_sets(COMPARED),
)

if __name__ == "__main__":
    main(STUDY)
