"""Predictions as a second witness of the true class, whose habits are learnt with the labels'.

| symbol | meaning |
|---|---|
| g | given label of a sample; C classes |
| p(k, x) | probabilities by networks that may have learnt wrong labels |
| s(x) | what is seen of p(., x), C numbers: roots, or logarithms |
| m[k] | mean of s over the samples of class k |
| v | mean squared deviation of one of the numbers of s from that of its class |
| f[k] | share of class k |
| T[k, g] | probability that a sample of class k was labelled g |
| w(k; x, g) | probability that the true class is k; where somebody has looked 1 or 0 |

Networks that have learnt wrong labels predict those, too: with pair noise of 45% they say of a
sample nearly as often the next class as the true one, and believe either. So p is no belief here,
only what such samples look like.

    w(k; x, g) = f[k] exp(-|s(x) - m[k]|^2/4v) T[k, g], divided by its sum over k     (8)

m, v, f and T are means over the samples, each counted by its w, and twenty rounds of EM find them,
from w(k; x, g) = p(k, x) T[k, g]. v brings its own scale, so an unsure network tells as much as a
sure one; normal distributions would have 2v, but the C numbers are not independent. Pseudo-samples
stay in the counts: one of each class that looks as p itself believes, and three of each that are
labelled wrong as often as the checked ones were (half a wrong one of one more), evenly. Dawid and
Skene, Applied Statistics 28, 1979, have several annotators in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s2e_optuna.labels.arrays import Floats, Ints, Real, logits, softmax
from s2e_optuna.labels.calibration import MOST_CLASSES_MIXED, Calibration, parts_of
from s2e_optuna.labels.transition import (
    above_zero,
    label_posterior,
    rows_to_one,
    symmetric_matrix,
)

PSEUDO_SAMPLES = 3.0
"""Of each class, that are labelled as the checked ones are."""

ROUNDS = 20

UNKNOWN = -1
"""True class where nobody has looked."""

MOST_NUMBERS = 500_000
"""Probabilities of samples that nobody has looked at that habits are learnt from, at most."""

_LEAST_VARIANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Habits:
    """Equation (8) with its numbers.

    Attributes
    ----------
    weights
        w of the samples it was learnt from, float64 [N, C].
    matrix
        T, float64 [C, C].
    means, variance
        m [C, C], and v.
    samples
        N f [C], with the pseudo-samples.
    """

    weights: Floats
    matrix: Floats
    means: Floats
    variance: float
    samples: Floats

    def calibration(self) -> Calibration:
        """Return what s says without a label, for logarithms of p in s: linear in these."""
        bias = np.log(self.samples) - (self.means**2).sum(axis=1) / (4.0 * self.variance)
        return Calibration(0.0, bias, self.means.T / (2.0 * self.variance), 1.0)


def learn_habits(
    labels: Ints, pred_probs: Real, seen: Floats, true: Ints, counted: Floats | None = None
) -> Habits:
    """Find the numbers of equation (8) by EM.

    Parameters
    ----------
    labels
        Given labels [N].
    pred_probs
        p [N, C].
    seen
        s [N, C].
    true
        True classes, `UNKNOWN` where nobody has looked [N]; some are known.
    counted
        How much each sample counts [N]; by default 1.
    """
    n_classes, known = pred_probs.shape[1], true != UNKNOWN
    share = np.ones(len(labels)) if counted is None else counted
    own, pairs = np.eye(n_classes), np.zeros((n_classes, n_classes))
    np.add.at(pairs, (true[known], labels[known]), share[known])
    wrong = pairs.sum() - np.trace(pairs)
    rate = float((wrong + 0.5) / (pairs.sum() + 1.0))  # not 0: none of ten says little
    pseudo = PSEUDO_SAMPLES * symmetric_matrix(rate, n_classes)
    matrix = rows_to_one(pairs + pseudo)
    belief = pred_probs * share[:, None]
    believed = belief.T @ seen / above_zero(belief.sum(axis=0))[:, None]
    squares, given = (seen**2).sum(axis=1)[:, None], own[labels]
    weights = np.asarray(label_posterior(labels, pred_probs, matrix), dtype=np.float64)
    for _ in range(ROUNDS):
        weights[known] = own[true[known]]
        part = weights * share[:, None]
        matrix = rows_to_one(part.T @ given + pseudo)
        samples = part.sum(axis=0) + 1.0
        means = (part.T @ seen + believed) / samples[:, None]
        apart = squares - 2.0 * seen @ means.T + (means**2).sum(axis=1)
        variance = max(float((part * apart).sum() / share.sum() / n_classes), _LEAST_VARIANCE)
        looks = softmax(np.log(samples) - apart / (4.0 * variance))
        weights = np.asarray(label_posterior(labels, looks, matrix))
    weights[known] = own[true[known]]
    return Habits(weights, matrix, means, variance, samples)


def calibrate_by_habits(
    labels: Ints, pred_probs: Real, true: Ints, clean: Real, given: Ints
) -> tuple[Calibration, Real] | None:
    """Calibrate predictions by their habits, learnt from checked and unchecked samples.

    Parameters
    ----------
    labels, pred_probs
        Given labels [N] and predictions [N, C] of samples that nobody has looked at.
    true, given
        True and given labels of checked ones [V].
    clean
        Their predictions [F, V, C], by each of F networks.

    Returns
    -------
    tuple or None
        A calibration, and what those that were learnt without a part of the checked samples say of
        it, [F, V, C]. None with more classes than `MOST_CLASSES_MIXED`.
    """
    networks, n_checked, n_classes = clean.shape
    if n_classes > MOST_CLASSES_MIXED:
        return None
    most = max(MOST_NUMBERS // n_classes, 1)
    if len(labels) > most:
        chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[:most])
        labels, pred_probs = labels[chosen], pred_probs[chosen]
    looks = logits(pred_probs)

    def learnt(rows: Ints) -> Calibration:
        checked = clean[:, rows].reshape(-1, n_classes)
        counted = np.full(len(checked), 1.0 / networks)  # all networks' together as one
        return learn_habits(
            np.concatenate([labels, np.tile(given[rows], networks)]),
            np.concatenate([pred_probs, checked]),
            np.concatenate([looks, logits(checked)]),
            np.concatenate([np.full(len(labels), UNKNOWN), np.tile(true[rows], networks)]),
            np.concatenate([np.ones(len(labels)), counted]),
        ).calibration()

    part, held_out = parts_of(n_checked), np.empty(clean.shape)
    for number in np.unique(part) if n_checked > 1 else ():
        out = part == number
        held_out[:, out] = learnt(np.flatnonzero(~out)).apply(clean[:, out])
    every = learnt(np.arange(n_checked))
    return every, every.apply(clean) if n_checked < 2 else held_out
