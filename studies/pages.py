"""What a study writes: tables beside the paper's numbers, pictures, where numbers come from."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from studies.searches import Found
    from studies.trainings import Run

Numbers = Mapping[str, Mapping[str, Sequence[float]]]
"""Row to column to one number a seed."""

# Okabe and Ito's colours, which the colour-blind can tell apart; dashes tell the rest.
LINES: dict[str, tuple[str, Any]] = {
    "standard": ("#000000", "-"),
    "decoupling": ("#56B4E9", "-"),
    "f_correction": ("#009E73", "-"),
    "f_correction_early": ("#009E73", (0, (1, 1.4))),
    "mentornet": ("#E69F00", "-"),
    "coteaching": ("#0072B2", "-"),
    "coteaching_plus": ("#CC79A7", "-"),
    "coteaching_plus_released": ("#CC79A7", (0, (1, 1.4))),
    "reweight": ("#009E73", (0, (5, 2))),
    "comining": ("#0072B2", (0, (5, 2))),
    "s2e": ("#D55E00", "-"),
}
"""Colour and dashes of each method, the same in all pictures."""

LABELS = {
    "standard": "Standard",
    "decoupling": "Decoupling",
    "f_correction": "F-correction",
    "mentornet": "MentorNet",
    "coteaching": "Co-teaching",
    "coteaching_plus": "Co-teaching+",
    "reweight": "Reweight",
    "comining": "Co-mining",
    "s2e": "S2E",
}
"""How the paper writes its methods."""


@dataclass(frozen=True)
class Table:
    """A table of text or numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def markdown(self) -> list[str]:
        """Write it as lines of Markdown."""
        lines = [f"| {' | '.join(self.header)} |", "|---" * len(self.header) + "|"]
        return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in self.rows)]

    def csv(self) -> str:
        """Write it as CSV; floats with six digits, nothing for None and NaN."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows([_plain(cell) for cell in row] for row in self.rows)
        return text.getvalue()


def _plain(cell: Any) -> Any:
    if not isinstance(cell, float):
        return "" if cell is None else cell
    return f"{cell:.6g}" if math.isfinite(cell) else ""


def usable(values: Iterable[float | None]) -> list[float]:
    """Return the numbers among values that may be None or NaN."""
    return [float(value) for value in values if value is not None and math.isfinite(value)]


def mean_sd(values: Iterable[float | None], scale: float = 100.0) -> str:
    """Write mean ± sample standard deviation, in % by default; "none" without a number."""
    numbers = scale * np.array(usable(values))
    if not len(numbers):
        return "none"
    spread = f" ± {numbers.std(ddof=1):.2f}" if len(numbers) > 1 else ""
    return f"{numbers.mean():.2f}{spread}"


def agreement(ours: Mapping[str, Sequence[float]], paper: Mapping[str, float]) -> str:
    """Say whether our numbers come in the paper's order.

    Each pair of columns that both have is compared by the sign of the difference. Pairs whose
    means are closer than two standard errors of their difference count as undecided.

    Parameters
    ----------
    ours
        Column to one number a seed; higher is better.
    paper
        Column to the paper's number.
    """
    numbers = {key: np.array(usable(ours.get(key, ()))) for key in paper}
    shared = [key for key in paper if len(numbers[key])]
    if len(shared) < 2:
        return "nothing to compare"
    best = max(shared, key=lambda key: paper[key])
    ours_best = max(shared, key=lambda key: numbers[key].mean())
    same = opposite = undecided = 0
    for first, second in combinations(shared, 2):
        sign = np.sign(paper[first] - paper[second])
        difference = numbers[first].mean() - numbers[second].mean()
        if sign == 0.0:
            continue
        error = math.hypot(*(standard_error(numbers[key]) for key in (first, second)))
        if abs(difference) < 2.0 * error:
            undecided += 1
        elif np.sign(difference) == sign:
            same += 1
        else:
            opposite += 1
    pairs = f"{same} pairs in the same order, {opposite} in the opposite, {undecided} undecided"
    return f"{'same best' if best == ours_best else f'other best ({ours_best})'}; {pairs}"


def standard_error(values: Iterable[float | None]) -> float:
    """Return the standard error of a mean; infinite where one number says nothing about it."""
    numbers = np.array(usable(values))
    return float(numbers.std(ddof=1) / math.sqrt(len(numbers))) if len(numbers) > 1 else math.inf


def beside_paper(
    ours: Numbers,
    paper: Mapping[str, Mapping[str, float]],
    columns: Mapping[str, str],
    corner: str = "",
) -> Table:
    """Set our means beside the paper's numbers, in brackets, with a column on their agreement.

    Parameters
    ----------
    ours
        Row to column to shares in [0, 1], one a seed.
    paper
        Row to column to the paper's number in %; rows and columns may be missing.
    columns
        Columns in order, and how they are headed.
    corner
        Heading of the rows.
    """
    rows = []
    for name, cells in ours.items():
        theirs = paper.get(name, {})
        row = [name]
        for column in columns:
            known = f" ({theirs[column]:.2f})" if column in theirs else ""
            row.append(mean_sd(cells.get(column, ())) + known)
        rows.append([*row, agreement(cells, theirs)])
    return Table((corner, *columns.values(), "agrees with the paper?"), rows)


def long_table(
    ours: Numbers,
    paper: Mapping[str, Mapping[str, float]],
    names: tuple[str, str] = ("setting", "method"),
) -> Table:
    """Return one line for each row and column of `beside_paper`, for CSV; all in %."""
    rows = []
    for name, cells in ours.items():
        for column, values in cells.items():
            numbers = 100.0 * np.array(usable(values))
            mean = float(numbers.mean()) if len(numbers) else None
            spread = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
            rows.append(
                [name, column, mean, spread, len(numbers), paper.get(name, {}).get(column)]
            )
    return Table((*names, "mean", "sd", "seeds", "paper"), rows)


def provenance(runs: Iterable[Run], found: Iterable[Found] = ()) -> dict[str, Any]:
    """Collect where numbers come from, for ``content["provenance"]``."""
    runs, found = list(runs), list(found)
    return {
        "trainings": len(runs),
        "training_seconds": round(sum(run.seconds for run in runs), 1),
        "seeds": sorted({run.training.seed for run in runs}),
        "failures": sorted({f"{r.training.method}: {r.failure}" for r in runs if r.failure}),
        "trials": sum(len(one.trials) for one in found),
        "trial_seconds": round(sum(one.seconds for one in found), 1),
        "hardware": sorted({one.hardware for one in (*runs, *found)}),
        "commits": sorted({one.commit for one in (*runs, *found)}),
    }


def provenance_lines(content: Mapping[str, Any]) -> list[str]:
    """Write where a scale's numbers come from."""
    known = content.get("provenance", {})
    hardware = sorted({*known.get("hardware", ()), content["hardware"]})
    commits = sorted({*known.get("commits", ()), content["commit"]})
    taken = f" took {content['seconds']:.0f} s" if "seconds" in content else ""
    parts = [f"`{content['command']}`{taken}"]
    if known.get("trainings"):
        parts[0] += ", less what was there already"
        hours = known["training_seconds"] / 3600
        parts.append(f"{known['trainings']} trainings, {hours:.2f} hours of one process")
        parts.append(f"seeds {', '.join(map(str, known['seeds']))}")
    if known.get("trials"):
        hours = known["trial_seconds"] / 3600
        parts.append(f"{known['trials']} trials of searches, {hours:.2f} hours")
    lines = [f"{'; '.join(parts)}. Commits {', '.join(commits)}; {'; '.join(hardware)}."]
    lines += [f"Failed: {failure}." for failure in known.get("failures", ())]
    return lines


