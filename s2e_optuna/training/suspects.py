"""Training samples whose labels are probably wrong."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2e_optuna.training.data import NoisyData
from s2e_optuna.training.errors import DataError
from s2e_optuna.training.results import TrainResult

KEPT_CUT = 0.5
"""A sample is on the list's suspect side when it was kept less often than this share."""


@dataclass(frozen=True)
class Suspect:
    """One training sample.

    Attributes
    ----------
    id
        Path or row of the sample in the user's data.
    given, predicted
        Class names: the label in the data and what the networks say.
    kept_share
        How often the sample was kept in the last epochs, 0 to 1.
    suspicion
        1 - kept_share, plus 1 where the prediction contradicts the label; 0 to 2.
    """

    id: str
    given: str
    predicted: str
    kept_share: float
    suspicion: float


@dataclass(frozen=True)
class SuspectQuality:
    """How good the list is where the truth is known; NaN where a share has no samples.

    Attributes
    ----------
    listed, wrong
        Samples kept less than half of the time, and samples whose given label is wrong.
    precision
        Share of wrong labels among the listed.
    recall
        Share of listed samples among the wrong labels.
    """

    listed: int
    wrong: int
    precision: float
    recall: float


def suspects(result: TrainResult, data: NoisyData) -> list[Suspect]:
    """List all training samples, the most suspicious first; equals stay in the data's order.

    Parameters
    ----------
    result
        A complete training of a method that selects samples.
    data
        What it was trained on.

    Raises
    ------
    DataError
        The training is not complete, or belongs to other data.
    """
    kept = _kept_shares(result, data)
    if result.training_predictions is None:
        raise DataError("the list of suspects needs a complete training, this one ended early")
    given, predicted = data.y_train.numpy(), result.training_predictions
    suspicion = (1.0 - kept) + (predicted != given)
    names = data.class_names
    return [
        Suspect(data.ids[i], names[given[i]], names[predicted[i]], float(kept[i]), float(score))
        for i in np.argsort(-suspicion, kind="stable")
        for score in (suspicion[i],)
    ]


def write_suspects(rows: list[Suspect], path: str | Path) -> None:
    """Write the list as CSV with a header."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "given_label", "predicted_label", "kept_share", "suspicion"])
        for row in rows:
            writer.writerow(
                [row.id, row.given, row.predicted, f"{row.kept_share:.4f}", f"{row.suspicion:.4f}"]
            )


def suspect_quality(result: TrainResult, data: NoisyData) -> SuspectQuality | None:
    """Compare the samples kept less than half of the time with the truth, where it is known."""
    if data.y_clean is None:
        return None
    listed = _kept_shares(result, data) < KEPT_CUT
    wrong = (data.y_clean != data.y_train).numpy()
    hits = int((listed & wrong).sum())
    n_listed, n_wrong = int(listed.sum()), int(wrong.sum())
    return SuspectQuality(
        n_listed,
        n_wrong,
        hits / n_listed if n_listed else float("nan"),
        hits / n_wrong if n_wrong else float("nan"),
    )


def _kept_shares(
    result: TrainResult, data: NoisyData
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Share of offers at which each sample was kept; 1 for a sample that was never offered."""
    if len(result.kept_counts) != len(data.y_train):
        raise DataError(
            f"the training saw {len(result.kept_counts)} samples, the data have "
            f"{len(data.y_train)}: give the data it was trained on"
        )
    offered = result.offered_counts
    return np.where(offered > 0, result.kept_counts / np.maximum(offered, 1), 1.0)
