"""What optuna-dashboard shows of a study besides its own pages: a note and four pictures.

Each picture is some dozens of rows of the database, so `s2e_optuna.web.refresher` draws rarely.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from s2e_optuna.reporting.view import (
    StudyView,
    ended_values,
    generation_bands,
    generation_rows,
    read_study,
    reference_schedule,
    scored_schedules,
    space_name,
)
from s2e_optuna.schedules import trial_schedule
from s2e_optuna.stored_names import CONFIG_ATTR

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from optuna.storages import BaseStorage

PUBLISHED_ATTR = "s2e:published"
"""System attribute of a study: the number of finished trials that its pictures show."""

_SETTINGS = {
    "network": "network `{}`",
    "epochs": "{} epochs a trial",
    "space": "search space `{}`",
    "sampler": "sampler `{}`",
}


def study_plots(view: StudyView) -> dict[str, go.Figure]:
    """Make the pictures of a study; those that need something it lacks are left out.

    Returns
    -------
    dict
        Name, as the dashboard's address bar takes it, to figure: ``best-so-far``,
        ``schedules``, ``distribution``, ``entropy``.
    """
    from s2e_optuna.reporting import interactive as draw

    plots: dict[str, go.Figure] = {}
    if not view.ranked:
        return plots
    chosen = None if view.recommended is None else trial_schedule(view.recommended)
    if chosen is not None:
        coteaching, _ = reference_schedule(view, chosen.epochs)
        plots["schedules"] = draw.schedules_plot(
            scored_schedules(view.feasible, chosen.epochs, count=60),
            total=len(view.feasible),
            recommended=chosen,
            coteaching=coteaching,
            maximise=view.maximise,
            value_label=view.value_label,
        )
        bands = generation_bands(view.generations, space_name(view), chosen.epochs, count=12)
        if bands:
            plots["distribution"] = draw.distribution_plot(bands, best=chosen)
    if view.generations:
        plots["entropy"] = draw.entropy_plot(generation_rows(view.generations))
    values, left = ended_values(view)
    plots["best-so-far"] = draw.best_so_far_plot(
        values, left=left, maximise=view.maximise, value_label=view.value_label
    )
    return plots


def study_note(view: StudyView) -> str:
    """Say in Markdown what the study is and how to read it."""
    settings = view.study.user_attrs.get(CONFIG_ATTR)
    parts = ["## What this study is", ""]
    if isinstance(settings, Mapping) and "data" in settings:
        parts += [_searched(settings), ""]
    parts += [
        "Each trial is one schedule **R(t)**: in epoch *t* of its training, every mini-batch "
        "keeps only the R(t) share of samples with the smallest loss. Networks learn the easy "
        "patterns first and memorise wrong labels later, so the right R(t) starts at 1 and falls.",
        "",
        "## How to read it",
        "",
        f"- The **value** is the {view.value_label}; "
        f"{'larger' if view.maximise else 'smaller'} is better.",
    ]
    if len(view.feasible) < len(view.ranked):
        parts += [
            f"- {len(view.ranked) - len(view.feasible)} of {len(view.ranked)} finished trials "
            "violate a constraint (grey in the plots of the dashboard): they count as the worst, "
            "and the pictures leave them out.",
        ]
    if view.value_label != "value":
        parts += [
            "- `label_precision` is the share of clean samples among those kept in the last "
            "epochs (only where the truth is known), `kept_share` their share of all samples; "
            "`test_accuracy` is written down and never used to choose anything.",
        ]
    parts += [
        "- **Trial pages** have a picture of R(t) and a table of all curves under *Artifacts*, "
        f"and the {view.value_label} by epoch.",
        "- The **first page** has the schedules coloured by their value (dark is good), the "
        "distribution that S2E draws schedules from, generation by generation, its entropy, and "
        "the best value so far.",
    ]
    if view.recommended is not None:
        parts += [
            "- The **recommended** schedule is that of trial "
            f"{view.recommended.number}: the best by a model of all {len(view.ranked)} finished "
            "trials, because the lowest of many noisy values is a lucky one.",
        ]
    return "\n".join(parts) + "\n"


def publish(view: StudyView) -> None:
    """Write note and pictures into the study; a note that a person has edited is kept."""
    from optuna.exceptions import ExperimentalWarning
    from optuna_dashboard import get_note, save_note, save_plotly_graph_object

    study = view.study
    if view.value_label != "value" and study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([view.value_label])
    note, old = study_note(view), get_note(study)
    if old != note and (not old or old.startswith("## What this study is")):
        save_note(study, note)
    for name, figure in study_plots(view).items():
        save_plotly_graph_object(study, figure, graph_object_id=name)
    study._storage.set_study_system_attr(study._study_id, PUBLISHED_ATTR, len(view.ranked))


def publish_all(storage: BaseStorage) -> None:
    """Publish the studies whose pictures are older than their trials and that nobody runs.

    A search refreshes its study by itself; this is for those that other programs made.
    """
    for summary in storage.get_all_studies():
        if len(summary.directions) > 1:
            continue
        trials = storage.get_all_trials(summary._study_id, deepcopy=False)
        states = [trial.state.name for trial in trials]
        shown = summary.system_attrs.get(PUBLISHED_ATTR, 0)
        has_schedules = any("schedule" in trial.user_attrs for trial in trials)
        if has_schedules and "RUNNING" not in states and states.count("COMPLETE") != shown:
            publish(read_study(storage, summary.study_name))


def _searched(settings: Mapping[str, Any]) -> str:
    noise, rate = settings.get("noise"), settings.get("noise_rate")
    labels = f"{noise} label noise, rate {rate}" if noise else "labels as given"
    known = [
        words.format(settings[name])
        for name, words in _SETTINGS.items()
        if settings.get(name) is not None
    ]
    return (
        f"A search for the schedule of `{settings.get('method', 'coteaching')}` on "
        f"`{settings['data']}` ({labels}){': ' * bool(known)}{', '.join(known)}."
    )