def write_text(path: Path, text: str) -> None:
    """Write a file so that one which was broken off leaves nothing of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def save(figure: Figure, stem: Path) -> None:
    """Save a picture as PNG and as SVG, the same bytes for the same picture."""
    import matplotlib

    figure.savefig(stem.with_suffix(".png"), dpi=150, metadata={"Software": None})
    with matplotlib.rc_context({"svg.hashsalt": "s2e", "svg.fonttype": "none"}):
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})


def tidy(ax: Any) -> None:
    """Take away what an axis does not need."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)


def draw_band(
    ax: Any,
    curves: Any,
    label: str,
    line: tuple[str, Any],
    width: float = 1.5,
    first: float = 1,
    step: float = 1,
) -> Any:
    """Draw mean and standard deviation of curves, shape [seeds, epochs] in [0, 1], in %.

    `first` is where the first epoch is drawn, and `step` how far the next one is from it.
    """
    values = 100.0 * np.atleast_2d(np.array(curves, dtype=float))
    measured = np.isfinite(values).any(axis=0)
    epochs = first + step * np.flatnonzero(measured)
    values = values[:, measured]
    mean, spread = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    colour, dashes = line
    if len(values) > 1:
        ax.fill_between(
            epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0
        )
    (drawn,) = ax.plot(epochs, mean, color=colour, linestyle=dashes, linewidth=width, label=label)
    return drawn
