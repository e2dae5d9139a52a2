"""One HTML page with all that a search or a training found: a file that needs nothing else."""

from __future__ import annotations

import base64
import io
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from s2e_optuna.cores import available_cores
from s2e_optuna.metrics import METRIC_WORDS
from s2e_optuna.reporting.label_plots import transition_figure
from s2e_optuna.reporting.label_words import (
    LARGEST_MATRIX,
    UNKNOWN,
    Pairs,
    count_pairs,
    report_words,
    result_truth,
)
from s2e_optuna.reporting.plots import draw_figure, learning_figure
from s2e_optuna.reporting.series import LearningCurves
from s2e_optuna.reporting.terminal import mean_std, share
from s2e_optuna.reporting.validation import validation_words
from s2e_optuna.reporting.verdict import METHOD_NAMES, values_words, verdict
from s2e_optuna.scores import MethodScore, last_epochs
from s2e_optuna.writable import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from s2e_optuna.data import NoisyData
    from s2e_optuna.labels import LabelReport, Suspect
    from s2e_optuna.search.search import SearchResult

SHOWN_SAMPLES = 60
"""Samples shown with their pictures."""

THUMBNAIL = 96
"""Largest side of a thumbnail, pixels."""

SHOWN_TEXT = 160
"""Characters of a sample's text that are shown."""

