"""How many labels are wrong, with intervals.

| symbol | meaning |
|---|---|
| T, q | transition matrix and posterior (`s2e_optuna.labels.transition`) |
| s(x, g) | 1 - q(g; x, g) with a symmetric T: how wrong a label g looks at sample x |
| S | mean of s over the given labels |
| s0, s1 | mean of s over clean samples, with true labels, and with wrong ones drawn from T |
| w | share of wrong labels |

Right labels look wrong now and then, and some wrong ones look right: S = (1 - w) s0 + w s1, so

    w = (S - s0)/(s1 - s0)     (5)

Clean samples, judged by calibrations that have not seen them, say what s0 and s1 are, whatever the
calibration is worth: this is the adjusted count of quantification (Forman, 2008) with shares in
place of counts. s has one number, the rate of the symmetric matrix: T, fitted to the given labels,
would find its own errors among these and not among the clean ones. Where no label is known to be
right, w is the mean of 1 - q(g; x, g) itself.

People and networks confuse the same things, and wrong labels then look less wrong than those drawn
from T: s1 is too large and w too small. How much so cannot be seen in single samples, but classes
tell: drawn labels go astray anywhere, those of people where predictions do. So s1 is that of wrong
labels drawn from T times p(g, x) to the power of h/4, which makes confusions that predictions
have, too, more frequent. h goes from 0 to 1 as the slope of log T over the logarithm of mean
predictions by class, off the diagonal, goes from .3 to .7 (`confused_alike`). Where labels were
drawn it was -.25 to .47, with CIFAR-10N's .52 to .95, with those drawn by another classifier .9 to
1.1. The interval ends with h = 0 below, and with h = 1 above.

Lists take another number, h', that has to be surer: it goes from 0 to 1 as the slope goes from .4
to 1, and as it goes from three of its standard errors to five, for with few classes it is chance.

Intervals come from Bayesian bootstraps (Rubin, Annals of Statistics 9, 1981): all samples, and all
clean ones, get random weights; T is estimated again with them, from where it was, and stretched
until its share of wrong labels is that of (5). V clean samples none of which looks wrong do not
say that none ever would: s0 is larger by a random number around 1/(2V), as under Jeffreys' prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2e_optuna.labels.arrays import Floats, Ints, Real
from s2e_optuna.labels.transition import ByLabel, above_zero, rows_to_one, wrong_probability

DRAWS = 200
"""Bootstrap samples."""

INTERVAL = 0.025, 0.975
"""Quantiles that intervals end at."""

CONFUSED_ALIKE = 0.25
"""Power of p(g, x) at most: how much wrong labels go where networks go wrong."""

SLOPES = 0.3, 0.7
"""Slopes between which classes that are confused alike come to count."""

LISTED_SLOPES = 0.4, 1.0
SURE = 3.0, 5.0
"""Slopes, and slopes in standard errors, between which they come to count for lists."""

RARE = 0.1
"""Added to shares, in shares of an even spread: what is rarer is not told apart."""

_AT_ONCE = 25
_MOST_ROUNDS, _TOLERANCE = 20, 2e-3


@dataclass(frozen=True, eq=False)
class NoiseRate:
    """Shares of wrong labels, and the transition matrix, each with a 95 % interval.

    Attributes
    ----------
    overall, interval
        w, and its ends.
    by_class, by_class_interval
        Share of wrong labels among those given as each class, float64 [C] and [2, C]; NaN where
        no sample has the label.
    matrix, matrix_interval
        T, float64 [C, C] and [2, C, C].
    least
        Share of wrong labels that the data need at least: the lower end of a one-sided 95 %
        interval; 0 where no label need be wrong.
    """

    overall: float
    interval: tuple[float, float]
    by_class: Floats
    by_class_interval: Floats
    matrix: Floats
    matrix_interval: Floats
    least: float


@dataclass(frozen=True, eq=False)
class Draws:
    """A bootstrap: T, its counts of true and given classes, and S, of every draw.

    Attributes
    ----------
    matrices, counts
        [B, C, C]; counts are sums of q by true class and given label.
    looks_wrong
        S, [B].
    """

    matrices: Floats
    counts: Floats
    looks_wrong: Floats


def stretched(matrix: ArrayLike, factor: float | Floats) -> Floats:
    """Multiply what lies off the diagonal of T by a factor, as far as rows still sum to one.

    Parameters
    ----------
    matrix
        T [..., C, C].
    factor
        0 for the identity, 1 for T itself, above 1 for more wrong labels; one for each matrix.

    Examples
    --------
    >>> stretched([[0.9, 0.1], [0.2, 0.8]], 0.5)
    array([[0.95, 0.05],
           [0.1 , 0.9 ]])
    """
    values = np.asarray(matrix, dtype=np.float64)
    off = values * (1.0 - np.eye(values.shape[-1]))
    off = off * np.asarray(factor)[..., None, None]
    off /= np.maximum(off.sum(axis=-1, keepdims=True), 1.0)
    own = 1.0 - off.sum(axis=-1)
    return np.asarray(off + own[..., None] * np.eye(values.shape[-1]))


def false_alarms(
    labels: Ints,
    pred_probs: ArrayLike,
    matrix: Floats,
    even: Floats,
    powers: Sequence[float],
) -> tuple[Floats, Floats]:
    """Return s of clean samples: with their labels, and with wrong ones, drawn in several ways.

    Parameters
    ----------
    labels
        True labels [V].
    pred_probs
        Calibrated probabilities [F, V, C] by calibrations that have not seen them; means over F.
    matrix, even
        T, and the symmetric matrix.
    powers
        P of them; wrong labels are drawn from T times p(g, x) to each power.

    Returns
    -------
    tuple of ndarray
        With true labels [V]; with wrong ones [P, V].
    """
    values = np.asarray(pred_probs, dtype=np.float64)
    networks, n_samples, n_classes = values.shape
    right, wrong = np.zeros(n_samples), np.zeros((len(powers), n_samples))
    off = (matrix * (1.0 - np.eye(n_classes)))[labels]
    for network in values:
        looks = np.empty((n_samples, n_classes))
        for given in range(n_classes):
            looks[:, given] = wrong_probability(np.full(n_samples, given), network, even)
        right += looks[np.arange(n_samples), labels] / networks
        for found, power in zip(wrong, powers, strict=True):
            found += _mean(looks, off * network**power) / networks
    return right, wrong


def confused_alike(matrix: Floats, labels: Ints, pred_probs: ArrayLike) -> tuple[float, float]:
    """Say whether labels go wrong where predictions do, class by class: h and h'.

    Parameters
    ----------
    matrix
        T [C, C].
    labels, pred_probs
        As for `false_alarms`.

    Examples
    --------
    Of three classes the first two are alike, for predictions and in one of two matrices:

    >>> predictions = np.array([[[0.7, 0.25, 0.05], [0.25, 0.7, 0.05], [0.1, 0.1, 0.8]]])
    >>> people = np.array([[0.8, 0.18, 0.02], [0.18, 0.8, 0.02], [0.1, 0.1, 0.8]])
    >>> drawn = 0.7 * np.eye(3) + 0.1
    >>> [confused_alike(matrix, np.arange(3), predictions)[0] for matrix in (people, drawn)]
    [1.0, 0.0]
    """
    values, n_classes = np.asarray(pred_probs, dtype=np.float64), len(matrix)
    present = np.unique(labels)
    means = [values[:, labels == k].mean(axis=(0, 1)) for k in present]
    off = ~np.eye(n_classes, dtype=bool)[present]
    if n_classes < 3:
        return 0.0, 0.0
    shares = []
    for rows in (matrix[present], np.stack(means)):
        others = rows[off].reshape(len(present), n_classes - 1)
        others = others / np.maximum(others.sum(axis=1, keepdims=True), 1e-12)
        shares.append(np.log(others + RARE / (n_classes - 1)).ravel())
    t, p = (values - values.mean() for values in shares)
    variance = float(p @ p)
    if variance <= 1e-9:
        return 0.0, 0.0
    slope = float(t @ p) / variance
    rest = t - slope * p
    error = float(np.sqrt(rest @ rest / max(len(rest) - 2, 1) / variance))
    listed = _share(slope, LISTED_SLOPES) * _share(slope / max(error, 1e-9), SURE)
    return _share(slope, SLOPES), listed


def _share(value: float, ends: tuple[float, float]) -> float:
    return min(max((value - ends[0]) / (ends[1] - ends[0]), 0.0), 1.0)


def _mean(values: Floats, weights: Floats) -> Floats:
    return np.asarray((values * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-300))


def adjusted(looks: ArrayLike, right: ArrayLike, wrong: ArrayLike) -> Floats:
    """Return w, equation (5), within 0 and 1; 0 where wrong labels look no worse than right ones.

    Parameters
    ----------
    looks, right, wrong
        S, s0 and s1, numbers or arrays of one shape.

    Examples
    --------
    >>> adjusted([0.3, 0.02], 0.05, 0.9).round(3)
    array([0.294, 0.   ])
    """
    s, s0, s1 = (np.asarray(value, dtype=np.float64) for value in (looks, right, wrong))
    known = s1 - s0 > 1e-6
    shares = (s - s0) / np.where(known, s1 - s0, 1.0)
    return np.asarray(np.where(known, np.clip(shares, 0.0, 1.0), 0.0))


def bootstrap(
    rows: ByLabel,
    looks: Floats,
    matrix: Floats,
    pseudo: Floats,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Draws:
    """Estimate T again and again with random weights of the samples.

    Parameters
    ----------
    rows
        Calibrated probabilities by given label.
    looks
        s of each sample, in the order of `rows`.
    matrix, pseudo
        T, where EM goes on from, and what is added to its counts.
    rng
        Random numbers.
    draws
        B.
    """
    n_classes, n_samples = rows.n_classes, len(looks)
    matrices = np.tile(matrix, (draws, 1, 1))
    counts, means = np.zeros_like(matrices), np.zeros(draws)
    ends = np.cumsum([len(block) for block in rows.blocks])[:-1]
    for first in range(0, draws, _AT_ONCE):
        part = slice(first, min(first + _AT_ONCE, draws))
        size = part.stop - part.start
        weights = rng.standard_exponential((n_samples, size), dtype=np.float32)
        weights /= weights.mean(axis=0) if n_samples else 1.0
        means[part] = looks @ weights / max(n_samples, 1)
        blocks = np.split(weights, ends)
        added = rng.gamma(np.broadcast_to(pseudo, (size, *pseudo.shape)))
        for _ in range(_MOST_ROUNDS):
            counts[part] = _weighted_counts(rows, blocks, matrices[part], n_classes)
            before = matrices[part].copy()
            matrices[part] = rows_to_one(counts[part] + added)
            if np.abs(matrices[part] - before).max() < _TOLERANCE:
                break
    return Draws(matrices, counts, means)


def _weighted_counts(
    rows: ByLabel, weights: list[NDArray[np.float32]], matrices: Floats, n_classes: int
) -> Floats:
    """Return the sums of q times the weights, for each draw: [B, true, given]."""
    found = np.zeros((len(matrices), n_classes, n_classes))
    for given, (block, weight) in enumerate(zip(rows.blocks, weights, strict=True)):
        columns = matrices[:, :, given].astype(block.dtype)
        shares: Real = weight / above_zero(block @ columns.T)
        found[:, :, given] = matrices[:, :, given] * (shares.T @ block)
    return found


def summarise(
    draws: Draws,
    matrix: Floats,
    counts: Floats,
    overall: float,
    drawn: Floats,
    ends: tuple[float, float],
    least: float,
) -> NoiseRate:
    """Put estimates and their intervals together.

    Parameters
    ----------
    draws, matrix, counts
        The bootstrap, T, and the sums of q with T by true class and given label.
    overall, drawn
        w, and w of each draw [B].
    ends
        Ends of its interval.
    least
        What the data need at least.
    """
    rate, shares = _rates(counts)
    factor = overall / max(float(rate), 1e-12)
    rates, classes = _rates(draws.counts)
    factors = drawn / np.maximum(rates, 1e-12)
    matrices = stretched(draws.matrices, factors)
    by_class = np.minimum(factor * shares, 1.0)
    return NoiseRate(
        overall=overall,
        interval=(min(ends[0], overall), max(ends[1], overall)),
        by_class=by_class,
        by_class_interval=_ends(np.minimum(factors[:, None] * classes, 1.0), by_class),
        matrix=stretched(matrix, np.float64(factor)),
        matrix_interval=_ends(matrices, stretched(matrix, np.float64(factor))),
        least=least,
    )


def _rates(counts: Floats) -> tuple[Floats, Floats]:
    """Return shares of wrong labels, overall [...] and by given label [..., C], or NaN."""
    own, given = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-2)
    overall = 1.0 - own.sum(axis=-1) / np.maximum(given.sum(axis=-1), 1e-12)
    with np.errstate(invalid="ignore"):
        return overall, np.where(given > 0, 1.0 - own / np.where(given > 0, given, 1.0), np.nan)


def _ends(drawn: Floats, estimate: Floats) -> Floats:
    """Return the ends of intervals [2, ...] that hold their estimates."""
    low, high = np.quantile(drawn, INTERVAL, axis=0)
    return np.stack([np.minimum(low, estimate), np.maximum(high, estimate)])
