"""Tables and short texts for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from s2e_optuna.metrics import METRIC_WORDS
from s2e_optuna.reporting.textplot import Curve, sparkline, text_plot
from s2e_optuna.schedules import Schedule
from s2e_optuna.scores import MethodScore


@dataclass(frozen=True)
class TrialRow:
    """One trial in a table; None where a number is not known."""

    number: int
    value: float | None
    state: str = "COMPLETE"
    label_precision: float | None = None
    test_accuracy: float | None = None
    seconds: float | None = None
    schedule: Schedule | None = None


@dataclass(frozen=True)
class GenerationRow:
    """One generation of S2E: theta, and how it came about.

    Parameters
    ----------
    m
        Number of the generation, from 1.
    trial_number
        The trial that committed it; None for the first, which nobody commits.
    batch
        Number of trials whose values it was computed from.
    entropy
        Entropy of p_theta, in nats.
    kl
        Kullback-Leibler divergence from the former generation, in nats; None for the first.
    mean_alpha
        Expected weight of each basis function; empty in spaces without weights.
    """

    m: int
    trial_number: int | None
    batch: int
    entropy: float
    kl: float | None
    mean_alpha: tuple[float, ...] = ()


@dataclass(frozen=True)
class ComparisonRow:
    """Accuracies of one method over seeds, as shares in [0, 1]."""

    method: str
    test: tuple[float, ...]
    validation: tuple[float, ...] = ()
    label_precision: tuple[float, ...] = ()
    last_epochs: tuple[float, ...] = ()
    """Test accuracy without stopping; empty where that is what `test` is."""
    expected: tuple[float, ...] = ()
    """On the validation part, by samples that have not chosen the epoch: shown in its place."""
    ours: bool = False
    test_metric: tuple[float, ...] = ()
    validation_metric: tuple[float, ...] = ()
    """The metric by which they are compared, where that is another than accuracy."""

    @classmethod
    def of(cls, method: str, score: MethodScore, *, ours: bool = False) -> ComparisonRow:
        """Make the row of a way to train, under these words, of the trainings that completed."""
        return cls(
            method,
            _finite(score.test_accuracy),
            _finite(score.validation_accuracy),
            _finite(score.label_precision),
            last_epochs=_finite(score.last_epochs) if score.stopped_epoch else (),
            expected=_finite(score.expected_validation),
            ours=ours,
            test_metric=_finite(score.test_metric),
            validation_metric=_finite(score.validation_metric),
        )


def console(stream: TextIO | None = None) -> Console:
    """Make a console that writes plain text unless it is a terminal that wants colours."""
    # Words are not coloured for looking like numbers or paths: colour here means something.
    return Console(file=stream or sys.stdout, highlight=False, emoji=False)


def ascii_only(target: Console) -> bool:
    """Whether the output's encoding has neither box lines nor braille."""
    return target.options.ascii_only


def print_schedules(target: Console, schedules: Sequence[Schedule], *, height: int = 13) -> None:
    """Draw schedules in text, the most important one first.

    Parameters
    ----------
    target
        Where to.
    schedules
        One to four.
    height
        Rows of the drawing.
    """
    curves = [Curve.over_epochs(schedule.name, schedule.rates) for schedule in schedules]
    drawing = text_plot(
        curves, width=min(target.width, 80), height=height, ascii_only=ascii_only(target)
    )
    target.print(drawing, soft_wrap=True)


def trials_table(
    rows: Iterable[TrialRow], target: Console, *, value_label: str = "value", title: str = ""
) -> Table:
    """Make the table of trials, each with its R(t) in miniature.

    Parameters
    ----------
    rows
        The trials, in their order.
    target
        Where it is shown.
    value_label
        Heading of the values.
    title
        Title of the table.
    """
    rows = list(rows)
    table = _table(title)
    failed = any(row.state != "COMPLETE" for row in rows)
    width = 10 if failed else 16
    columns: dict[str, Callable[[TrialRow], str]] = {
        "trial": lambda row: str(row.number),
        value_label: lambda row: number(row.value),
        "state": lambda row: row.state.lower() if failed else "",
        "label\nprec.": lambda row: share(row.label_precision),
        "test\nacc.": lambda row: share(row.test_accuracy),
        "seconds": lambda row: "" if row.seconds is None else f"{row.seconds:.1f}",
        "kept\nat end": lambda row: (
            "" if row.schedule is None else share(float(row.schedule.rates[-1]))
        ),
        "R(t)": lambda row: (
            ""
            if row.schedule is None
            else sparkline(row.schedule.rates, width=width, ascii_only=ascii_only(target))
        ),
    }
    cells = {name: [write(row) for row in rows] for name, write in columns.items()}
    used = {name: column for name, column in cells.items() if any(column)}
    for name in used:
        table.add_column(
            name,
            justify="left" if name in {"state", "R(t)"} else "right",
            vertical="bottom",
            overflow="fold",
        )
    for line in zip(*used.values(), strict=True):
        table.add_row(*line)
    return table


