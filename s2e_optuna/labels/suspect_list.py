"""The list of suspects: samples whose labels are probably wrong, and their file.

How labels are judged is in `s2e_optuna.labels.judging`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.errors import DataError
from s2e_optuna.writable import whole_file

LISTED_ABOVE = 0.5
"""Where nobody has said which labels to look at, those whose score is above this are listed."""

_COLUMNS = (
    "id",
    "given_label",
    "predicted_label",
    "suspicion",
    "wrong_probability",
    "suspicious",
    "given_probability",
    "predicted_probability",
    "kept_share",
    "true_label",
    "contradicts",
)
_LATER = frozenset({"wrong_probability", "true_label", "contradicts"})
"""Columns that not every list has."""


@dataclass(frozen=True)
class Suspect:
    """One sample.

    Attributes
    ----------
    id
        Path or row of the sample in the user's data.
    given, predicted
        Classes: the label in the data and what the networks say; of a label that is listed, the
        most probable other class. Names; by `s2e_optuna.S2EClassifier` labels as it was given.
    suspicion
        From 0 to 1; see `s2e_optuna.labels.judging`.
    given_probability, predicted_probability
        Probability of these classes: that of the true label where `wrong_probability` is known,
        else averaged over networks and seeds.
    kept_share
        How often the sample was kept in the last epochs, 0 to 1; None where that is not known.
    true
        True label, where it is known.
    wrong_probability
        Probability that the given label is wrong; None where that cannot be estimated.
    on_list
        Whether the label is taken for wrong; None where nobody has said, and the score decides.
    contradicts
        Another sample that is equal and has another label, as its id; None where there is none.
    """

    id: str
    given: Any
    predicted: Any
    suspicion: float
    given_probability: float
    predicted_probability: float
    kept_share: float | None = None
    true: Any = None
    wrong_probability: float | None = None
    on_list: bool | None = None
    contradicts: str | None = None

    @property
    def score(self) -> float:
        """How doubtful the label is: `wrong_probability`, or else the suspicion."""
        return self.suspicion if self.wrong_probability is None else self.wrong_probability

    @property
    def listed(self) -> bool:
        """Whether the label is taken for wrong; never where networks agree with it."""
        if self.on_list is not None:
            return self.on_list
        return self.score > LISTED_ABOVE and self.predicted != self.given


@dataclass(frozen=True)
class Expectation:
    """How good a list probably is, by the probabilities of its labels alone.

    Attributes
    ----------
    wrong
        Wrong labels among all samples.
    listed_wrong
        Wrong labels among the listed.
    precision, recall
        Share of wrong labels among the listed, and of listed samples among the wrong labels; NaN
        where there are none.
    """

    wrong: float
    listed_wrong: float
    precision: float
    recall: float


@dataclass(frozen=True)
class SuspectQuality:
    """How good the list is where the truth is known; NaN where a share has no samples.

    Attributes
    ----------
    listed, wrong
        Samples listed as suspicious, and samples whose given label is wrong.
    precision
        Share of wrong labels among the listed.
    recall
        Share of listed samples among the wrong labels.
    average_precision
        Area under precision over recall of the whole ranking; the share of wrong labels for a
        random order.
    """

    listed: int
    wrong: int
    precision: float
    recall: float
    average_precision: float


def write_suspects(rows: Sequence[Suspect], path: str | Path) -> None:
    """Write a list as CSV with a header; the column ``true_label`` only where it is known."""
    known = any(row.true is not None for row in rows)
    with whole_file(path) as place, place.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(name for name in _COLUMNS if known or name != "true_label")
        for row in rows:
            kept = "" if row.kept_share is None else f"{row.kept_share:.4f}"
            numbers = (row.given_probability, row.predicted_probability)
            cells = [row.id, row.given, row.predicted, f"{row.suspicion:.6f}"]
            cells.append("" if row.wrong_probability is None else f"{row.wrong_probability:.6f}")
            cells += ["yes" if row.listed else "no", *(f"{p:.4f}" for p in numbers), kept]
            cells += [row.true or ""] if known else []
            writer.writerow([*cells, row.contradicts or ""])


def read_suspects(path: str | Path) -> list[Suspect]:
    """Read what `write_suspects` wrote.

    Raises
    ------
    DataError
        The file is missing or no such list.
    """
    place = Path(path)
    try:
        with place.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not set(reader.fieldnames or ()) >= set(_COLUMNS) - _LATER:
                raise DataError(
                    f"{place} is not a list of suspects that s2e search or s2e train has written"
                )
            return [_read_row(row) for row in reader]
    except OSError as error:
        raise DataError(f"cannot read the list {place}: {error.strerror}") from error
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is not a list of suspects: it is no text") from error
    except (ValueError, TypeError, csv.Error) as error:  # a cell that is no number, no text
        raise DataError(f"the list of suspects {place} is damaged: {error}") from error


def expectation(rows: Sequence[Suspect]) -> Expectation | None:
    """Estimate how good a list is, where each label has a probability of being wrong."""
    found = [(row.wrong_probability, row.listed) for row in rows]
    known = [probability for probability, _ in found if probability is not None]
    if not rows or len(known) < len(rows):
        return None
    chosen = [probability for probability, listed in found if probability is not None and listed]
    nan = float("nan")
    return Expectation(
        wrong=sum(known),
        listed_wrong=sum(chosen),
        precision=sum(chosen) / len(chosen) if chosen else nan,
        recall=sum(chosen) / sum(known) if sum(known) else nan,
    )


def suspect_quality(rows: Sequence[Suspect]) -> SuspectQuality | None:
    """Compare a list with the truth, where that is known."""
    if not rows or any(row.true is None for row in rows):
        return None
    listed = np.array([row.listed for row in rows])
    wrong = np.array([row.true != row.given for row in rows])
    hits, n_listed, n_wrong = int((listed & wrong).sum()), int(listed.sum()), int(wrong.sum())
    scores = np.array([row.score for row in rows])
    return SuspectQuality(
        n_listed,
        n_wrong,
        hits / n_listed if n_listed else float("nan"),
        hits / n_wrong if n_wrong else float("nan"),
        average_precision(wrong, scores) if n_wrong else float("nan"),
    )


def average_precision(wrong: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the mean precision over all wrong labels, each at its place in the order by score.

    Equal scores share the last place. The same as scikit-learn's, which is slow to import.

    Parameters
    ----------
    wrong
        Booleans [N], one of them or more true.
    scores
        Larger where a label is more doubtful [N].
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    hits = np.cumsum(wrong[order])[ends]
    return float((np.diff(hits, prepend=0) / hits[-1]) @ (hits / (ends + 1)))


def _read_row(row: Mapping[str, str]) -> Suspect:
    return Suspect(
        id=row["id"],
        given=row["given_label"],
        predicted=row["predicted_label"],
        suspicion=float(row["suspicion"]),
        given_probability=float(row["given_probability"]),
        predicted_probability=float(row["predicted_probability"]),
        kept_share=float(row["kept_share"]) if row["kept_share"] else None,
        true=row.get("true_label"),
        wrong_probability=float(wrong) if (wrong := row.get("wrong_probability")) else None,
        on_list=row["suspicious"] == "yes",
        contradicts=row.get("contradicts") or None,
    )
