"""The simplest model: a logistic regression whose penalty the validation part chooses.

| symbol | meaning |
|---|---|
| x | features of a sample, or its pixels in a row, around their mean; D numbers |
| W, b | weights [D, C] and bias [C] |
| c | weight of the samples against the penalty |

W and b minimise

    c times the sum of -log softmax(x W + b)[y]  +  |W|^2 / 2

and c is the one whose probabilities, sharpened by one number, say most of the validation labels:
noisy labels make all of them too flat. Along the path from small c to large each solution begins
at the one before. Where another metric than accuracy is asked for, the model that is compared has
the c that is best by this metric; predictions of unseen samples stay with the likelihood.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp, softmax
from torch import Tensor

from s2e_optuna.cores import one_thread
from s2e_optuna.data.noisy_data import NOT_CHECKED, NoisyData, scale_pixels
from s2e_optuna.data.streaming import prepared
from s2e_optuna.labels.out_of_fold import Unseen, folds_of
from s2e_optuna.metrics import class_mean

PENALTIES = tuple(10.0 ** (power / 2) for power in range(-9, 3))
"""c, in the order in which they are tried."""

MOST_FEATURES, MOST_PIXELS, MOST_NUMBERS = 4096, 1024, 10**8
"""D of vectors, D of images, and numbers of the training part: more is not fitted."""

MOST_STEPS = 60
PATIENCE = 3
"""The path ends after so many solutions that are worse than the best."""

Single = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A logistic regression that was fitted.

    Attributes
    ----------
    penalty
        c.
    validation_accuracy, test_accuracy
        Shares that it gets right; NaN without a test part.
    validation_metric, test_metric
        The metric, where that is another than accuracy; else NaN.
    unseen
        Its predictions of samples that it has not seen.
    seconds
        Wall-clock seconds that all of it took.
    predicted
        Classes that it predicts of the validation part, integers [V].
    """

    penalty: float
    validation_accuracy: float
    test_accuracy: float
    unseen: Unseen
    seconds: float
    predicted: NDArray[np.int64]
    validation_metric: float = math.nan
    test_metric: float = math.nan


def fits_linear(data: NoisyData) -> bool:
    """Whether the samples are vectors or small images, and not too many."""
    numbers = int(np.prod(data.input_shape))
    vectors = data.input_shape[:2] == (1, 1)
    most = MOST_FEATURES if vectors else MOST_PIXELS
    in_memory = isinstance(data.x_train, Tensor) and isinstance(data.x_val, Tensor)
    return in_memory and numbers <= most and numbers * len(data.y_train) <= MOST_NUMBERS


def linear_model(
    data: NoisyData, seed: int = 0, folds: int = 5, metric: str = "accuracy"
) -> LinearModel:
    """Fit a logistic regression to the given labels, and cross-validate it.

    Parameters
    ----------
    data
        Samples that `fits_linear`.
    seed, folds
        Of the cross-validation, as for `unseen_probabilities`.
    metric
        By which the model is compared, a name in `s2e_optuna.metrics.METRICS`.
    """
    started = time.perf_counter()
    with one_thread():
        found = _linear_model(data, seed, folds, metric)
    return replace(found, seconds=round(time.perf_counter() - started, 3))


