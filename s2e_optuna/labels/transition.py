"""How true classes became given labels: the transition matrix, and the posterior that follows.

| symbol | meaning |
|---|---|
| p(k, x) | calibrated probability that the true class of sample x is k |
| g | given label of the sample |
| T[k, g] | probability that a sample of class k was labelled g; rows sum to one |
| K[k, g] | samples of class k with the label g that somebody has checked |
| M[k, g] | pseudo-samples: a symmetric matrix times their number for each row |
| q(k; x, g) | probability that the true class is k, after seeing sample and label |

If labels go wrong by class alone,

    q(k; x, g) = p(k, x) T[k, g], divided by its sum over k                      (2)
    T[k, g] = (sum of q(k; x, g) over samples labelled g, + K[k, g] + M[k, g])   (3)
              divided by its sum over g

(2) and (3) in turn are the EM algorithm for T (Dawid and Skene, Applied Statistics 28, 1979, with
one annotator and predictions in place of class shares). Every round makes the likelihood of the
labels, sum of log sum_k p(k, x) T[k, g], plus the log prior larger, or leaves it. The sum in (3)
never needs q itself: with d(x) = sum_k p(k, x) T[k, g], it is T[k, g] times the sum of
p(k, x)/d(x), so a round is two products of a matrix and a vector for each given label.

Networks that know little cannot tell C C numbers apart, and (3) alone then finds more wrong labels
than there are. M holds T to the symmetric matrix with the fewest wrong labels that the data allow:
the lower end of the likelihood ratio interval of its one number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from s2e_optuna.errors import DataError
from s2e_optuna.labels.arrays import (
    Floats,
    Ints,
    Real,
    as_labels,
    as_probabilities,
    blocks,
)

START = 0.5
"""First guess of the diagonal of T; the rest of a row is even."""

PRIOR_SAMPLES = 10.0
"""Pseudo-samples of each row."""

LEAST_RATE = 1e-3
"""Share of wrong labels in M at least, so that T can go anywhere."""

PLAUSIBLE = 1.92
"""Log likelihood that a number may lack: the ends of a 95 % interval."""

TOLERANCE = 1e-5
"""Rounds end when no entry of T changes by more."""

MOST_ROUNDS = 300


@dataclass(frozen=True, eq=False)
class Transition:
    """An estimate of T.

    Attributes
    ----------
    matrix
        float64 [C, C]; row k is the distribution of the given label of a sample of class k.
    rounds
        Rounds of EM.
    converged
        Whether they ended by the tolerance.
    """

    matrix: Floats
    rounds: int
    converged: bool


class ByLabel:
    """Probabilities [N, C], sorted by given label: one block of rows for each.

    Parameters
    ----------
    labels, pred_probs
        Given labels [N] and probabilities [N, C].
    """

    def __init__(self, labels: Ints, pred_probs: Real) -> None:
        self.order = np.argsort(labels, kind="stable")
        self.n_classes = pred_probs.shape[1]
        rows = pred_probs[self.order]
        ends = np.cumsum(np.bincount(labels, minlength=self.n_classes))
        self.blocks = np.split(rows, ends[:-1]) if self.n_classes else []

    def counts(self, matrix: Floats) -> Floats:
        """Return the sums of q over samples of each given label, [true, given]."""
        found = np.zeros((self.n_classes, self.n_classes))
        for given, block in enumerate(self.blocks):
            column = matrix[:, given].astype(block.dtype)
            found[:, given] = matrix[:, given] * ((1.0 / above_zero(block @ column)) @ block)
        return found


def estimate_transition(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    known: ArrayLike | None = None,
    prior: ArrayLike | None = None,
    tolerance: float = TOLERANCE,
    most_rounds: int = MOST_ROUNDS,
) -> Transition:
    """Estimate T by EM, equations (2) and (3).

    Parameters
    ----------
    labels
        Given labels, integers [N].
    pred_probs
        Calibrated probabilities of the true class [N, C]: `fit_calibration`.
    known
        K, counts [C, C] of checked samples by true class (rows) and given label.
    prior
        M, pseudo-counts [C, C]; by default `symmetric_prior`.
    tolerance, most_rounds
        When to stop.

    Raises
    ------
    DataError
        Arrays that do not fit together.

    Examples
    --------
    Of class 0 a quarter is labelled 1, and the probabilities say which samples:

    >>> import numpy as np
    >>> true = np.repeat([0, 1], 2000)
    >>> labels = np.where(np.arange(4000) < 500, 1, true)
    >>> estimate_transition(labels, 0.001 + 0.998 * np.eye(2)[true]).matrix.round(2)
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    values = as_probabilities(pred_probs)
    given, n_classes = as_labels(labels, *values.shape), values.shape[1]
    if prior is None:
        pseudo = symmetric_prior(least_symmetric_rate(given, values), n_classes)
    else:
        pseudo = as_counts(prior, n_classes)
    rows, pseudo = ByLabel(given, values), pseudo + as_counts(known, n_classes)
    matrix = symmetric_matrix(1.0 - START, n_classes)
    for done in range(1, most_rounds + 1):
        before, matrix = matrix, rows_to_one(rows.counts(matrix) + pseudo)
        if np.abs(matrix - before).max() < tolerance:
            return Transition(matrix, done, True)
    return Transition(matrix, most_rounds, False)


