"""What a stored study holds: its best trials, the best R(t), theta by generation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from s2e_optuna.errors import InputError
from s2e_optuna.metrics import error_words
from s2e_optuna.objective.searched import SEARCHABLE, values_of
from s2e_optuna.reporting.plots import (
    best_so_far_figure,
    distribution_figure,
    save_figure,
    schedule_figure,
)
from s2e_optuna.reporting.progress import ENDED
from s2e_optuna.reporting.series import spread
from s2e_optuna.reporting.terminal import (
    duration,
    generations_table,
    number,
    print_schedules,
    trials_table,
)
from s2e_optuna.reporting.verdict import values_words
from s2e_optuna.reporting.view import (
    StudyView,
    ended_values,
    finite_value,
    generation_bands,
    generation_rows,
    reference_schedule,
    scored_schedules,
    space_name,
    trial_row,
)
from s2e_optuna.sampler.values import violation
from s2e_optuna.schedules import Schedule, trial_schedule
from s2e_optuna.scores import number_or_none
from s2e_optuna.search.progress import INTERRUPTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


MOST_GENERATIONS = 20
"""Lines of the table of generations; of more, some are shown, from the first to the newest."""

_SHORT = {
    error_words("accuracy"): "val.\nerror",
    error_words("balanced_accuracy"): "1 - bal.\naccuracy",
    error_words("macro_f1"): "1 - macro\nF1",
}
"""Headings of the values in the table of trials."""


def print_studies(target: Console, storage: BaseStorage) -> None:
    """Print the list of studies in a storage."""
    import optuna

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("study", "trials", "best value", "started"):
        table.add_column(column, justify="left" if column == "study" else "right", overflow="fold")
    for summary in optuna.get_all_study_summaries(storage):
        best = getattr(summary, "best_trial", None)
        started = summary.datetime_start
        table.add_row(
            Text(summary.study_name),
            str(summary.n_trials),
            "" if best is None else number(finite_value(best)),
            "" if started is None else f"{started:%Y-%m-%d %H:%M}",
        )
    target.print(table)


def print_study(
    target: Console, view: StudyView, *, trial_number: int | None = None, top: int = 10
) -> None:
    """Print a study: its best trials, R(t), theta by generation.

    Parameters
    ----------
    target
        Where to.
    view
        The study.
    trial_number
        Show this trial in place of the recommended one.
    top
        The most trials in the table.
    """
    chosen = view.chosen(trial_number)
    states = [f"{count} {ENDED.get(name, name)}" for name, count in view.counts.items()]
    counts = ", ".join(states) or "none"
    target.print(Text.assemble(("Study ", "bold"), (view.study.study_name, "bold")))
    target.print(f"Trials: {counts}.  Direction: {view.study.direction.name.lower()}.")
    target.print()
    if chosen is None:
        target.print(_why_none(view.counts))
        return
    if trial_number is None:
        title = f"Best {min(top, len(view.ranked))} of {len(view.ranked)} finished trials"
        target.print(
            trials_table(
                [trial_row(trial) for trial in view.ranked[:top]],
                target,
                value_label=_SHORT.get(view.value_label, view.value_label),
                title=title,
            )
        )
        target.print()
        beside = values_words(values_of(chosen.params, SEARCHABLE))
        target.print(
            f"Recommended: trial {chosen.number}, by a model of all trials"
            + (f"; beside its schedule {beside}." if beside else ".")
        )
    else:
        _print_trial(target, chosen)
    schedules = _curves(view, chosen)
    if schedules:
        target.print()
        print_schedules(target, schedules)
    elif trial_number is None:
        target.print("The trials hold no schedule: this study was not made by a schedule search.")
    if view.generations and trial_number is None:
        target.print()
        rows = generation_rows(view.generations)
        shown = spread(rows, MOST_GENERATIONS)
        title = "Generations of theta"
        if len(shown) < len(rows):
            title += f", {len(shown)} of {len(rows):,} (all of them: --json)"
        target.print(generations_table(shown, target, title=title))


def _why_none(counts: Mapping[str, int]) -> str:
    """Say why no trial can be recommended."""
    if counts.get("complete"):
        return (
            "No complete trial has a finite value: nothing can be recommended. Single trials are "
            "shown with --trial."
        )
    if not counts:
        return (
            "There are no trials yet. If this is a copy of an SQLite file in use, they may be in "
            "its write-ahead log, FILE-wal: copy it with sqlite3 FILE '.backup COPY'."
        )
    if set(counts) <= {"running", "waiting"}:
        return "No trial has finished yet."
    return "No trial has a value yet: those that ended failed, were pruned or interrupted."


def study_dict(
    view: StudyView, *, storage: str, trial_number: int | None = None, top: int = 10
) -> dict[str, Any]:
    """Return what `print_study` shows, for programs.

    Parameters
    ----------
    view
        The study.
    storage
        URL of its storage, without a password.
    trial_number
        Show this trial in place of the recommended one.
    top
        The most trials in the list.
    """
    chosen = view.chosen(trial_number)
    return {
        "study": view.study.study_name,
        "storage": storage,
        "direction": view.study.direction.name.lower(),
        "n_trials": len(view.trials),
        "states": dict(Counter(trial.state.name.lower() for trial in view.trials)),
        "interrupted": view.counts.get(INTERRUPTED, 0),
        "best_value": finite_value(view.ranked[0]) if view.ranked else None,
        "trial": None if chosen is None else _trial_dict(chosen),
        "top": [
            {"number": trial.number, "value": finite_value(trial), "violation": violation(trial)}
            for trial in view.ranked[:top]
        ],
        "generations": [
            {
                "m": row.m,
                "trial": row.trial_number,
                "batch": list(generation.batch),
                "entropy": row.entropy,
                "kl": row.kl,
                "mean_alpha": list(row.mean_alpha),
                "theta": [float(value) for value in generation.theta],
            }
            for row, generation in zip(
                generation_rows(view.generations), view.generations, strict=True
            )
        ],
    }


def save_study_pictures(
    view: StudyView, path: Path, *, trial_number: int | None = None
) -> list[Path]:
    """Write R(t) to ``path`` and, beside it, best-so-far and the distribution by generation.

    Parameters
    ----------
    view
        The study.
    path
        A file that ends in .png, .svg or .pdf.
    trial_number
        Draw this trial's R(t) in place of the recommended one's.

    Raises
    ------
    InputError
        If no finished trial holds a schedule.
    """
    chosen = view.chosen(trial_number)
    schedule = None if chosen is None else trial_schedule(chosen)
    if schedule is None:
        raise InputError(
            f"there is no schedule to draw: no such finished trial in {view.study.study_name!r}."
        )
    figures: dict[str, Figure] = {"": _schedule_picture(view, schedule)}
    if len(view.ranked) > 1:
        figures["-progress"] = progress_figure(view)
    bands = generation_bands(view.generations, space_name(view), schedule.epochs)
    if bands:
        figures["-generations"] = distribution_figure(
            bands, best=schedule, title=view.study.study_name
        )
    return [
        save_figure(figure, path.with_name(f"{path.stem}{ending}{path.suffix}"))
        for ending, figure in figures.items()
    ]


def progress_figure(view: StudyView) -> Figure:
    """Draw the best value so far against finished trials, in the order in which they ended."""
    values, left = ended_values(view)
    return best_so_far_figure(
        {view.study.study_name: values},
        left=left,
        maximise=view.maximise,
        y_label=view.value_label,
        title=view.study.study_name,
    )


def _schedule_picture(view: StudyView, schedule: Schedule) -> Figure:
    coteaching, rate = reference_schedule(view, schedule.epochs)
    return schedule_figure(
        schedule,
        coteaching=coteaching,
        noise_rate=rate,
        trials=scored_schedules(view.feasible[:30], schedule.epochs),
        maximise=view.maximise,
        value_label=view.value_label,
        title=view.study.study_name,
    )


def _print_trial(target: Console, trial: FrozenTrial) -> None:
    took = f", {duration(trial.duration.total_seconds())}" if trial.duration else ""
    target.print(Text(f"Trial {trial.number} ({trial.state.name.lower()}{took})", "bold"))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("value", "" if trial.value is None else number(trial.value))
    for name, value in _constraints(trial).items():
        kept = "kept" if value <= 0.0 else "violated"
        table.add_row(Text(f"constraint {name}"), f"{number(value)} ({kept})")
    for name, value in trial.params.items():
        table.add_row(name, Text(number(value) if isinstance(value, float) else str(value)))
    for name, value in trial.user_attrs.items():
        if isinstance(value, int | float | str):
            table.add_row(name, Text(number(value) if isinstance(value, float) else str(value)))
    target.print(table)


def _constraints(trial: FrozenTrial) -> dict[str, float]:
    """Return what `optuna.Trial.set_constraint` has stored; not what other programs call so."""
    try:
        stored = trial.constraints
    except TypeError:
        return {}
    return {name: float(value) for name, value in stored.items() if isinstance(value, int | float)}


def _trial_dict(trial: FrozenTrial) -> dict[str, Any]:
    schedule = trial_schedule(trial)
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": finite_value(trial),
        "constraints": {k: number_or_none(v) for k, v in _constraints(trial).items()},
        "params": trial.params,
        "schedule": None if schedule is None else [float(rate) for rate in schedule.rates],
    }


def _curves(view: StudyView, chosen: FrozenTrial) -> list[Schedule]:
    """Return what the text plot shows: a trial, Co-teaching, and the recommended if another."""
    schedule = trial_schedule(chosen)
    if schedule is None:
        return []
    curves = [schedule]
    coteaching, _ = reference_schedule(view, schedule.epochs)
    if coteaching is not None:
        curves.append(coteaching)
    other = view.recommended
    if other is not None and other.number != chosen.number:
        recommended = trial_schedule(other)
        if recommended is not None:
            name = f"{recommended.name} (recommended)"
            curves.append(Schedule(recommended.rates, name=name))
    return curves
