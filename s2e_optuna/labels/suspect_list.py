"""Samples whose labels are probably wrong.

| symbol | meaning |
|---|---|
| k | share of offers at which a sample was kept in the last epochs, over networks and seeds |
| p | class probabilities, averaged over networks and seeds |
| y | given label |
| m | margin: largest p of another class, minus p[y]; -1 to 1 |
| m' | the same of a network that has not seen the sample (cross-validation) |

Suspicion, from 0 to 1, is the mean of (1 - k + (1 + m)/2)/2 and (1 + m')/2, as far as these are
known: a sample that was never offered, or a method that selects nothing, has no k, and without
cross-validation there is no m'. Above 0.5 a sample is listed as suspicious.

``studies.bench_suspects`` compares scores on tasks with known truth. k and m rank well where the
schedule drops what is wrong. A schedule that keeps nearly everything lets networks memorise: k
then says nothing, and no sample passes 0.5. m' always says something, but alone lists too much.
The mean of both ranks nearly as well as the best on each task, and its list is never empty.

Where the validation part is clean and there is a cross-validation, there is a better answer, the
probability that a label is wrong (`s2e_optuna.labels.wrong_labels`): it ranks and lists.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.labels.out_of_fold import Unseen
from s2e_optuna.labels.wrong_labels import true_label_probabilities
from s2e_optuna.training.methods import get_method
from s2e_optuna.training.model import Model, predict_proba
from s2e_optuna.training.results import TrainResult
from s2e_optuna.writable import whole_file

LISTED_ABOVE = 0.5
"""A sample is listed when its probability of being wrong, or else its suspicion, is above this."""

Floats = NDArray[np.float64]

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
)
_REQUIRED = frozenset(_COLUMNS) - {"wrong_probability", "true_label"}


@dataclass(frozen=True)
class Suspect:
    """One sample.

    Attributes
    ----------
    id
        Path or row of the sample in the user's data.
    given, predicted
        Class names: the label in the data and what the networks say. Of a label whose probability
        of being wrong is above 0.5, the most probable other class.
    suspicion
        From 0 to 1; see the module.
    given_probability, predicted_probability
        Probability of these classes: that of the true label where `wrong_probability` is known,
        else averaged over networks and seeds.
    kept_share
        How often the sample was kept in the last epochs, 0 to 1; None where that is not known.
    true
        True label, where it is known.
    wrong_probability
        Probability that the given label is wrong; None where that cannot be estimated.
    """

    id: str
    given: str
    predicted: str
    suspicion: float
    given_probability: float
    predicted_probability: float
    kept_share: float | None = None
    true: str | None = None
    wrong_probability: float | None = None

    @property
    def score(self) -> float:
        """What the list is sorted by: `wrong_probability`, or else the suspicion."""
        return self.suspicion if self.wrong_probability is None else self.wrong_probability

    @property
    def listed(self) -> bool:
        """Whether the label is taken for wrong."""
        return self.score > LISTED_ABOVE


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


def suspicion(
    probabilities: ArrayLike,
    given: ArrayLike,
    kept: ArrayLike | None = None,
    unseen: ArrayLike | None = None,
) -> Floats:
    """Score labels, 0 to 1.

    Parameters
    ----------
    probabilities
        Predicted class probabilities [N, C].
    given
        Labels in the data, integers [N].
    kept
        Share of offers at which each sample was kept [N]; NaN where it is not known.
    unseen
        Probabilities [N, C] by networks that have not seen the sample.
    """
    scores = _doubt(probabilities, given)
    if kept is not None:
        shares = np.asarray(kept, dtype=np.float64)
        scores = np.asarray(np.where(np.isnan(shares), scores, (1.0 - shares + scores) / 2.0))
    return scores if unseen is None else (scores + _doubt(unseen, given)) / 2.0


def _doubt(probabilities: ArrayLike, given: ArrayLike) -> Floats:
    """Return the margin of another class over the given one, brought to 0 .. 1."""
    values, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(given)
    rows = np.arange(len(labels))
    others = values.copy()
    others[rows, labels] = -np.inf
    return np.asarray((1.0 + others.max(axis=1) - values[rows, labels]) / 2.0)


def suspects(
    results: TrainResult | Sequence[TrainResult],
    data: NoisyData,
    unseen: Unseen | None = None,
    device: str = "cpu",
) -> list[Suspect]:
    """List all samples with doubtful labels, the most doubtful first; equals stay in order.

    These are the training samples and, where the validation part was cut from them, its samples,
    too: no training has seen those.

    Parameters
    ----------
    results
        One or more trainings on the same data with different seeds; those that did not complete
        are left out.
    data
        What they were trained on.
    unseen
        `unseen_probabilities`, if there are some. With clean validation samples among them each
        label has a probability of being wrong.
    device
        Where the models predict, as for `predict_proba`.

    Raises
    ------
    DataError
        No training is complete, or they belong to other data.
    """
    runs = [results] if isinstance(results, TrainResult) else list(results)
    for run in runs:
        if len(run.kept_counts) != len(data.y_train):
            raise DataError(
                f"the training saw {len(run.kept_counts)} samples, the data have "
                f"{len(data.y_train)}: give the data it was trained on"
            )
    complete = [run for run in runs if run.status == "complete" and run.model is not None]
    if not complete:
        raise DataError("the list of suspects needs a complete training, this one ended early")
    seen = {run.samples for run in runs} | ({unseen.samples} if unseen is not None else set())
    if seen - {"", data.identity}:
        raise DataError(
            "the training saw other samples or labels than the data have, or in another order: "
            "give the data it was trained on"
        )
    probabilities = np.mean(
        [_training_probabilities(run, data, device) for run in complete], axis=0
    )
    kept = _kept_shares(complete)
    samples = data.labelled_samples()
    n_train = len(data.ids)
    given = samples.given[:n_train]
    others = None if unseen is None else unseen.training
    scores = suspicion(probabilities, given, kept, others)
    wrong = None
    if unseen is not None:
        true = None
        if unseen.clean is not None:
            true = true_label_probabilities(
                unseen.training, given, unseen.clean, data.y_val.numpy()
            )
        if true is not None:
            wrong = np.asarray(1.0 - true[np.arange(n_train), given])
        probabilities = (probabilities + unseen.training) / 2.0 if true is None else true
    if len(samples.ids) > n_train:
        held_out = np.mean(
            [predict_proba(run.model, data.x_val, device) for run in complete if run.model], axis=0
        )
        scores = np.concatenate([scores, suspicion(held_out, samples.given[n_train:])])
        probabilities = np.concatenate([probabilities, held_out])
        kept = np.concatenate([kept, np.full(len(held_out), np.nan)])
    return _rank(scores, probabilities, kept, data, wrong)


def suspects_of_models(models: Sequence[Model], data: NoisyData) -> list[Suspect]:
    """List samples as `suspects` does, by the predictions of trained models alone.

    Raises
    ------
    DataError
        The models do not fit the data: other classes or images of another size.
    """
    for model in models:
        if model.class_names != data.class_names:
            raise DataError(
                f"the model knows the classes {_some(model.class_names)} and the data "
                f"{_some(data.class_names)}: give the data it was trained on"
            )
    images = [data.x_train]
    if len(data.labelled_samples().ids) > len(data.ids):
        images.append(data.x_val)
    probabilities = np.mean(
        [np.concatenate([predict_proba(model, part) for part in images]) for model in models],
        axis=0,
    )
    scores = suspicion(probabilities, data.labelled_samples().given)
    return _rank(scores, probabilities, None, data)


def write_suspects(rows: Sequence[Suspect], path: str | Path) -> None:
    """Write a list as CSV with a header; the column ``true_label`` only where it is known."""
    known = any(row.true is not None for row in rows)
    with whole_file(path) as place, place.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS if known else _COLUMNS[:-1])
        for row in rows:
            kept = "" if row.kept_share is None else f"{row.kept_share:.4f}"
            numbers = (row.given_probability, row.predicted_probability)
            cells = [row.id, row.given, row.predicted, f"{row.suspicion:.6f}"]
            cells.append("" if row.wrong_probability is None else f"{row.wrong_probability:.6f}")
            cells += ["yes" if row.listed else "no", *(f"{p:.4f}" for p in numbers), kept]
            writer.writerow([*cells, row.true or ""] if known else cells)


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
            if not set(reader.fieldnames or ()) >= _REQUIRED:
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
    from sklearn.metrics import average_precision_score

    listed = np.array([row.listed for row in rows])
    wrong = np.array([row.true != row.given for row in rows])
    hits, n_listed, n_wrong = int((listed & wrong).sum()), int(listed.sum()), int(wrong.sum())
    scores = [row.score for row in rows]
    return SuspectQuality(
        n_listed,
        n_wrong,
        hits / n_listed if n_listed else float("nan"),
        hits / n_wrong if n_wrong else float("nan"),
        float(average_precision_score(wrong, scores)) if n_wrong else float("nan"),
    )


def _training_probabilities(run: TrainResult, data: NoisyData, device: str) -> NDArray[np.float32]:
    if run.training_probabilities is not None:
        return run.training_probabilities
    assert run.model is not None
    return predict_proba(run.model, data.x_train, device)


def _kept_shares(runs: Sequence[TrainResult]) -> Floats:
    """Share of offers at which each sample was kept; NaN where that says nothing.

    That is so for samples that were never offered, and for methods that drop samples for another
    reason than doubt: Co-teaching+ drops those on which its networks agree.
    """
    telling = [run for run in runs if get_method(run.method).drops_doubtful]
    if not telling:
        return np.full(len(runs[0].kept_counts), np.nan)
    kept = np.sum([run.kept_counts for run in telling], axis=0)
    offered = np.sum([run.offered_counts for run in telling], axis=0)
    return np.where(offered > 0, kept / np.maximum(offered, 1), np.nan)


def _rank(
    scores: Floats,
    probabilities: Floats,
    kept: Floats | None,
    data: NoisyData,
    wrong: Floats | None = None,
) -> list[Suspect]:
    samples, names = data.labelled_samples(), data.class_names
    rows = np.arange(len(samples.given))
    others = np.array(probabilities)
    if wrong is not None:
        out = wrong > LISTED_ABOVE
        others[rows[out], samples.given[out]] = -1.0
    predicted = others.argmax(axis=1)
    return [
        Suspect(
            id=samples.ids[i],
            given=names[samples.given[i]],
            predicted=names[predicted[i]],
            suspicion=float(scores[i]),
            given_probability=float(probabilities[i, samples.given[i]]),
            predicted_probability=float(probabilities[i, predicted[i]]),
            kept_share=None if kept is None or np.isnan(kept[i]) else float(kept[i]),
            true=None if samples.clean is None else names[samples.clean[i]],
            wrong_probability=None if wrong is None else float(wrong[i]),
        )
        for i in np.argsort(-(scores if wrong is None else wrong), kind="stable")
    ]


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
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
