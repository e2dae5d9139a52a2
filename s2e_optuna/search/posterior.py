"""The last step from a schedule to a model: trainings on the posterior, and on the clean part.

The clean validation part is used both ways round: what learns from one half of it is stopped and
judged by the other. Training number i learns from half i modulo 2, and the model that is kept
averages the best of each.

| symbol | meaning |
|---|---|
| h | a half of the clean validation part, which is learnt from |
| p_h | probabilities of the training samples by networks that have learnt h alone |
| p' | the same by the cross-validation, a logistic regression and neighbours |
| q_h | posterior over true labels from p' and p_h, calibrated on the other half |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from s2e_optuna.data import NoisyData
from s2e_optuna.data.noisy_data import NOT_CHECKED
from s2e_optuna.data.streaming import take
from s2e_optuna.labels import CheckedLabels, CleanPart, Judgement, Unseen, assess_labels
from s2e_optuna.labels.linear import fits_linear
from s2e_optuna.labels.neighbours import neighbours
from s2e_optuna.labels.out_of_fold import stopped_by
from s2e_optuna.labels.predictors import agreeing, geometric_mean, helpful, together
from s2e_optuna.training import Model, TrainConfig, TrainResult, predict_proba, train
from s2e_optuna.training.config import default_batch_size
from s2e_optuna.training.jobs import Runner, Tell, TellOf
from s2e_optuna.training.setup import Share, takes_own_batches

Single = NDArray[np.float32]
Halves = tuple[Tensor, Tensor]

MOST_WRONG = 0.95
"""Share of wrong labels with which nothing is left to learn from."""

LARGEST_BATCH = 128

LEAST_CLEAN = 20
"""Clean samples, and two a class, below which halves of them are too small."""


def can_be_halved(data: NoisyData) -> bool:
    """Whether there is a clean validation part to learn from, and to judge by."""
    enough = len(data.y_val) >= max(LEAST_CLEAN, 2 * data.n_classes)
    return data.validation == "clean" and enough


@dataclass(frozen=True, eq=False)
class CleanHalf:
    """A job: learn from one half of the clean part alone, stopped by the other."""

    learnt: Tensor
    stopping: Tensor
    seeds: tuple[int, ...]
    config: TrainConfig

    def __call__(
        self, data: NoisyData, tell: Tell
    ) -> tuple[list[TrainResult], Single | None, Single | None]:
        """Train; return also means of what is predicted of training and clean part [n, C]."""
        labels = data.y_val[self.learnt]
        part = _training_part(data, self.stopping, take(data.x_val, self.learnt), labels, None)
        runs = _train(part, self.config, self.seeds, tell)
        models = [run.model for run in runs if run.status == "complete" and run.model is not None]
        if not models:
            return runs, None, None
        both, device = averaged(models), self.config.device
        of_training = predict_proba(both, data.x_train, device)
        return runs, of_training, predict_proba(both, data.x_val, device)


@dataclass(frozen=True, eq=False)
class OnPosterior:
    """A job: learn from the posterior and one half of the clean part, stopped by the other.

    Without halves it learns from the posterior alone, stopped by the validation part, on which
    classes may have new weights.
    """

    targets: Tensor
    seeds: tuple[int, ...]
    config: TrainConfig
    learnt: Tensor | None = None
    stopping: Tensor | None = None
    weights: Tensor | None = None

    def __call__(self, data: NoisyData, tell: Tell) -> list[TrainResult]:
        """Train on soft labels [N, C]."""
        x, labels, targets = data.x_train, data.y_train, self.targets
        if self.learnt is None or self.stopping is None:
            weights = data.val_weights if self.weights is None else self.weights
            part = replace(data, targets=targets, val_weights=weights)
            return _train(part, self.config, self.seeds, tell)
        clean = take(data.x_val, self.learnt)
        if isinstance(x, Tensor) and isinstance(clean, Tensor) and x.dtype == clean.dtype:
            x = torch.cat([x, clean])
            labels = torch.cat([labels, data.y_val[self.learnt]])
            certain = one_hot(data.y_val[self.learnt], data.n_classes).float()
            targets = torch.cat([targets, certain])
        part = _training_part(data, self.stopping, x, labels, targets)
        return _train(part, self.config, self.seeds, tell)


def _training_part(
    data: NoisyData, stopping: Tensor, x: Tensor, labels: Tensor, targets: Tensor | None
) -> NoisyData:
    part = stopped_by(data, stopping)
    return replace(part, x_train=x, y_train=labels, y_clean=None, targets=targets)


def _train(
    part: NoisyData, config: TrainConfig, seeds: Sequence[int], tell: Tell
) -> list[TrainResult]:
    """Train plainly with every seed, side by side where that is possible."""
    # No small loss is looked for, so an epoch needs fewer steps: as accurate in half the time.
    usual = min(2 * default_batch_size(len(part.y_train)), LARGEST_BATCH)
    size = min(config.batch_size or usual, len(part.y_train))
    config = replace(config, batch_size=size, seed=seeds[0])
    if len(seeds) > 1 and takes_own_batches("standard", part, config):
        shares = [Share(seed) for seed in seeds]
        return train(
            "standard",
            [None] * len(seeds),
            part,
            config,
            lambda epoch, _: tell(epoch + 1, False),
            shares=shares,
        )
    found = []
    for number, seed in enumerate(seeds):
        before = number * config.epochs

        def on_epoch(epoch: int, _: object, before: int = before) -> None:
            tell((before + epoch + 1) // len(seeds), False)

        found += train("standard", [None], part, replace(config, seed=seed), on_epoch)
    return found


@dataclass(frozen=True, eq=False)
class CleanAlone:
    """What the clean part gives alone.

    Attributes
    ----------
    runs
        Trainings, the halves in turn.
    by_half
        What those that learnt from each half predict of the training part [N, C] and of the
        clean part [V, C].
    unseen
        Both together: each clean sample by networks that have learnt the other half.
    """

    runs: tuple[TrainResult, ...]
    by_half: tuple[tuple[Single, Single], tuple[Single, Single]]
    unseen: Unseen


def clean_jobs(halves: Halves, training: TrainConfig, seeds: Sequence[int]) -> list[CleanHalf]:
    """Return the trainings on the clean part alone, both ways round: a job for each half.

    Parameters
    ----------
    halves
        Positions of its samples.
    training
        How; its seed is replaced.
    seeds
        Two or more, one a training.
    """
    return [
        CleanHalf(halves[half], halves[1 - half], tuple(seeds[half::2]), training)
        for half in (0, 1)
    ]


def clean_alone(data: NoisyData, halves: Halves, found: Sequence[Any]) -> CleanAlone | None:
    """Put together what `clean_jobs` returned; None where a training failed."""
    first, second = found
    if first[1] is None or second[1] is None:
        return None
    of_clean = np.empty((1, len(data.y_val), data.n_classes), dtype=np.float32)
    for (_, _, predicted), others in zip((first, second), reversed(halves), strict=True):
        of_clean[0, others.numpy()] = predicted[others.numpy()]
    unseen = Unseen(geometric_mean([first[1], second[1]]), of_clean, samples=data.identity)
    return CleanAlone(in_turns(first[0], second[0]), (first[1:], second[1:]), unseen)


def in_turns(
    first: Sequence[TrainResult], second: Sequence[TrainResult]
) -> tuple[TrainResult, ...]:
    """Return trainings of two halves in the order of their seeds: the halves in turn."""
    pairs = zip_longest(first, second)
    return tuple(run for pair in pairs for run in pair if run is not None)


CLEAN_PART = "clean part"
"""Name of the networks that have learnt the clean part alone, among the predictors."""


def choose_predictors(
    data: NoisyData, networks: Unseen, linear: Unseen | None, clean: CleanAlone | None
) -> dict[str, Unseen]:
    """Choose what the posterior stands on: all that do not hinder the others.

    Parameters
    ----------
    data
        Whose labels are judged.
    networks, linear, clean
        Predictions by a cross-validation, by a logistic regression's, and by the clean part.

    Returns
    -------
    dict
        Predictors by name, to be taken `together`; `CLEAN_PART` may be among them.
    """
    candidates = {"networks": networks}
    if linear is not None:
        candidates["linear"] = linear
    if fits_linear(data):
        candidates["neighbours"] = neighbours(data)
    if clean is not None:
        candidates[CLEAN_PART] = clean.unseen
    if data.validation == "clean":
        kept = helpful(candidates, data.y_val.numpy())
    else:
        kept = agreeing(candidates, data.y_train.numpy())
    return {name: candidates[name] for name in kept}


def posterior_of_half(
    data: NoisyData,
    predictors: Mapping[str, Unseen],
    clean: CleanAlone,
    half: int,
    halves: Halves,
) -> Tensor:
    """Return q_h, float32 [N, C]: it knows nothing of the other half but the calibration.

    Parameters
    ----------
    data
        Whose labels are judged.
    predictors
        p', and whether p_h belongs to it.
    clean
        Where p_h is from.
    half, halves
        h, and positions of the clean samples.
    """
    of_training, of_validation = clean.by_half[half]
    of_half = dict(predictors)
    if CLEAN_PART in predictors:
        of_half[CLEAN_PART] = Unseen(of_training, of_validation[None])
    p = together(list(of_half.values()))
    assert p.clean is not None
    others = halves[1 - half]
    known = CleanPart(data.y_val[others].numpy(), p.clean[:, others.numpy()])
    found = assess_labels(data.y_train.numpy(), p.training, known, draws=2)
    return torch.from_numpy(found.posterior.astype(np.float32))


def train_on_posterior(
    data: NoisyData,
    targets: Sequence[Tensor],
    halves: Halves,
    training: TrainConfig,
    seeds: Sequence[int],
    tell: TellOf,
    run: Runner,
) -> tuple[TrainResult, ...]:
    """Train on the posteriors and the clean part, both ways round.

    Parameters
    ----------
    data
        Whose validation part is clean.
    targets
        q_h of both halves [N, C].
    halves
        Positions of the clean samples.
    training, seeds
        As for `clean_jobs`.
    tell, run
        As for a `Runner`, which runs the trainings.
    """
    jobs = [
        OnPosterior(targets[half], tuple(some), training, halves[half], halves[1 - half])
        for half in (0, 1)
        if (some := seeds[half::2])
    ]
    return in_turns(*([*run(jobs, data, tell), []][:2]))


def posterior_of_noisy(data: NoisyData, judged: Judgement) -> tuple[Tensor, CheckedLabels | None]:
    """Return what the true labels probably are where no part is clean.

    Where some validation labels are checked, the posterior of the others judges, too: networks of
    a cross-validation know more than those that the trials were judged by.

    Parameters
    ----------
    data
        Whose validation part is noisy.
    judged
        What all of its labels are worth.

    Returns
    -------
    tuple
        Soft labels of the training part, float32 [N, C]; what classes are worth as predictions of
        the validation part, None where nothing is checked.
    """
    assert judged.quality is not None
    posterior, n_train = judged.quality.posterior, len(data.y_train)
    targets = torch.from_numpy(posterior[:n_train].astype(np.float32))
    if data.val_checked is None:
        return targets, None
    weights, truth = posterior[n_train:].astype(np.float32), data.val_checked.numpy()
    known = np.flatnonzero(truth != NOT_CHECKED)
    weights[known] = 0.0
    weights[known, truth[known]] = 1.0
    return targets, CheckedLabels(weights, judged.quality.noise.matrix)


def train_on_noisy_posterior(
    data: NoisyData,
    targets: Tensor,
    worth: CheckedLabels | None,
    training: TrainConfig,
    parts: Sequence[Sequence[int]],
    tell: TellOf,
    run: Runner,
) -> tuple[TrainResult, ...]:
    """Train on the posterior alone, stopped by the validation part.

    Parameters
    ----------
    data
        Whose validation part is noisy.
    targets, worth
        See `posterior_of_noisy`.
    training, tell, run
        As for `train_on_posterior`.
    parts
        Seeds, one a training, of each job.
    """
    weights = None if worth is None else torch.from_numpy(np.asarray(worth.weights))
    jobs = [OnPosterior(targets, tuple(some), training, weights=weights) for some in parts]
    return tuple(one for group in run(jobs, data, tell) for one in group)


def averaged(models: Sequence[Model]) -> Model:
    """Return one model whose networks are those of several, of the same architecture."""
    return replace(models[0], states=tuple(state for one in models for state in one.states))


def estimated_rate(data: NoisyData, unseen: Unseen) -> float | None:
    """Return the share of wrong labels that somebody could tell without a search.

    Parameters
    ----------
    data
        Whose labels are judged.
    unseen
        Predictions of its samples by networks that have not seen them.

    Returns
    -------
    float or None
        None where no clean part tells it (a few checked labels leave it too open), or all labels
        look wrong.
    """
    if data.validation != "clean" or unseen.clean is None:
        return None
    some = unseen.clean[:2]  # all would take longer and say no more
    known = CleanPart(data.y_val.numpy(), some)
    rate = assess_labels(data.y_train.numpy(), unseen.training, known, draws=2).noise.overall
    return rate if rate < MOST_WRONG else None
