"""The final comparison in its file: written, read again, and removed where it is another's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_optuna.data import NoisyData
from s2e_optuna.data.fingerprint import Fingerprint
from s2e_optuna.labels import LabelReport
from s2e_optuna.options import earlier_settings
from s2e_optuna.schedules import Schedule
from s2e_optuna.scores import MethodScore
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.final import final_seeds
from s2e_optuna.stored_names import (
    COMPARISON_FILE,
    COMPARISON_PICTURES,
    MODEL_FILE,
    SUSPECTS_FILE,
)
from s2e_optuna.writable import whole_file

_FORMAT = "s2e-comparison-2"
_SEARCHING = ("space", "sampler", "sampler_options")  # how the schedule was found


@dataclass(frozen=True)
class Comparison:
    """What a final comparison gave.

    Attributes
    ----------
    scores
        Name of a way to train to its scores; empty if there was no comparison.
    suspects
        How good the list of suspects is, see `SearchResult`; None without one.
    kept
        The way whose model is kept.
    labels
        What is said of the labels as a whole; None without a cross-validation.
    """

    scores: Mapping[str, MethodScore]
    suspects: Mapping[str, float | int | None] | None
    kept: str | None
    labels: LabelReport | None = None


def comparison_key(
    config: SearchConfig,
    schedule: Schedule,
    seen: Fingerprint,
    searched: Mapping[str, float],
    trials: int,
) -> dict[str, Any]:
    """Return everything that a comparison depends on.

    Parameters
    ----------
    config
        The search.
    schedule
        The schedule that is compared.
    seen
        What the data hold.
    searched
        Values of what was searched beside it.
    trials
        Trials that it took; plain training searches as long.
    """
    settings = config.settings()
    return {
        **{name: value for name, value in settings.items() if name not in _SEARCHING},
        "seeds": final_seeds(config.training.seed, config.final_seeds),
        "folds": config.folds,
        "data_digest": seen.digest,
        "schedule": [float(rate) for rate in schedule.rates],
        **({"searched": dict(searched), "searched_trials": trials} if searched else {}),
    }


def write_comparison(
    path: Path,
    key: Mapping[str, Any],
    comparison: Comparison,
    data: NoisyData,
    config: SearchConfig,
) -> None:
    """Write a comparison.

    Parameters
    ----------
    path
        Its file.
    key
        See `comparison_key`.
    comparison
        What came out.
    data
        What was trained on.
    config
        The search.
    """
    content = {
        "format": _FORMAT,
        "of": dict(key),
        "search": config.described(),
        "noise": data.noise,
        "true_noise_rate": data.noise_rate,
        "validated_on": data.validation,
        **data.validation_facts(),
        "methods": {name: score.to_dict() for name, score in comparison.scores.items()},
        "suspects": comparison.suspects,
        "kept": comparison.kept,
        "labels": None if comparison.labels is None else comparison.labels.to_dict(),
    }
    # Written last and in one step: a comparison that can be read has its other files, too.
    with whole_file(path) as place:
        place.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_comparison(files: Mapping[str, Path], key: Mapping[str, Any]) -> Comparison | None:
    """Read the comparison of the same schedule, if an earlier run has left it there."""
    if not all(path.exists() for path in files.values()):
        return None
    try:
        content = _content(files["comparison"], key)
        if content["of"] != key:
            return None
        scores = {name: MethodScore.from_dict(row) for name, row in content["methods"].items()}
        labels = content.get("labels")
        report = None if labels is None else LabelReport.from_dict(labels)
        return Comparison(scores, content["suspects"], content.get("kept", "s2e"), report)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # damaged: it is made anew


def _content(path: Path, key: Mapping[str, Any]) -> dict[str, Any]:
    """Read a comparison; what earlier versions did not write is as it was then.

    They noted nothing of the data, which count as those of now.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["format"] != _FORMAT:
        raise ValueError(f"{path} has another format.")
    earlier = {k: v for k, v in earlier_settings(SearchConfig).items() if k not in _SEARCHING}
    earlier["data_digest"] = key["data_digest"]
    return {**content, "of": {**earlier, **content["of"]}}


def remove_other_comparison(folder: Path, key: Mapping[str, Any]) -> None:
    """Remove what a comparison of another schedule, or on other data, has left in the folder.

    Beside the files of this search it would pass for a part of them. One with other seeds or
    folds is no other one: it stays until a new one replaces it. Without a comparison's file
    nothing is removed: model and list may be those of a training.
    """
    path = folder / COMPARISON_FILE
    if not path.exists():
        return
    told = {"seeds": key["seeds"], "folds": key["folds"]}
    try:
        same = {**_content(path, key)["of"], **told} == key
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        for name in (MODEL_FILE, SUSPECTS_FILE, *COMPARISON_PICTURES, COMPARISON_FILE):
            (folder / name).unlink(missing_ok=True)