_CURVES = {
    "test_metric": "Test {metric} by epoch: mean, and a band of one standard deviation.",
    "validation_metric": "Validation {metric} by epoch: mean, and a band of one standard "
    "deviation.",
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
    return _write(path, _content(result, suspects), schedule, command)


def write_training_report(
    path: str | Path,
    data: NoisyData,
    scores: Mapping[str, MethodScore],
    *,
    settings: Mapping[str, object],
    suspects: Sequence[Suspect],
    labels: LabelReport | None = None,
    schedule: Figure | None = None,
    command: str = "",
) -> Path:
    """Write the report of one way to train, over several seeds.

    Parameters
    ----------
    path
        The HTML file.
    data
        What was trained on.
    scores
        Name of the way to train to how well it did.
    settings
        Names and values to list.
    suspects
        The list of suspects, the most suspicious first.
    labels
        What the labels are worth; None without a cross-validation.
    schedule
        Picture of the schedule; None where nothing is dropped.
    command
        The command that trains so.
    """
    (name, score), *_ = scores.items()
    metric = str(settings.get("metric", "accuracy"))
    content = {
        **_about(data, settings),
        "kind": "training",
        "title": name,
        "facts": _scored(scores) + _counted(suspects, data.noise_rate),
        "sentences": [validation_words(data, "Validated")],
        "has_coteaching": False,
        "comparison": _comparison(scores, len(score.schedule), metric),
        "curves": _curves(scores, metric),
        "suspects": _suspects(suspects, data, labels, "") if suspects else None,
    }
    return _write(path, content, schedule, command)


def review_command(folder: Path) -> str:
    """Return the command by which a person corrects the labels that look wrong."""
    return shlex.join(("s2e", "review", str(folder)))


def _write(
    path: str | Path, content: Mapping[str, Any], schedule: Figure | None, command: str
) -> Path:
    environment = Environment(
        loader=PackageLoader("s2e_optuna.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    picture, target = None if schedule is None else _svg(schedule), Path(path)
    page = environment.get_template("report.html.j2").render(
        **content, schedule_picture=picture, command=command, review=review_command(target.parent)
    )
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
    metric = result.config.training.metric
    left = f", {result.left_early} left early" if result.left_early else ""
    tried = {"value": str(result.n_trials), "words": f"schedules tried{left}"}
    return {
        **_about(data, settings),
        "kind": "search",
        "title": result.config.study_name,
        "facts": [tried, *_scored(result.scores), *_counted(suspects, result.noise_rate)],
        "sentences": [*verdict(result), validation_words(data)],
        "has_coteaching": "coteaching" in result.scores or result.noise_rate is not None,
        "comparison": _comparison(result.scores, result.schedule.epochs, metric),
        "curves": _curves(result.scores, metric),
        "suspects": _suspects(suspects, data, result.labels, result_truth(result))
        if suspects
        else None,
    }


def _about(data: NoisyData, settings: Mapping[str, object]) -> dict[str, Any]:
    """Return what every report says of its data, its settings and itself."""
    return {
        "written": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "data_words": _data_words(data),
        "settings": [(name, _words(value)) for name, value in settings.items()],
        "pixelated": max(data.input_shape[1:]) < 64,
        "versions": _versions(),
    }


def _data_words(data: NoisyData) -> str:
    channels, height, width = data.input_shape
    shape = f"{width} features" if height == channels == 1 else f"{width}×{height} pixels"
    if name := getattr(data.encoder, "name", ""):  # a network's, of images or texts
        shape += f" of {name}"
    return (
        f"{data.name}: {len(data.y_train):,} training samples of {shape}, {data.n_classes} "
        f"classes, labels: {data.noise}"
    )


def _scored(scores: Mapping[str, MethodScore]) -> list[dict[str, str]]:
    ours = _ours(scores)
    if ours is None:
        return []
    kind = "test" if np.isfinite(ours.test_accuracy).any() else "validation"
    return [
        {
            "value": mean_std(getattr(score, f"{kind}_value")),
            "words": f"{kind}, {METHOD_NAMES.get(name, name)}",
        }
        for name, score in scores.items()
    ]


def _ours(scores: Mapping[str, MethodScore]) -> MethodScore | None:
    """Return the score of the schedule that was found, or of the only way to train."""
    return scores.get("s2e", next(iter(scores.values()), None))


def _counted(suspects: Sequence[Suspect], noise_rate: float | None) -> list[dict[str, str]]:
    facts = []
    if suspects:
        listed = sum(one.listed for one in suspects)
        facts.append({"value": f"{listed:,}", "words": "labels look wrong"})
    if noise_rate is not None:
        facts.append({"value": share(noise_rate), "words": "labels are wrong"})
    return facts


def _comparison(
    scores: Mapping[str, MethodScore], epochs: int, metric: str
) -> dict[str, Any] | None:
    ours = _ours(scores)
    if ours is None:
        return None
    stopped = bool(ours.stopped_epoch)
    words = METRIC_WORDS[metric]
    by_metric = {f"test {words}": "test_metric", f"validation {words}": "unflattered"}
    columns = {
        **({} if metric == "accuracy" else by_metric),
        "test accuracy": "test_accuracy",
        **({"last epochs": "last_epochs"} if stopped else {}),
        **({"validation": "unflattered"} if metric == "accuracy" else {}),
        "label precision": "label_precision",
    }
    used = {
        words: name
        for words, name in columns.items()
        if any(np.isfinite(getattr(score, name)).any() for score in scores.values())
    }
    searched = any(score.searched for score in scores.values())
    rows = [
        {
            "ours": score is ours,
            "cells": [
                METHOD_NAMES.get(name, name),
                *(mean_std(getattr(score, column)) for column in used.values()),
                *([values_words(score.searched) or "\u2013"] if searched else []),
            ],
        }
        for name, score in scores.items()
    ]
    return {
        "header": ["method", *used, *(["searched"] if searched else [])],
        "rows": rows,
        "seeds": len(ours.validation_accuracy),
        "stopped": stopped,
        "unflattered": bool(ours.expected_validation),
        "last_epochs": last_epochs(epochs),
        "test": "test accuracy" in used,
        "compared_by": "" if metric == "accuracy" else METRIC_WORDS[metric],
        "precision": "label precision" in used,
    }


_NOT_DRAWN = ("clean_only", "coteaching_estimated")
"""Ways to train whose curves would only hide the others."""


def learning_curves(scores: Mapping[str, MethodScore], key: str) -> list[LearningCurves]:
    """Collect a curve of the final comparison for each method; empty where it was not measured."""
    names = sorted(reversed(list(scores)), key=lambda name: name != "s2e")  # the main colour
    found = [
        LearningCurves(METHOD_NAMES.get(name, name), np.array(scores[name].curves[key]))
        for name in names
        if key in scores[name].curves and name not in _NOT_DRAWN
    ]
    return [curve for curve in found if np.isfinite(curve.values).any()]


def _curves(scores: Mapping[str, MethodScore], metric: str) -> list[dict[str, str]]:
    drawn: list[dict[str, str]] = []
    for name, words in _CURVES.items():
        curves = learning_curves(scores, name)
        if curves and not (name.startswith("validation") and drawn):
            label = name.replace("metric", METRIC_WORDS[metric]).replace("_", " ")
            figure = learning_figure(curves, y_label=label)
            words = words.format(metric=METRIC_WORDS[metric])
            drawn.append({"words": words, "picture": _svg(figure)})
    return drawn


def _place(data: NoisyData, at: int) -> tuple[str, int]:
    """Return the part of a labelled sample, and its row there."""
    return ("train", at) if at < len(data.ids) else ("val", at - len(data.ids))


def _text(data: NoisyData, at: int) -> str | None:
    """Return the text of a labelled sample, if it is one; of a long one the beginning."""
    part, row = _place(data, at)
    if part not in data.texts:
        return None
    text = data.texts[part][row]
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}…"


def _image(data: NoisyData, at: int) -> Tensor:
    """Return the image of a labelled sample, or what the features are of that stand for it."""
    part, row = _place(data, at)
    if part in data.pictures:
        return data.pictures[part][row]
    if part in data.contents and part in data.files:
        import torch

        from s2e_optuna.data.images import decode_image

        return torch.tensor(decode_image(data.files[part][row], None)[0]).permute(2, 0, 1)
    return (data.x_train if part == "train" else data.x_val)[row]


def _suspects(
    rows: Sequence[Suspect], data: NoisyData, report: LabelReport | None, truth: str
) -> dict[str, Any]:
    listed = [row for row in rows if row.listed]
    words = (
        f"{len(listed):,} of {len(rows):,} labels ({share(len(listed) / len(rows))}) look wrong."
    )
    worth = [UNKNOWN] if report is None else report_words(report, len(listed), len(rows))
    words = " ".join(filter(None, (words, *worth, truth)))
    pairs = count_pairs(listed)
    small = 1 < data.n_classes <= LARGEST_MATRIX
    position = {name: i for i, name in enumerate(data.ids)}
    position |= {name: len(data.ids) + i for i, name in enumerate(data.val_ids)}
    samples = []
    for row in rows[:SHOWN_SAMPLES]:
        at = position.get(row.id)
        picture = None if at is None else thumbnail(_image(data, at))
        text = None if at is None else _text(data, at)
        samples.append({**vars(row), "chance": _chance(row), "picture": picture, "text": text})
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
    draw_figure(figure, stream, "svg")
    return _uri("image/svg+xml", stream.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
