"""One HTML page with all that a search found: a single file that needs nothing else."""

from __future__ import annotations

import base64
import io
import platform
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from s2e_optuna.cores import available_cores
from s2e_optuna.reporting.label_plots import transition_figure
from s2e_optuna.reporting.label_words import (
    LARGEST_MATRIX,
    UNKNOWN,
    Pairs,
    count_pairs,
    report_words,
    result_truth,
)
from s2e_optuna.reporting.plots import learning_figure
from s2e_optuna.reporting.series import LearningCurves
from s2e_optuna.reporting.terminal import mean_std, share
from s2e_optuna.reporting.validation import validation_words
from s2e_optuna.reporting.verdict import METHOD_NAMES, verdict
from s2e_optuna.scores import last_epochs
from s2e_optuna.writable import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from s2e_optuna.data import NoisyData
    from s2e_optuna.labels import Suspect
    from s2e_optuna.search.search import SearchResult

SHOWN_SAMPLES = 60
"""Samples shown with their pictures."""

THUMBNAIL = 96
"""Largest side of a thumbnail, pixels."""

_CURVES = {
    "test_accuracy": "Test accuracy by epoch: mean, and a band of one standard deviation.",
    "validation_accuracy": "Validation accuracy by epoch: mean, and a band of one standard "
    "deviation.",
    "label_precision": "Label precision by epoch: share of correct labels among the kept.",
}