def generations_table(
    rows: Iterable[GenerationRow], target: Console, *, title: str = "Generations of theta"
) -> Table:
    """Make the table of theta by generation.

    Parameters
    ----------
    rows
        The generations, in their order.
    target
        Where it is shown.
    title
        Title of the table.
    """
    rows = list(rows)
    table = _table(title)
    for name in ("m", "committed by", "batch", "entropy", "KL"):
        table.add_column(name, justify="right", no_wrap=True)
    alpha = max((len(row.mean_alpha) for row in rows), default=0)
    if alpha:
        table.add_column("mean alpha (f1 f2 f3 f4)" if alpha == 4 else "mean alpha", no_wrap=True)
    for row in rows:
        cells = [
            str(row.m),
            "start" if row.trial_number is None else f"trial {row.trial_number}",
            str(row.batch) if row.trial_number is not None else "",
            f"{row.entropy:.3f}",
            "" if row.kl is None else f"{row.kl:.4f}",
        ]
        if alpha:
            cells.append("  ".join(f"{weight:.2f}" for weight in row.mean_alpha))
        table.add_row(*cells)
    return table


def comparison_table(
    rows: Iterable[ComparisonRow],
    target: Console,
    *,
    title: str = "Final comparison",
    metric: str = "accuracy",
) -> Table:
    """Make the table of methods: mean and standard deviation over as many seeds as it says.

    Parameters
    ----------
    rows
        The methods, in their order.
    target
        Where it is shown.
    title
        Title of the table.
    metric
        What they are compared by; another than accuracy has columns of its own.
    """
    rows = list(rows)
    seeds = max((max(len(row.test), len(row.validation)) for row in rows), default=0)
    title += f", {seeds} {'seed' if seeds == 1 else 'seeds'} each" if title else ""
    plus_minus = "+-" if ascii_only(target) else "±"
    table = _table(title)
    table.add_column("method")
    name = METRIC_WORDS[metric].replace("accuracy", "acc.").replace("balanced", "bal.")
    cells = {
        f"test {name}": [mean_std(row.test_metric, plus_minus) for row in rows],
        f"val. {name}": [
            mean_std(
                (row.expected or row.validation_metric) if row.validation_metric else (),
                plus_minus,
            )
            for row in rows
        ],
        "test accuracy": [mean_std(row.test, plus_minus) for row in rows],
        "last epochs": ["" if row.test_metric else _mean(row.last_epochs) for row in rows],
        "validation": [
            "" if row.validation_metric else mean_std(row.expected or row.validation, plus_minus)
            for row in rows
        ],
        "label prec.": [mean_std(row.label_precision, plus_minus) for row in rows],
    }
    used = {name: column for name, column in cells.items() if any(column)}
    for heading in used:
        table.add_column(heading, justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        table.add_row(
            row.method,
            *(column[i] for column in used.values()),
            style="bold" if row.ours else None,
        )
    return table


def _finite(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(value for value in values if np.isfinite(value))


def _mean(values: Sequence[float]) -> str:
    finite = _finite(values)
    return f"{100 * float(np.mean(finite)):.1f} %" if finite else ""


def mean_std(values: Sequence[float], plus_minus: str = "±") -> str:
    """Write shares as a percentage: mean and, of two or more, standard deviation."""
    finite = _finite(values)
    if not finite:
        return ""
    mean = f"{100 * float(np.mean(finite)):.2f} %"
    if len(finite) < 2:
        return mean
    # ddof = 1: a few seeds are a sample of all seeds.
    return f"{mean[:-2]} {plus_minus} {100 * float(np.std(finite, ddof=1)):.2f} %"


def share(value: float | None) -> str:
    """Write a share in [0, 1] as a percentage; an empty text for None and NaN."""
    return "" if value is None or np.isnan(value) else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """Write a value with four decimals, or digits if they say more; empty for None."""
    if value is None:
        return ""
    return f"{value:.4f}" if value == 0 or 1e-2 <= abs(value) < 1e3 else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Write a time span as people say it: 42 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None or not np.isfinite(seconds):
        return "?"
    whole = round(max(seconds, 0.0))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _table(title: str) -> Table:
    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        header_style="bold",
    )
