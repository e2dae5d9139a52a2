"""Probabilities of networks turned into probabilities of true labels, by clean samples.

| symbol | meaning |
|---|---|
| l(x) | log probabilities of the classes by a network that has not seen x, less their mean [C] |
| a | inverse temperature |
| W | what one class's evidence says for another [C, C]: networks that have learnt wrong labels |
| b | bias of each class [C] |
| s | prior variance of W and b: small pools all classes |

    p(true | x) = softmax(a l(x) + l(x) W + b)     (1)

a, W and b are those with the smallest log loss on the clean samples, less the logarithms of the
priors: W, b ~ N(0, s), and a normal one of a. s is chosen by cross-validation on the same samples.
With few of them it comes out small, and (1) is one temperature for all classes. A class without
clean samples is left out of the softmax while fitting, so that nothing is concluded from its
absence, and has b = 0. (1) without W is temperature scaling with a bias (Guo et al., ICML 2017); W
under a prior is Dirichlet calibration (Kull et al., NeurIPS 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from s2e_optuna.errors import DataError
from s2e_optuna.labels.arrays import (
    Floats,
    Ints,
    Real,
    as_labels,
    as_probabilities,
    blocks,
    logits,
    softmax,
)

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Values of s to choose from."""

MOST_CLASSES_MIXED = 200
"""With more classes there is no W: its size and the time grow with the square of their number."""

ANY_SCALE = 1.0, 2.0
"""Mean and standard deviation of the prior of a, where nothing else is known."""

AS_GOOD = 0.01
"""Log loss a sample up to which a larger s is taken, where that is within the standard error."""

_PARTS = 5
_MOST_NUMBERS = 100_000
"""Probabilities that s is chosen by, at most: of many networks only some then."""

_MOST_STEPS = 100


@dataclass(frozen=True, eq=False)
class Calibration:
    """Equation (1) with its numbers.

    Attributes
    ----------
    scale
        a, the inverse temperature.
    bias
        b, float64 [C].
    matrix
        W, float64 [C, C].
    strength
        s that was chosen; 0 where the predictions say nothing of the clean samples, and are
        replaced by class shares.
    prior
        Mean and standard deviation of the prior of a.
    """

    scale: float
    bias: Floats
    matrix: Floats
    strength: float
    prior: tuple[float, float] = ANY_SCALE

    def apply(self, pred_probs: ArrayLike) -> Real:
        """Return calibrated probabilities of the same shape [..., C], each above 0.

        Examples
        --------
        >>> import numpy as np
        >>> sharper = Calibration(2.0, np.zeros(2), np.zeros((2, 2)), 1.0)
        >>> sharper.apply([[0.75, 0.25]]).round(2)
        array([[0.9, 0.1]])
        """
        values = as_probabilities(pred_probs)
        rows = values.reshape(-1, values.shape[-1])
        found = np.empty_like(rows)
        for block in blocks(len(rows)):
            found[block] = softmax(self._scores(logits(rows[block])))
        np.maximum(found, np.finfo(found.dtype).tiny, out=found)
        return found.reshape(values.shape)

    def _scores(self, logs: Floats) -> Floats:
        mixed = logs @ self.matrix if self.matrix.any() else 0.0
        return np.asarray(self.scale * logs + mixed + self.bias)