def write_report(
    path: str | Path,
    result: SearchResult,
    *,
    schedule: Figure,
    suspects: Sequence[Suspect] = (),
    command: str = "",
) -> Path:
    """Write the report of a search.

    Parameters
    ----------
    path
        The HTML file.
    result
        What the search found.
    schedule
        Picture of the schedule.
    suspects
        The list of suspects, the most suspicious first; empty without a final comparison.
    command
        The command that runs this search.
    """
    environment = Environment(
        loader=PackageLoader("s2e_optuna.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        **_content(result, suspects), schedule_picture=_svg(schedule), command=command
    )
    target = Path(path)
    with whole_file(target) as place:
        place.write_text(page, encoding="utf-8")
    return target


def thumbnail(image: Tensor) -> str | None:
    """Return one image [channels, height, width] as a data URI; None for plain features."""
    from PIL import Image

    channels, height = image.shape[:2]
    if height == 1 or channels not in (1, 3, 4):
        return None
    values = image.numpy().astype(np.float64)
    if image.dtype.is_floating_point:
        low, high = min(values.min(), 0.0), max(values.max(), 1.0)
        values = 255.0 * (values - low) / (high - low)
    pixels = values.round().astype(np.uint8).transpose(1, 2, 0)
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return _uri("image/png", stream.getvalue())


def _content(result: SearchResult, suspects: Sequence[Suspect]) -> dict[str, Any]:
    data = result.data
    settings = {**result.config.settings(), "workers": result.config.workers}
    settings |= {"stack": result.config.stack, "storage": result.config.masked_storage}
    return {
        "title": result.config.study_name,
        "written": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "data_words": _data_words(data),
        "facts": _facts(result, suspects),
        "sentences": [*verdict(result), validation_words(data)],
        "has_coteaching": "coteaching" in result.scores or result.noise_rate is not None,
        "comparison": _comparison(result),
        "curves": _curves(result),
        "suspects": _suspects(suspects, result) if suspects else None,
        "settings": [(name, _words(value)) for name, value in settings.items()],
        "pixelated": max(data.input_shape[1:]) < 64,
        "versions": _versions(),
    }


def _data_words(data: NoisyData) -> str:
    channels, height, width = data.input_shape
    shape = f"{width} features" if height == channels == 1 else f"{width}×{height} pixels"
    return (
        f"{data.name}: {len(data.y_train):,} training samples of {shape}, {data.n_classes} "
        f"classes, labels: {data.noise}"
    )


def _facts(result: SearchResult, suspects: Sequence[Suspect]) -> list[dict[str, str]]:
    facts = [{"value": str(result.n_trials), "words": "schedules tried"}]
    scores = result.scores
    if "s2e" in scores:
        kind = "test" if np.isfinite(scores["s2e"].test_accuracy).any() else "validation"
        for name, score in scores.items():
            values = getattr(score, f"{kind}_accuracy")
            facts.append({"value": mean_std(values), "words": f"{kind}, {METHOD_NAMES[name]}"})
    if suspects:
        listed = sum(one.listed for one in suspects)
        facts.append({"value": f"{listed:,}", "words": "labels look wrong"})
    if result.noise_rate is not None:
        facts.append({"value": share(result.noise_rate), "words": "labels are wrong"})
    return facts


def _comparison(result: SearchResult) -> dict[str, Any] | None:
    if not result.scores:
        return None
    stopped = bool(result.scores["s2e"].stopped_epoch)
    columns = {
        "test accuracy": "test_accuracy",
        **({"last epochs": "last_epochs"} if stopped else {}),
        "validation": "validation_accuracy",
        "label precision": "label_precision",
    }
    used = {
        words: name
        for words, name in columns.items()
        if any(np.isfinite(getattr(score, name)).any() for score in result.scores.values())
    }
    rows = [
        {
            "ours": name == "s2e",
            "cells": [
                METHOD_NAMES[name],
                *(mean_std(getattr(score, column)) for column in used.values()),
            ],
        }
        for name, score in result.scores.items()
    ]
    return {
        "header": ["method", *used],
        "rows": rows,
        "seeds": len(result.scores["s2e"].validation_accuracy),
        "stopped": stopped,
        "last_epochs": last_epochs(result.schedule.epochs),
        "test": "test accuracy" in used,
        "precision": "label precision" in used,
    }


def learning_curves(result: SearchResult, key: str) -> list[LearningCurves]:
    """Collect a curve of the final comparison for each method; empty where it was not measured."""
    found = [
        LearningCurves(METHOD_NAMES.get(name, name), np.array(score.curves[key]))
        for name, score in reversed(list(result.scores.items()))  # ours first: the main colour
        if key in score.curves
    ]
    return [curve for curve in found if np.isfinite(curve.values).any()]


def _curves(result: SearchResult) -> list[dict[str, str]]:
    drawn: list[dict[str, str]] = []
    for name, words in _CURVES.items():
        curves = learning_curves(result, name)
        if curves and not (name == "validation_accuracy" and drawn):
            figure = learning_figure(curves, y_label=name.replace("_", " "))
            drawn.append({"words": words, "picture": _svg(figure)})
    return drawn


def _suspects(rows: Sequence[Suspect], result: SearchResult) -> dict[str, Any]:
    data = result.data
    listed = [row for row in rows if row.listed]
    words = (
        f"{len(listed):,} of {len(rows):,} labels ({share(len(listed) / len(rows))}) look wrong."
    )
    report = result.labels
    worth = [UNKNOWN] if report is None else report_words(report, len(listed), len(rows))
    words = " ".join(filter(None, (words, *worth, result_truth(result))))
    pairs = count_pairs(listed)
    small = 1 < data.n_classes <= LARGEST_MATRIX
    position = {name: i for i, name in enumerate(data.ids)}
    position |= {name: len(data.ids) + i for i, name in enumerate(data.val_ids)}
    samples = []
    for row in rows[:SHOWN_SAMPLES]:
        at = position.get(row.id)
        image = None
        if at is not None:
            image = data.x_train[at] if at < len(data.ids) else data.x_val[at - len(data.ids)]
        picture = None if image is None else thumbnail(image)
        samples.append({**vars(row), "chance": _chance(row), "picture": picture})
    return {
        "words": words,
        "matrix": _matrix(pairs, data.class_names) if small and pairs else None,
        "pairs": []
        if small
        else [
            {"given": given, "predicted": predicted, "count": count}
            for (given, predicted), count in pairs.most_common(15)
        ],
        "transition": None
        if report is None
        else _svg(transition_figure(report.transition_matrix, report.classes)),
        "samples": samples,
        "total": f"{len(rows):,}",
    }


def _chance(row: Suspect) -> str:
    """Say how doubtful a label is; no rounding makes it a certainty."""
    if row.wrong_probability is None:
        return f"suspicion {row.suspicion:.3f}"
    percent = 100 * row.wrong_probability
    if percent < 1:
        return "wrong: < 1 %"
    return "wrong: > 99 %" if percent > 99 else f"wrong: {percent:.0f} %"


def _matrix(pairs: Pairs, names: Sequence[str]) -> dict[str, Any]:
    most = max(pairs.values())
    return {
        "names": names,
        "rows": [
            {
                "name": given,
                "cells": [
                    {"count": count, "shade": 0.75 * count / most}
                    for predicted in names
                    for count in (pairs[given, predicted],)
                ],
            }
            for given in names
        ],
    }


def _words(value: object) -> str:
    if value is None or value == {}:
        return "–"
    return (
        ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
    )


def _versions() -> str:
    packages = ("s2e_optuna", "torch", "optuna", "numpy")
    listed = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{listed}; Python {platform.python_version()} on {platform.system()} "
        f"{platform.machine()}, {available_cores()} CPU cores"
    )


def _svg(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return _uri("image/svg+xml", stream.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