def _linear_model(data: NoisyData, seed: int, folds: int, metric: str) -> LinearModel:
    n_classes = data.n_classes
    x_train = sample_rows(data.x_train, data)
    mean = x_train.mean(axis=0)
    x_train -= mean
    given, worth = data.y_train.numpy(), np.eye(n_classes, dtype=np.float32)[data.y_val.numpy()]
    if data.val_weights is not None:
        worth = data.val_weights.numpy()
    x_val = sample_rows(data.x_val, data) - mean
    best: tuple[float, float, Single] | None = None
    compared: tuple[float, float, Single] | None = None
    now, worse = np.zeros((x_train.shape[1] + 1, n_classes), dtype=np.float32), 0
    for penalty in PENALTIES:
        now = _fit(x_train, given, penalty, now)
        loss = _tempered_loss(_scores(x_val, now), worth)
        worse = worse + 1 if best is not None and loss >= best[0] else 0
        if not worse:
            best = loss, penalty, now
        if metric != "accuracy":
            value = _metric(metric, _scores(x_val, now), worth)
            if compared is None or value > compared[0]:
                compared = value, penalty, now
        elif worse == PATIENCE:
            break
    assert best is not None
    _, penalty, chosen = best
    fold_of = folds_of(given, folds, seed)
    unseen, of_validation = np.empty((len(given), n_classes), dtype=np.float32), []
    for fold in range(folds):
        out = fold_of == fold
        fitted = _fit(x_train[~out], given[~out], penalty, chosen)
        unseen[out] = softmax(_scores(x_train[out], fitted), axis=1)
        of_validation.append(softmax(_scores(x_val, fitted), axis=1))
    held_out = np.stack(of_validation)
    clean, known = data.validation == "clean", None
    if data.val_checked is not None:
        known = (data.val_checked != NOT_CHECKED).numpy()
    of_validation_part, penalty, used = compared or (math.nan, penalty, chosen)
    test = of_test_part = math.nan
    if data.x_test is not None and data.y_test is not None and isinstance(data.x_test, Tensor):
        scores = _scores(sample_rows(data.x_test, data) - mean, used)
        right = np.eye(n_classes, dtype=np.float32)[data.y_test.numpy()]
        test = _accuracy(scores, right)
        if metric != "accuracy":
            of_test_part = _metric(metric, scores, right)
    return LinearModel(
        penalty=penalty,
        validation_accuracy=_accuracy(_scores(x_val, used), worth),
        test_accuracy=test,
        unseen=Unseen(
            unseen,
            held_out if clean else None if known is None else held_out[:, known],
            None if clean else held_out.mean(axis=0),
            data.identity,
        ),
        seconds=0.0,
        predicted=_scores(x_val, used).argmax(axis=1),
        validation_metric=of_validation_part,
        test_metric=of_test_part,
    )


def _accuracy(scores: Single, worth: Single) -> float:
    """Return the mean worth of what is predicted; worth [N, C]."""
    return float(worth[np.arange(len(worth)), scores.argmax(axis=1)].mean(dtype=np.float64))


def _metric(metric: str, scores: Single, worth: Single) -> float:
    predicted = np.eye(worth.shape[1])[scores.argmax(axis=1)]
    hits, support = (predicted * worth).sum(axis=0), worth.sum(axis=0, dtype=np.float64)
    return float(class_mean(metric, hits, support, predicted.sum(axis=0)))


def sample_rows(images: object, data: NoisyData) -> Single:
    """Return the numbers of samples that are in memory, prepared, a row each: float32 [N, D]."""
    assert isinstance(images, Tensor)
    ready = prepared(images, data.preparation)
    assert isinstance(ready, Tensor)
    return scale_pixels(ready).flatten(1).numpy().astype(np.float32)


def _scores(x: Single, weights: Single) -> Single:
    return np.asarray(x @ weights[:-1] + weights[-1], dtype=np.float32)


def _fit(x: Single, labels: NDArray[np.int64], penalty: float, start: Single) -> Single:
    """Return W, and b as its last row [D + 1, C]; products in single precision."""
    rows, shape = np.arange(len(x)), start.shape

    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = values.reshape(shape)
        scores = _scores(x, weights.astype(np.float32)).astype(np.float64)
        logs = scores - logsumexp(scores, axis=1, keepdims=True)
        loss = -penalty * float(logs[rows, labels].sum())
        loss += float((weights[:-1] ** 2).sum()) / 2.0
        error = np.exp(logs)
        error[rows, labels] -= 1.0
        gradient = np.empty(shape)
        gradient[:-1] = penalty * (x.T @ error.astype(np.float32)) + weights[:-1]
        gradient[-1] = penalty * error.sum(axis=0)
        scale = 1.0 / (penalty * len(x))
        return loss * scale, gradient.ravel() * scale

    found = minimize(
        objective,
        start.astype(np.float64).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MOST_STEPS, "gtol": 1e-4},
    )
    return np.asarray(found.x.reshape(shape), dtype=np.float32)


def _tempered_loss(scores: Single, worth: Single) -> float:
    """Return the mean log loss with the one factor of the scores that makes it least.

    Labels are weights of classes [N, C] whose rows sum to one.
    """
    values = scores.astype(np.float64)

    def loss(log_factor: float) -> float:
        scaled = np.exp(log_factor) * values
        return float((logsumexp(scaled, axis=1) - (worth * scaled).sum(axis=1)).mean())

    return float(minimize_scalar(loss, bounds=(-4.0, 6.0), method="bounded").fun)
