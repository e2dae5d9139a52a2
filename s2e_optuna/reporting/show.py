"""What a stored study holds: its best trials, the best R(t), theta by generation."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from s2e_optuna.reporting.errors import InputError
from s2e_optuna.reporting.plots import (
    Band,
    ScoredSchedule,
    best_so_far_figure,
    distribution_figure,
    save_figure,
    schedule_figure,
)
from s2e_optuna.reporting.terminal import (
    GenerationRow,
    TrialRow,
    duration,
    generations_table,
    number,
    print_schedules,
    trials_table,
)
from s2e_optuna.schedules import Schedule, get_space, trial_schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from s2e_optuna.sampler import Generation

SETTINGS_ATTR = "s2e:search"
"""User attribute of a study in which a search leaves its settings."""

_DRAWS = 400  # curves drawn from p_theta for a band: its edges are good to a few per cent


@dataclass(frozen=True)
class StudyView:
    """What is shown of a study, read once.

    Attributes
    ----------
    study
        The study.
    trials
        All its trials.
    ranked
        Finished trials with a value, best first.
    generations
        Theta by generation; empty for other samplers.
    recommended
        The trial whose parameters to use; None if none has finished.
    """

    study: Study
    trials: tuple[FrozenTrial, ...]
    ranked: tuple[FrozenTrial, ...]
    generations: tuple[Generation, ...]
    recommended: FrozenTrial | None

    @property
    def maximise(self) -> bool:
        """Whether larger values are better."""
        return self.study.direction.name == "MAXIMIZE"

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials in each state, in lower case."""
        return dict(Counter(trial.state.name.lower() for trial in self.trials))

    @property
    def value_label(self) -> str:
        """What the values are: a search of schedules minimises the validation error."""
        searched = any("training_seed" in trial.user_attrs for trial in self.ranked[:1])
        return "validation error" if searched else "value"

    def chosen(self, trial_number: int | None) -> FrozenTrial | None:
        """Return one trial, or the recommended one; None if none has finished yet."""
        if trial_number is None:
            return self.recommended
        if not 0 <= trial_number < len(self.trials):
            raise InputError(
                f"study {self.study.study_name!r} has no trial {trial_number}: "
                f"its trials are 0 to {len(self.trials) - 1}."
                if self.trials
                else f"study {self.study.study_name!r} has no trials yet."
            )
        return self.trials[trial_number]


def study_names(storage: BaseStorage) -> list[str]:
    """Names of the studies in a storage, the newest last."""
    return [study.study_name for study in storage.get_all_studies()]


def read_study(storage: BaseStorage, name: str) -> StudyView:
    """Read a study.

    Raises
    ------
    InputError
        If there is none of this name, or it has several objectives.
    """
    import optuna

    from s2e_optuna.sampler import generations, recommended_trial

    names = study_names(storage)
    if name not in names:
        known = f"there are {', '.join(names)}" if names else "the storage is empty"
        raise InputError(f"there is no study {name!r} in this storage: {known}.")
    study = optuna.load_study(study_name=name, storage=storage)
    if len(study.directions) > 1:
        raise InputError(f"study {name!r} has several objectives: s2e works with one.")
    trials = tuple(study.get_trials(deepcopy=False))
    sign = -1.0 if study.direction.name == "MAXIMIZE" else 1.0
    scored = [(trial, _value(trial)) for trial in trials if trial.state.name == "COMPLETE"]
    ranked = sorted(
        ((trial, value) for trial, value in scored if value is not None),
        key=lambda pair: (sign * pair[1], pair[0].number),
    )
    return StudyView(
        study,
        trials,
        tuple(trial for trial, _ in ranked),
        tuple(generations(study)),
        recommended_trial(study) if ranked else None,
    )


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
            "" if best is None else number(_value(best)),
            "" if started is None else f"{started:%Y-%m-%d %H:%M}",
        )
    target.print(table)


def print_study(
    target: Console, view: StudyView, *, trial_number: int | None = None, top: int = 10
) -> None:
    """Print a study: its best trials, R(t), theta by generation."""
    chosen = view.chosen(trial_number)
    counts = ", ".join(f"{count} {state}" for state, count in view.counts.items()) or "none"
    target.print(Text.assemble(("Study ", "bold"), (view.study.study_name, "bold")))
    target.print(f"Trials: {counts}.  Direction: {view.study.direction.name.lower()}.")
    target.print()
    if chosen is None:
        target.print("No trial has finished yet.")
        return
    if trial_number is None:
        title = f"Best {min(top, len(view.ranked))} of {len(view.ranked)} finished trials"
        target.print(
            trials_table(
                [trial_row(trial) for trial in view.ranked[:top]],
                target,
                value_label="val.\nerror" if view.value_label != "value" else "value",
                title=title,
            )
        )
        target.print()
        target.print(f"Recommended: trial {chosen.number}, by a model of all trials.")
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
        target.print(generations_table(generation_rows(view.generations), target))


