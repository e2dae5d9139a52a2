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
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from s2e_optuna.training.assemble import stratified_order
from s2e_optuna.training.data import NoisyData
from s2e_optuna.training.errors import DataError
from s2e_optuna.training.methods import get_method
from s2e_optuna.training.model import Model, predict_proba
from s2e_optuna.training.results import EpochReport, TrainConfig, TrainResult
from s2e_optuna.training.streaming import take
from s2e_optuna.training.trainer import ScheduleLike, train

LISTED_ABOVE = 0.5
"""A sample is listed as suspicious when its suspicion is above this."""

Floats = NDArray[np.float64]

_COLUMNS = (
    "id",
    "given_label",
    "predicted_label",
    "suspicion",
    "suspicious",
    "given_probability",
    "predicted_probability",
    "kept_share",
    "true_label",
)


@dataclass(frozen=True)
class Suspect:
    """One sample.

    Attributes
    ----------
    id
        Path or row of the sample in the user's data.
    given, predicted
        Class names: the label in the data and what the networks say.
    suspicion
        From 0 to 1; see the module.
    given_probability, predicted_probability
        Probability of these classes, averaged over networks and seeds.
    kept_share
        How often the sample was kept in the last epochs, 0 to 1; None where that is not known.
    true
        True label, where it is known.
    """

    id: str
    given: str
    predicted: str
    suspicion: float
    given_probability: float
    predicted_probability: float
    kept_share: float | None = None
    true: str | None = None

    @property
    def listed(self) -> bool:
        """Whether the label is taken for wrong."""
        return self.suspicion > LISTED_ABOVE


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


def unseen_probabilities(
    method: str,
    schedule: ScheduleLike,
    data: NoisyData,
    config: TrainConfig,
    folds: int = 5,
    on_epoch: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Predict each training sample by a training that has not seen it: cross-validation.

    Parameters
    ----------
    method, schedule, data, config
        As for `train`; fold f trains with the seed ``config.seed + f``.
    folds
        Number of trainings, 2 or more, each on all folds but one.
    on_epoch
        Called with the fold and the number of its finished epochs.

    Returns
    -------
    ndarray
        float32 [N, C].

    Raises
    ------
    DataError
        What `train` refuses; fewer than two folds; a training diverged.
    """
    if folds < 2:
        raise DataError(f"folds {folds} is out of range: choose 2 or more")
    n_samples = len(data.y_train)
    order = stratified_order(data.y_train.numpy(), np.random.default_rng(config.seed))
    fold_of = np.empty(n_samples, dtype=np.int64)
    fold_of[order] = np.arange(n_samples) % folds  # neighbours in this order are of one kind
    found = np.empty((n_samples, data.n_classes), dtype=np.float32)
    for fold in range(folds):
        rest, out = (torch.from_numpy(np.flatnonzero(mask)) for mask in
                     (fold_of != fold, fold_of == fold))  # fmt: skip
        if not len(out) or not len(rest):
            raise DataError(f"{n_samples} samples are too few for {folds} folds")
        part = replace(
            data,
            x_train=take(data.x_train, rest),
            y_train=data.y_train[rest],
            y_clean=None,
            x_test=None,
            y_test=None,
        )
        batch_size = None if config.batch_size is None else min(config.batch_size, len(rest))
        settings = replace(
            config,
            seed=config.seed + fold,
            batch_size=batch_size,
            evaluate_every=config.epochs,
            keep_probabilities=False,
        )
        tell = None if on_epoch is None else _telling(on_epoch, fold)
        (run,) = train(method, [schedule], part, settings, tell)
        if run.status != "complete" or run.model is None:
            raise DataError(f"a training of the cross-validation failed: {run.failure}")
        found[out.numpy()] = predict_proba(run.model, take(data.x_train, out))
    return found


def _telling(
    on_epoch: Callable[[int, int], None], fold: int
) -> Callable[[int, list[EpochReport]], None]:
    def tell(epoch: int, _: list[EpochReport]) -> None:
        on_epoch(fold, epoch + 1)

    return tell


def suspects(
    results: TrainResult | Sequence[TrainResult],
    data: NoisyData,
    unseen: NDArray[np.float32] | None = None,
) -> list[Suspect]:
    """List all samples with doubtful labels, the most suspicious first; equals stay in order.

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
        `unseen_probabilities` of the training samples, if there are some.

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
    probabilities = np.mean([_training_probabilities(run, data) for run in complete], axis=0)
    kept = _kept_shares(complete)
    samples = data.labelled_samples()
    n_train = len(data.ids)
    scores = suspicion(probabilities, samples.given[:n_train], kept, unseen)
    if unseen is not None:
        probabilities = (probabilities + unseen) / 2.0
    if len(samples.ids) > n_train:
        held_out = np.mean(
            [predict_proba(run.model, data.x_val) for run in complete if run.model], axis=0
        )
        scores = np.concatenate([scores, suspicion(held_out, samples.given[n_train:])])
        probabilities = np.concatenate([probabilities, held_out])
        kept = np.concatenate([kept, np.full(len(held_out), np.nan)])
    return _rank(scores, probabilities, kept, data)


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
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS if known else _COLUMNS[:-1])
        for row in rows:
            kept = "" if row.kept_share is None else f"{row.kept_share:.4f}"
            numbers = (row.given_probability, row.predicted_probability)
            cells = [row.id, row.given, row.predicted, f"{row.suspicion:.6f}"]
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
            if not set(_COLUMNS[:-1]) <= set(reader.fieldnames or ()):
                raise DataError(
                    f"{place} is not a list of suspects that s2e search or s2e train has written"
                )
            return [_read_row(row) for row in reader]
    except OSError as error:
        raise DataError(f"cannot read the list {place}: {error.strerror}") from error
    except DataError:
        raise
    except (ValueError, TypeError, csv.Error) as error:  # a cell that is no number, no text
        raise DataError(f"the list of suspects {place} is damaged: {error}") from error


def suspect_quality(rows: Sequence[Suspect]) -> SuspectQuality | None:
    """Compare a list with the truth, where that is known."""
    if not rows or any(row.true is None for row in rows):
        return None
    from sklearn.metrics import average_precision_score

    listed = np.array([row.listed for row in rows])
    wrong = np.array([row.true != row.given for row in rows])
    hits, n_listed, n_wrong = int((listed & wrong).sum()), int(listed.sum()), int(wrong.sum())
    scores = [row.suspicion for row in rows]
    return SuspectQuality(
        n_listed,
        n_wrong,
        hits / n_listed if n_listed else float("nan"),
        hits / n_wrong if n_wrong else float("nan"),
        float(average_precision_score(wrong, scores)) if n_wrong else float("nan"),
    )


def _training_probabilities(run: TrainResult, data: NoisyData) -> NDArray[np.float32]:
    if run.training_probabilities is not None:
        return run.training_probabilities
    assert run.model is not None
    return predict_proba(run.model, data.x_train)


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
    scores: Floats, probabilities: Floats, kept: Floats | None, data: NoisyData
) -> list[Suspect]:
    samples, names = data.labelled_samples(), data.class_names
    predicted = probabilities.argmax(axis=1)
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
        )
        for i in np.argsort(-scores, kind="stable")
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
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
