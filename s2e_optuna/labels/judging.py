"""From trainings on data to what its labels are worth: the list of suspects, and a report.

| symbol | meaning |
|---|---|
| k | share of offers at which a sample was kept in the last epochs, over networks and seeds |
| p | class probabilities, averaged over networks and seeds |
| y | given label |
| m | margin: largest p of another class, minus p[y]; -1 to 1 |
| m' | the same of a network that has not seen the sample (cross-validation) |

With a cross-validation, `s2e_optuna.labels.quality` says how probably each label is wrong, and
which are listed. Clean validation samples, predicted by the same networks, make that sure.

Suspicion, from 0 to 1, is the mean of (1 - k + (1 + m)/2)/2 and (1 + m')/2, as far as these are
known: a sample that was never offered, or a method that selects nothing, has no k, and without
cross-validation there is no m'. It knows what the trainings kept, and so ranks where no label is
known to be right; without a cross-validation it also lists, above 0.5. ``studies.bench_suspects``
compares all of these on tasks with known truth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from s2e_optuna.data.noisy_data import NOT_CHECKED, NoisyData
from s2e_optuna.data.streaming import ImageFiles
from s2e_optuna.errors import DataError
from s2e_optuna.labels.duplicates import Contradiction, contradictions
from s2e_optuna.labels.label_report import LabelReport
from s2e_optuna.labels.out_of_fold import Unseen
from s2e_optuna.labels.quality import CleanPart, LabelQuality, assess_labels
from s2e_optuna.labels.suspect_list import Suspect
from s2e_optuna.training.methods import get_method
from s2e_optuna.training.model import Model, predict_proba
from s2e_optuna.training.results import TrainResult

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the labels of a training part are worth.

    Attributes
    ----------
    rows
        All samples, those that are listed first, the most doubtful first.
    report
        Noise rates and all else that is said of the labels as a whole; None without a
        cross-validation.
    quality
        What both were made of, in the order of the data; None likewise.
    """

    rows: list[Suspect]
    report: LabelReport | None
    quality: LabelQuality | None


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


def judge(
    results: TrainResult | Sequence[TrainResult],
    data: NoisyData,
    unseen: Unseen | None = None,
    device: str = "cpu",
) -> Judgement:
    """Judge the labels of the training part.

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
        `unseen_probabilities`, if there are some.
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
    samples, n_train = data.labelled_samples(), len(data.ids)
    given = samples.given
    own = np.mean([_training_probabilities(run, data, device) for run in complete], axis=0)
    kept = _kept_shares(complete)
    scores = suspicion(own, given[:n_train], kept, None if unseen is None else unseen.training)
    if len(given) > n_train:
        held_out = np.mean(
            [predict_proba(run.model, data.x_val, device) for run in complete if run.model], axis=0
        )
        scores = np.concatenate([scores, suspicion(held_out, given[n_train:])])
        own = np.concatenate([own, held_out])
        kept = np.concatenate([kept, np.full(len(held_out), np.nan)])
    found = contradictions(given, digests(data))
    if unseen is None:
        return Judgement(_rows(scores, own, kept, data, found), None, None)
    predicted = unseen.training
    if len(given) > n_train:
        cut = own[n_train:] if unseen.held_out is None else unseen.held_out
        predicted = np.concatenate([predicted, cut.astype(np.float32)])
    clean = None
    if unseen.clean is not None:
        clean = _clean_part(data, unseen.clean)
    quality = assess_labels(given, predicted, clean)
    report = LabelReport.of(quality, data.class_names, len(found), clean is not None)
    rows = _rows(scores, predicted, kept, data, found, quality)
    return Judgement(rows, report, quality)


def _clean_part(data: NoisyData, pred_probs: NDArray[np.float32]) -> CleanPart:
    """Return the clean validation samples, or those of a noisy part that are checked."""
    if data.val_checked is None:
        return CleanPart(data.y_val.numpy(), pred_probs)
    known = data.val_checked != NOT_CHECKED
    return CleanPart(data.val_checked[known].numpy(), pred_probs, data.y_val[known].numpy())


def suspects(
    results: TrainResult | Sequence[TrainResult],
    data: NoisyData,
    unseen: Unseen | None = None,
    device: str = "cpu",
) -> list[Suspect]:
    """List all samples with doubtful labels, the most doubtful first: the rows of `judge`.

    Parameters
    ----------
    results, data, unseen, device
        See `judge`.
    """
    return judge(results, data, unseen, device).rows


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
    given = data.labelled_samples().given
    if len(given) > len(data.ids):
        images.append(data.x_val)
    probabilities = np.mean(
        [np.concatenate([predict_proba(model, part) for part in images]) for model in models],
        axis=0,
    )
    found = contradictions(given, digests(data))
    return _rows(suspicion(probabilities, given), probabilities, None, data, found)


def digests(data: NoisyData) -> list[bytes]:
    """Hash the content of each labelled sample: equal ones have equal digests."""
    found = _digests(data.x_train)
    if len(data.labelled_samples().ids) > len(data.ids):
        found += _digests(data.x_val)
    return found


def _digests(images: Tensor | ImageFiles) -> list[bytes]:
    if isinstance(images, ImageFiles):
        contents = (Path(path).read_bytes() for path in images.paths)
    else:
        contents = (image.contiguous().view(torch.uint8).numpy().tobytes() for image in images)
    return [hashlib.blake2b(content, digest_size=16).digest() for content in contents]


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


def _rows(
    scores: Floats,
    probabilities: ArrayLike,
    kept: Floats | None,
    data: NoisyData,
    contradicting: Sequence[Contradiction],
    quality: LabelQuality | None = None,
) -> list[Suspect]:
    samples, names = data.labelled_samples(), data.class_names
    shown = np.asarray(probabilities, dtype=np.float64)
    predicted, order = shown.argmax(axis=1), np.argsort(-scores, kind="stable")
    if quality is not None:
        predicted = np.where(quality.listed, quality.proposed, predicted)
        shown = _true_probabilities(quality, samples.given)
        doubt = quality.wrong_probability if quality.by_clean else scores
        order = np.lexsort((-scores, -doubt, ~quality.listed))
    others = _others(contradicting, samples.given)
    return [
        Suspect(
            id=samples.ids[i],
            given=names[samples.given[i]],
            predicted=names[predicted[i]],
            suspicion=float(scores[i]),
            given_probability=float(shown[i, samples.given[i]]),
            predicted_probability=float(shown[i, predicted[i]]),
            kept_share=None if kept is None or np.isnan(kept[i]) else float(kept[i]),
            true=None if samples.clean is None else names[samples.clean[i]],
            wrong_probability=None if quality is None else float(quality.wrong_probability[i]),
            on_list=None if quality is None else bool(quality.listed[i]),
            contradicts=samples.ids[others[i]] if i in others else None,
        )
        for i in order.tolist()
    ]


def _true_probabilities(quality: LabelQuality, given: NDArray[np.int64]) -> Floats:
    """Return probabilities of true labels [N, C] that agree with those of being wrong."""
    rows, wrong = np.arange(len(given)), quality.wrong_probability
    found = quality.posterior.astype(np.float64)
    found[rows, given] = 0.0
    others = found.sum(axis=1)
    found *= (wrong / np.where(others > 0.0, others, 1.0))[:, None]
    found[rows, given] = 1.0 - wrong
    return found


def _others(groups: Sequence[Contradiction], given: NDArray[np.int64]) -> dict[int, int]:
    """Return for each sample that contradicts an equal one the first of these."""
    return {
        row: next(other for other in group.rows if given[other] != given[row])
        for group in groups
        for row in group.rows
    }


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