def study_dict(
    view: StudyView, *, storage: str, trial_number: int | None = None, top: int = 10
) -> dict[str, Any]:
    """Return what `print_study` shows, for programs."""
    chosen = view.chosen(trial_number)
    return {
        "study": view.study.study_name,
        "storage": storage,
        "direction": view.study.direction.name.lower(),
        "n_trials": len(view.trials),
        "states": view.counts,
        "best_value": _value(view.ranked[0]) if view.ranked else None,
        "trial": None if chosen is None else _trial_dict(chosen),
        "top": [{"number": trial.number, "value": _value(trial)} for trial in view.ranked[:top]],
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
    bands = generation_bands(view.generations, _space_name(view), schedule.epochs)
    if bands:
        figures["-generations"] = distribution_figure(
            bands, best=schedule, title=view.study.study_name
        )
    return [
        save_figure(figure, path.with_name(f"{path.stem}{ending}{path.suffix}"))
        for ending, figure in figures.items()
    ]


def trial_row(trial: FrozenTrial) -> TrialRow:
    """Collect what the table of trials shows."""
    attrs = trial.user_attrs
    took = trial.duration
    return TrialRow(
        trial.number,
        _value(trial),
        trial.state.name,
        label_precision=_numeric(attrs.get("label_precision")),
        test_accuracy=_numeric(attrs.get("test_accuracy")),
        seconds=_numeric(attrs.get("seconds", took.total_seconds() if took else None)),
        schedule=trial_schedule(trial),
    )


def generation_rows(generations: tuple[Generation, ...]) -> list[GenerationRow]:
    """Collect what the table of generations shows."""
    rows = []
    former = None
    for generation in generations:
        kl = None
        if former is not None:
            kl = float(generation.family.kl(generation.theta, former.theta))
        rows.append(
            GenerationRow(
                generation.m,
                generation.trial_number,
                len(generation.batch),
                float(generation.entropy()),
                kl,
                _mean_alpha(generation),
            )
        )
        former = generation
    return rows


def generation_bands(
    generations: tuple[Generation, ...], space_name: str | None, epochs: int
) -> list[Band]:
    """Summarise the curves that each generation draws; empty if it draws no schedules."""
    if space_name is None:
        return []
    space = get_space(space_name)
    bands = []
    for generation in generations:
        params = generation.sample_params(_DRAWS, seed=generation.m)
        if any(parameter.name not in params[0] for parameter in space.parameters):
            return []
        x = np.stack([space.encode(draw) for draw in params])
        bands.append(Band.of_rates(f"generation {generation.m}", space.rates(x, epochs)))
    return bands


def progress_figure(view: StudyView) -> Figure:
    """Draw the best value so far against finished trials, in the order in which they ended."""
    finished = sorted(
        view.ranked,
        key=lambda trial: (trial.datetime_complete or datetime.max, trial.number),
    )
    values = np.array([trial.value for trial in finished], dtype=np.float64)
    return best_so_far_figure(
        {view.study.study_name: values},
        maximise=view.maximise,
        y_label=view.value_label,
        title=view.study.study_name,
    )


def scored_schedules(view: StudyView, epochs: int, top: int = 30) -> list[ScoredSchedule]:
    """Return the schedules of the best trials with their values."""
    found = []
    for trial in view.ranked[:top]:
        schedule, value = trial_schedule(trial), _value(trial)
        if schedule is not None and value is not None and schedule.epochs == epochs:
            found.append(ScoredSchedule(schedule, value))
    return found


def _schedule_picture(view: StudyView, schedule: Schedule) -> Figure:
    coteaching, rate = _reference(view, schedule.epochs)
    return schedule_figure(
        schedule,
        coteaching=coteaching,
        noise_rate=rate,
        trials=scored_schedules(view, schedule.epochs),
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
    table.add_row("value", number(_value(trial)))
    for name, value in trial.params.items():
        table.add_row(name, Text(number(value) if isinstance(value, float) else str(value)))
    for name, value in trial.user_attrs.items():
        if isinstance(value, int | float | str):
            table.add_row(name, Text(number(value) if isinstance(value, float) else str(value)))
    target.print(table)


def _trial_dict(trial: FrozenTrial) -> dict[str, Any]:
    schedule = trial_schedule(trial)
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": _value(trial),
        "params": trial.params,
        "schedule": None if schedule is None else [float(rate) for rate in schedule.rates],
    }


def _curves(view: StudyView, chosen: FrozenTrial) -> list[Schedule]:
    """Return what the text plot shows: a trial, Co-teaching, and the recommended if another."""
    schedule = trial_schedule(chosen)
    if schedule is None:
        return []
    curves = [schedule]
    coteaching, _ = _reference(view, schedule.epochs)
    if coteaching is not None:
        curves.append(coteaching)
    other = view.recommended
    if other is not None and other.number != chosen.number:
        recommended = trial_schedule(other)
        if recommended is not None:
            name = f"{recommended.name} (recommended)"
            curves.append(Schedule(recommended.rates, name=name))
    return curves


def _reference(view: StudyView, epochs: int) -> tuple[Schedule | None, float | None]:
    """Return Co-teaching's schedule with the noise rate, and that rate, if it is known."""
    settings = view.study.user_attrs.get(SETTINGS_ATTR)
    rate = _numeric(settings.get("noise_rate")) if isinstance(settings, dict) else None
    if rate is None or not 0.0 <= rate < 1.0:
        return None, None
    return Schedule.coteaching(epochs, rate), rate


def _space_name(view: StudyView) -> str | None:
    for trial in view.ranked:
        attr = trial.user_attrs.get("schedule")
        if isinstance(attr, dict) and "space" in attr:
            return str(attr["space"])
    return None


def _mean_alpha(generation: Generation) -> tuple[float, ...]:
    groups = list(generation.codec.groups)
    if "alpha" not in groups:
        return ()
    where = generation.family.theta_slices[groups.index("alpha")]
    theta = generation.theta[where]
    return tuple(float(weight) for weight in theta / theta.sum())


def _value(trial: FrozenTrial) -> float | None:
    value = trial.values[0] if trial.values else None
    return value if value is not None and math.isfinite(value) else None


def _numeric(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