def symmetric_matrix(rate: float, n_classes: int) -> Floats:
    """Return T [C, C] where a share of every class's labels is wrong, spread evenly."""
    if n_classes == 1:
        return np.ones((1, 1))
    matrix = np.full((n_classes, n_classes), rate / (n_classes - 1))
    np.fill_diagonal(matrix, 1.0 - rate)
    return matrix


def symmetric_prior(rate: float, n_classes: int) -> Floats:
    """Return M [C, C] for a symmetric matrix with this share of wrong labels."""
    return PRIOR_SAMPLES * symmetric_matrix(max(rate, LEAST_RATE), n_classes)


def least_symmetric_rate(labels: Ints, pred_probs: Real) -> float:
    """Return the smallest plausible share of wrong labels, if T is symmetric."""
    n_samples, n_classes = pred_probs.shape
    if n_samples == 0 or n_classes == 1:
        return 0.0
    own = pred_probs[np.arange(n_samples), labels].astype(np.float64)
    others = (1.0 - own) / (n_classes - 1)
    rates = np.concatenate([[0.0], np.geomspace(1e-3, 1.0 - 1.0 / n_classes, 100)])
    fits = [np.log(np.maximum(own + rate * (others - own), 1e-300)).sum() for rate in rates]
    return float(rates[np.argmax(np.array(fits) >= max(fits) - PLAUSIBLE)])


def label_posterior(labels: ArrayLike, pred_probs: ArrayLike, matrix: ArrayLike) -> Real:
    """Return q [N, C], equation (2): what to believe of each label, and to train on.

    Parameters
    ----------
    labels, pred_probs
        As for `estimate_transition`.
    matrix
        T [C, C].

    Examples
    --------
    Where one in ten labels is wrong, a network that is as sure as the label leaves it at even:

    >>> label_posterior([0], [[0.1, 0.9]], [[0.9, 0.1], [0.1, 0.9]]).round(2)
    array([[0.5, 0.5]])
    """
    values = as_probabilities(pred_probs)
    given = as_labels(labels, *values.shape)
    columns = np.asarray(matrix, dtype=values.dtype).T
    found = np.take(columns, given, axis=0)
    found *= values
    sums = found.sum(axis=1, keepdims=True)
    found /= above_zero(sums)
    never = sums[:, 0] == 0.0  # no class that is possible has this label: the label says nothing
    found[never] = values[never]
    return np.asarray(found)


def wrong_probability(labels: ArrayLike, pred_probs: ArrayLike, matrix: ArrayLike) -> Real:
    """Return 1 - q of the given label, [N].

    Parameters
    ----------
    labels, pred_probs, matrix
        As for `label_posterior`.

    Examples
    --------
    >>> wrong_probability([0], [[0.1, 0.9]], [[0.9, 0.1], [0.1, 0.9]]).round(2)
    array([0.5])
    """
    values = as_probabilities(pred_probs)
    given = as_labels(labels, *values.shape)
    columns = np.asarray(matrix, dtype=values.dtype).T
    own = values[np.arange(len(given)), given]
    right, every = own * columns[given, given], np.empty_like(own)
    for block in blocks(len(given)):
        every[block] = np.einsum("nk,nk->n", values[block], columns[given[block]])
    wrong = np.where(every > 0.0, (every - right) / above_zero(every), 1.0 - own)
    return np.asarray(np.clip(wrong, 0.0, 1.0))


def as_counts(counts: ArrayLike | None, n_classes: int) -> Floats:
    """Return counts [C, C], zeros for None; DataError unless they are some."""
    if counts is None:
        return np.zeros((n_classes, n_classes))
    values = np.asarray(counts, dtype=np.float64)
    if values.shape != (n_classes, n_classes) or not (values >= 0).all():
        raise DataError(f"counts must be numbers of the shape [{n_classes}, {n_classes}], >= 0")
    return values


def count_pairs(true: ArrayLike, given: ArrayLike, n_classes: int) -> Floats:
    """Count checked samples by true class (rows) and given label, [C, C]: K.

    Parameters
    ----------
    true, given
        True classes and given labels of the checked samples, integers [K].
    n_classes
        C.

    Examples
    --------
    >>> count_pairs([0, 0, 1], [0, 1, 1], 2)
    array([[1., 1.],
           [0., 1.]])
    """
    truth = np.asarray(true)
    labels = as_labels(given, len(truth), n_classes)
    found = np.zeros((n_classes, n_classes))
    np.add.at(found, (as_labels(truth, len(truth), n_classes), labels), 1.0)
    return found


def rows_to_one(counts: Floats) -> Floats:
    """Divide rows [..., C, C] by their sums; one without a sum becomes that of the identity."""
    sums = counts.sum(axis=-1, keepdims=True)
    own = np.eye(counts.shape[-1])
    return np.asarray(np.where(sums > 0.0, counts / np.where(sums > 0.0, sums, 1.0), own))


def above_zero(values: Real) -> Real:
    """Return what can be divided by."""
    return np.maximum(values, np.finfo(values.dtype).tiny)
