"""What ``s2e train`` prints and writes: files, a report, a table."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from s2e_optuna.commands.locations import shell
from s2e_optuna.commands.requests import TrainRequest
from s2e_optuna.commands.takes import flags
from s2e_optuna.commands.training import TrainOutcome
from s2e_optuna.metrics import METRIC_WORDS
from s2e_optuna.options import values
from s2e_optuna.reporting.label_words import list_words
from s2e_optuna.reporting.plots import learning_figure, save_figure, schedule_figure
from s2e_optuna.reporting.report import review_command, write_training_report
from s2e_optuna.reporting.series import LearningCurves
from s2e_optuna.reporting.terminal import (
    ascii_only,
    comparison_table,
    duration,
    print_schedules,
    share,
)
from s2e_optuna.reporting.textplot import Curve, text_plot
from s2e_optuna.reporting.validation import validation_words
from s2e_optuna.scores import METRIC_SCORES, number_or_none
from s2e_optuna.stored_names import (
    COMPARISON_FILE,
    COMPARISON_PICTURES,
    MODEL_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    SCHEDULE_FILE,
    SUSPECTS_FILE,
)
from s2e_optuna.writable import whole_file

OF_ANOTHER_RUN = (
    *(SCHEDULE_FILE, COMPARISON_FILE, *COMPARISON_PICTURES),
    *("schedule.png", "progress.png", "generations.png", "fingerprint.npz"),
)
"""What an earlier search or training may have left in the folder about another model."""


def save_drawn_labels(outcome: TrainOutcome, path: Path) -> Path:
    """Save the labels that were trained on."""
    from s2e_optuna.data import save_labels

    save_labels(path, outcome.data)
    return path


def save_outcome(outcome: TrainOutcome, folder: Path) -> list[Path]:
    """Write the best model, the learning curves, schedule, suspects, and all numbers as JSON."""
    from s2e_optuna.labels import write_suspects
    from s2e_optuna.training import save_model

    if outcome.best is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    for name in OF_ANOTHER_RUN:  # beside the new model they would pass for its own
        (folder / name).unlink(missing_ok=True)
    written = [folder / MODEL_FILE]
    save_model(outcome.final.model, written[0])
    curves = learning_curves(outcome)
    if curves:
        figure = learning_figure(
            curves, y_label=METRIC_WORDS[outcome.config.metric], title=outcome.data.name
        )
        written.append(save_figure(figure, folder / "learning.png"))
    if outcome.schedule is not None:
        with whole_file(folder / SCHEDULE_FILE) as place:
            outcome.schedule.to_json(place)
        written.append(folder / SCHEDULE_FILE)
    write_suspects(outcome.judgement.rows, folder / SUSPECTS_FILE)
    written.append(folder / SUSPECTS_FILE)
    written.append(save_report(outcome, folder))
    written.append(folder / RESULTS_FILE)
    content = json.dumps(outcome_dict(outcome, written), allow_nan=False)
    with whole_file(written[-1]) as place:
        place.write_text(content + "\n", encoding="utf-8")
    return written


def save_report(outcome: TrainOutcome, folder: Path) -> Path:
    """Write the page that shows all of it."""
    request, schedule = outcome.request, outcome.schedule
    seeds = {"seeds": request.seeds, "folds": request.folds, "method": request.method}
    return write_training_report(
        folder / REPORT_FILE,
        outcome.data,
        outcome.scores,
        settings={**request.data.settings(), **outcome.config.settings(), **seeds},
        suspects=outcome.judgement.rows,
        labels=outcome.judgement.report,
        schedule=None if schedule is None else schedule_figure(schedule, title=outcome.name),
        command=shell("s2e", "train", *flags(request), "--out", str(folder)),
    )


def learning_curves(outcome: TrainOutcome) -> list[LearningCurves]:
    """Collect the curves worth drawing: those that were measured."""
    curves = {
        "test accuracy": [result.test_accuracy for result in outcome.complete],
        "validation accuracy": [result.validation_accuracy for result in outcome.complete],
        "label precision": [result.label_precision for result in outcome.complete],
    }
    if (metric := outcome.config.metric) != "accuracy":
        words = METRIC_WORDS[metric]
        curves = {
            f"test {words}": [result.curves["test_metric"] for result in outcome.complete],
            f"validation {words}": [
                result.curves["validation_metric"] for result in outcome.complete
            ],
            "label precision": curves["label precision"],
        }
    return [
        LearningCurves(name, np.stack(values))
        for name, values in curves.items()
        if values and np.isfinite(np.stack(values)).any()
    ]


def print_outcome(target: Console, outcome: TrainOutcome, written: list[Path]) -> None:
    """Print the accuracies, the schedule, and where the files lie.

    Parameters
    ----------
    target
        Where to.
    outcome
        What was trained.
    written
        Files that were written.
    """
    data = outcome.data
    wrong = "" if data.noise_rate is None else f" ({share(data.noise_rate)} are wrong)"
    target.print(
        f"{data.name}: {len(data.y_train)} training samples, {data.n_classes} classes, "
        f"labels: {data.noise}{wrong}.",
        markup=False,
    )
    target.print(validation_words(data, "Validated"))
    target.print()
    if outcome.complete:
        metric = outcome.config.metric
        title = "Accuracy" if metric == "accuracy" else METRIC_WORDS[metric].capitalize()
        target.print(comparison_table(outcome.rows, target, title=title, metric=metric))
        if outcome.request.posterior:
            target.print(
                f"The model that is kept: {outcome.kept}, the best by validation.", markup=False
            )
    for result in outcome.results:
        if result.failure is not None:
            target.print(f"seed {result.seed}: {result.failure}", markup=False)
    print_curves(target, outcome)
    if outcome.schedule is not None:
        target.print()
        print_schedules(target, [outcome.schedule])
    seconds = sum(score.seconds for score in outcome.scores.values())
    if any(path.name == SUSPECTS_FILE for path in written):
        judged = outcome.judgement
        listed = sum(row.listed for row in judged.rows)
        target.print(f"\n{list_words(listed, len(judged.rows), judged.report)}")
    target.print(f"\nTrained for {duration(seconds)}.")
    for path in written:
        target.print(f"  {path}", markup=False, soft_wrap=True)
    lists = [path for path in written if path.name == SUSPECTS_FILE]
    if lists:
        command = review_command(lists[0].parent)
        target.print("\nNext: look at labels that look wrong, and correct them:")
        target.print(f"  {command}", markup=False, soft_wrap=True)


def print_curves(target: Console, outcome: TrainOutcome) -> None:
    """Draw the learning curves in text: means over the seeds."""
    means = [
        Curve.over_epochs(curve.name, np.nanmean(curve.values, axis=0), first=1)
        for curve in learning_curves(outcome)
    ]
    if means and len(means[0].y) > 1:
        drawing = text_plot(
            means,
            width=min(target.width, 80),
            x_label="epochs",
            y_label="mean over seeds" if len(outcome.complete) > 1 else "share",
            y_range=None,
            ascii_only=ascii_only(target),
        )
        target.print()
        target.print(drawing, soft_wrap=True)


def outcome_dict(outcome: TrainOutcome, written: list[Path]) -> dict[str, Any]:
    """Return what `print_outcome` shows, for programs: curves are one list a complete seed."""
    from s2e_optuna.training import CURVES, get_method
    from s2e_optuna.training.config import default_batch_size

    rule, row = get_method(outcome.request.method), outcome.row
    usual = outcome.config.metric == "accuracy"
    return {
        "data": outcome.data.name,
        "request": _described(outcome.request),
        "noise": outcome.data.noise,
        "validation": outcome.data.validation,
        **outcome.data.validation_facts(),
        "method": outcome.request.method,
        "uses_clean_data": rule.uses_clean_data,
        "schedule": None
        if outcome.schedule is None
        else [float(rate) for rate in outcome.schedule.rates],
        **{name: value for name, value in outcome.config.settings().items() if name != "seed"},
        "network": outcome.network,
        "batch_size": outcome.config.batch_size or default_batch_size(len(outcome.data.y_train)),
        "seeds": [result.seed for result in outcome.results],
        "failures": [result.failure for result in outcome.results if result.failure is not None],
        "validation_accuracy": _summary(row.validation),
        "expected_validation": _summary(row.expected),
        "test_accuracy": _summary(row.test),
        "label_precision": _summary(row.label_precision),
        **(
            {}
            if usual
            else {
                "test_metric": _summary(row.test_metric),
                "validation_metric": _summary(row.validation_metric),
            }
        ),
        "last_epochs": _summary(row.last_epochs),
        "stopped_epoch": [result.stopped_epoch for result in outcome.complete],
        "labels": _labels(outcome),
        **(
            {"comparison": _comparison(outcome), "kept": _key(outcome, outcome.final.kept)}
            if outcome.request.posterior
            else {}
        ),
        "seconds": round(sum(result.seconds for result in outcome.results), 3),
        "curves": {
            name: [[number_or_none(v) for v in r.curves[name]] for r in outcome.complete]
            for name in CURVES
            if not (usual and name in METRIC_SCORES)
        },
        "versions": {name: version(name) for name in ("s2e-optuna", "torch", "numpy")},
        "files": [str(path) for path in written],
    }


def _described(request: TrainRequest) -> dict[str, Any]:
    """Return all options by name, for JSON: another training like this one begins with them."""
    own = {name: str(v) if isinstance(v, Path) else v for name, v in values(request).items()}
    stored = {name: v for name, v in request.data.settings().items() if name in own}
    return {**own, **stored}


def _labels(outcome: TrainOutcome) -> dict[str, Any] | None:
    """Return what is said of the labels; None without a cross-validation."""
    if not outcome.complete or not outcome.request.folds:
        return None
    report = outcome.judgement.report
    return None if report is None else report.to_dict()


def _key(outcome: TrainOutcome, name: str) -> str:
    """Return the name of a way to train as programs know it."""
    return outcome.request.method if name == outcome.name else name


def _comparison(outcome: TrainOutcome) -> dict[str, Any]:
    """Return the lines of the table by name, those of what was trained besides among them."""
    return {
        _key(outcome, name): {
            "test_accuracy": _summary(row.test),
            "validation_accuracy": _summary(row.validation),
            "expected_validation": _summary(row.expected),
        }
        for name, row in zip(outcome.scores, outcome.rows, strict=True)
    }


def _summary(values: tuple[float, ...]) -> dict[str, Any] | None:
    if not values:
        return None
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": spread, "values": list(values)}