def fit_calibration(
    labels: ArrayLike, pred_probs: ArrayLike, prior: tuple[float, float] = ANY_SCALE
) -> Calibration:
    """Fit equation (1) to clean samples.

    Parameters
    ----------
    labels
        True labels of clean samples, integers [V]; classes may be missing.
    pred_probs
        Their probabilities [V, C] by networks that have not seen them, or [F, V, C] of F networks
        that will also judge the other samples, each its own share.
    prior
        Mean and standard deviation of the prior of a: what is known of it from elsewhere.

    Returns
    -------
    Calibration
        Class shares in place of predictions, where these say nothing about the labels.

    Raises
    ------
    DataError
        Arrays that do not fit together, or no sample.

    Examples
    --------
    A network that is right in 4 of 5 and says 0.99 is told to be less sure:

    >>> import numpy as np
    >>> labels = np.arange(200) % 2
    >>> says = np.where(np.arange(200) % 5 == 0, 1 - labels, labels)
    >>> pred_probs = 0.01 + 0.98 * np.eye(2)[says]
    >>> calibration = fit_calibration(labels, pred_probs)
    >>> calibration.apply([[0.99, 0.01]]).round(1)
    array([[0.8, 0.2]])
    """
    clean, truth = _clean_part(labels, pred_probs)
    networks, n_samples, n_classes = clean.shape
    logs = logits(clean)
    some = min(max(_MOST_NUMBERS // (n_samples * n_classes), 1), networks)
    part = parts_of(n_samples)
    losses, of_shares = np.zeros((len(STRENGTHS), n_samples)), 0.0
    for held_out in range(min(_PARTS, n_samples) if n_samples > 1 else 0):
        rest, out = part != held_out, part == held_out
        of_shares -= float(_log_shares(truth[rest], n_classes)[truth[out]].sum())
        seen, unseen = (logs[:some, chosen].reshape(-1, n_classes) for chosen in (rest, out))
        fitted = None
        for i, strength in enumerate(STRENGTHS):
            labelled = np.tile(truth[rest], some)
            fitted = _fit(seen, labelled, strength, prior, 1.0 / some, fitted)
            each = _log_losses(fitted._scores(unseen), np.tile(truth[out], some))
            losses[i, out] = each.reshape(some, -1).mean(axis=0)
    if n_samples > 1 and losses.sum(axis=1).min() >= of_shares:
        nothing = np.zeros((n_classes, n_classes))
        return Calibration(0.0, _log_shares(truth, n_classes), nothing, 0.0, prior)
    # All networks' predictions of a sample together weigh as much as one.
    strength = STRENGTHS[_largest_of_the_best(losses)]
    every, weight = logs.reshape(-1, n_classes), 1.0 / networks
    return _fit(every, np.tile(truth, networks), strength, prior, weight)


def cross_fitted(labels: ArrayLike, pred_probs: ArrayLike, calibration: Calibration) -> Floats:
    """Calibrate clean samples by calibrations that have not seen them.

    Parameters
    ----------
    labels, pred_probs
        As for `fit_calibration`.
    calibration
        What that returned; its strength and prior are taken.

    Returns
    -------
    ndarray
        float64 [F, V, C], with F = 1 for [V, C].
    """
    clean, truth = _clean_part(labels, pred_probs)
    networks, n_samples, n_classes = clean.shape
    if n_samples < 2 or calibration.strength == 0.0:
        return calibration.apply(clean).astype(np.float64)
    found, part = np.empty(clean.shape), parts_of(n_samples)
    for held_out in range(min(_PARTS, n_samples)):
        rest, out = part != held_out, part == held_out
        logs = logits(clean[:, rest]).reshape(-1, n_classes)
        strength, prior = calibration.strength, calibration.prior
        fitted = _fit(logs, np.tile(truth[rest], networks), strength, prior, 1.0 / networks)
        found[:, out] = fitted.apply(clean[:, out])
    return found


def parts_of(n_samples: int) -> Ints:
    """Deal samples into parts at random, the same ones each time."""
    order = np.random.default_rng(0).permutation(n_samples)
    part = np.empty(n_samples, dtype=np.int64)
    part[order] = np.arange(n_samples) % _PARTS
    return part


def _clean_part(labels: ArrayLike, pred_probs: ArrayLike) -> tuple[Real, Ints]:
    clean = as_probabilities(pred_probs)
    if clean.ndim == 2:
        clean = clean[None]
    if clean.ndim != 3 or not clean.shape[0] * clean.shape[1]:
        raise DataError(
            f"the clean part's pred_probs has the shape {np.shape(pred_probs)}: it needs [V, C], "
            "or [F, V, C] of F networks, and a sample"
        )
    return clean, as_labels(labels, *clean.shape[1:])


def _fit(
    logs: Floats,
    truth: Ints,
    strength: float,
    prior: tuple[float, float],
    weight: float,
    start: Calibration | None = None,
) -> Calibration:
    """Return a, W and b for samples [M, C] that count `weight` each."""
    n_samples, n_classes = logs.shape
    members = np.zeros((n_samples, n_classes))
    members[np.arange(n_samples), truth] = 1.0
    absent = np.where(members.any(axis=0), 0.0, -np.inf)
    mixes = n_classes <= MOST_CLASSES_MIXED
    size = 1 + n_classes + n_classes * n_classes * mixes
    mean, variance = prior[0], prior[1] ** 2

    def taken(values: Floats) -> Calibration:
        matrix = np.zeros((n_classes, n_classes))
        if mixes:
            matrix = values[1 + n_classes :].reshape(n_classes, n_classes)
        return Calibration(float(values[0]), values[1 : 1 + n_classes], matrix, strength, prior)

    def objective(values: Floats) -> tuple[float, Floats]:
        now = taken(values)
        scores = now._scores(logs) + absent
        error = (softmax(scores) - members) * weight
        loss = weight * float(_log_losses(scores, truth).sum())
        loss += (now.scale - mean) ** 2 / (2.0 * variance)
        loss += float(values[1:] @ values[1:]) / (2.0 * strength)
        gradient = values / strength
        gradient[0] = (error * logs).sum() + (now.scale - mean) / variance
        gradient[1 : 1 + n_classes] += error.sum(axis=0)
        if mixes:
            gradient[1 + n_classes :] += (logs.T @ error).ravel()
        return loss / n_samples, gradient / n_samples

    first = np.zeros(size)
    first[0] = mean
    if start is not None:
        first = np.concatenate([[start.scale], start.bias, start.matrix.ravel()])[:size]
    options = {"maxiter": _MOST_STEPS, "gtol": 1e-5}
    found = minimize(objective, first, jac=True, method="L-BFGS-B", options=options)
    return taken(np.asarray(found.x))


def _log_shares(truth: Ints, n_classes: int) -> Floats:
    counts = np.bincount(truth, minlength=n_classes) + 0.5
    return np.asarray(np.log(counts / counts.sum()))


def _largest_of_the_best(losses: Floats) -> int:
    """Return the last row of [S, V] that is as good as the best, but for a standard error.

    Log loss is much the same over a wide range, and wrong labels are ranked better by a large W.
    """
    more = losses - losses[int(np.argmin(losses.mean(axis=1)))]
    errors = more.std(axis=1) / np.sqrt(losses.shape[1])
    return int(np.flatnonzero(more.mean(axis=1) <= np.minimum(errors, AS_GOOD)).max())


def _log_losses(scores: Floats, truth: Ints) -> Floats:
    """Return -log softmax(scores)[truth] of each row."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    own = shifted[np.arange(len(truth)), truth]
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - own)
