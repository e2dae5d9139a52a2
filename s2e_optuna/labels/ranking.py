"""Which labels to look at: those that are wrong even if as few are as the data allow.

| symbol | meaning |
|---|---|
| p, T, q | calibrated probabilities, transition matrix, posterior: see `transition` |
| T' | T, stretched so far towards the identity that the share of wrong labels is the least |
| r | how many times as frequent false alarms are as p and T' expect; 1 at least |

A label is wrong with the odds

    (1 - q'(g))/q'(g)/r,  q' being the posterior with T'     (6)

with r counted among clean samples. It is listed where these are above one and neither p nor q' has
the given class as the most probable one. Where the data need no wrong label, nothing is listed,
and (6) with half a wrong label in all only ranks. Where labels go wrong as predictions do (h', see
`noise_rate`), p has said already what T says of pairs of classes: T' goes to the power 1 - h'/2
off the diagonal, with rows that sum to what they did (`evened`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.labels.arrays import Floats, Ints, Real, blocks
from s2e_optuna.labels.transition import above_zero, label_posterior, wrong_probability

RECOGNISED = 2
"""Samples of a class that predictions must recognise; else its labels are not judged."""

USUAL_ALARMS = 2.0
"""r where nothing is counted, as the tasks of `studies.bench_suspects` have it."""

_WEIGHT = 1.0  # of that, in expected false alarms


@dataclass(frozen=True, eq=False)
class Ranking:
    """Labels by how probably they are wrong.

    Attributes
    ----------
    wrong_probability
        By equation (6), float64 [N].
    listed
        Which labels to look at [N].
    proposed
        Most probable class [N], other than the given one where that is listed.
    """

    wrong_probability: Floats
    listed: NDArray[np.bool_]
    proposed: Ints


def evened(matrix: Floats, alike: float) -> Floats:
    """Return T' that says less of what predictions know.

    Parameters
    ----------
    matrix
        T' [C, C].
    alike
        h': 0 leaves the matrix, 1 takes roots of what is off the diagonal.

    Examples
    --------
    >>> evened(np.array([[0.5, 0.4, 0.1], [0.2, 0.8, 0.0], [0.0, 0.0, 1.0]]), 1.0).round(2)
    array([[0.5 , 0.33, 0.17],
           [0.2 , 0.8 , 0.  ],
           [0.  , 0.  , 1.  ]])
    """
    own = np.eye(len(matrix), dtype=bool)
    before = np.where(own, 0.0, matrix)
    found = np.where(own, 0.0, before ** (1.0 - alike / 2.0))
    found *= before.sum(axis=1, keepdims=True) / above_zero(found.sum(axis=1, keepdims=True))
    return np.where(own, matrix, found)


def not_recognised(labels: Ints, pred_probs: Real) -> NDArray[np.bool_]:
    """Return for each class whether its labels cannot be judged [C].

    A class with one or three samples is one that networks have not learnt: they find each of its
    labels wrong, and would if all were right. So a class is judged if predictions say it of
    `RECOGNISED` of its samples.

    Examples
    --------
    >>> pred_probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    >>> not_recognised(np.array([0, 0, 1]), pred_probs)
    array([False,  True])
    """
    n_classes = pred_probs.shape[1]
    right = labels[pred_probs.argmax(axis=1) == labels] if len(labels) else labels
    return np.asarray(np.bincount(right, minlength=n_classes) < RECOGNISED)


def alarm_ratio(labels: Ints, pred_probs: Real, matrix: Floats) -> float:
    """Return r: how many clean samples would be listed, over how many were expected to be.

    Parameters
    ----------
    labels
        True labels of clean samples [V].
    pred_probs
        Their probabilities [F, V, C] by calibrations that have not seen them; means over F.
    matrix
        T'.
    """
    n_classes = pred_probs.shape[2]
    expected = found = 0.0
    for network in pred_probs:
        best = network.argmax(axis=1)
        for given in range(n_classes):
            same = np.full(len(labels), given)
            out = (wrong_probability(same, network, matrix) > 0.5) & (best != given)
            expected += float(network[out, given].sum()) / len(pred_probs)
            found += float((labels[out] == given).sum()) / len(pred_probs)
    return max((found + USUAL_ALARMS * _WEIGHT) / (expected + _WEIGHT), 1.0)


def rank_labels(
    labels: Ints,
    pred_probs: Real,
    matrix: Floats,
    *,
    alarms: float = 1.0,
    judged: NDArray[np.bool_] | None = None,
    rate: float = 0.0,
    lists: bool = True,
) -> Ranking:
    """Rank labels, equation (6).

    Parameters
    ----------
    labels, pred_probs
        Given labels [N] and calibrated probabilities [N, C].
    matrix
        T'.
    alarms
        r.
    judged
        Which classes are judged [C]; labels of others get the overall rate.
    rate
        That rate.
    lists
        Whether any label may be listed.

    Examples
    --------
    >>> pred_probs = np.array([[0.01, 0.99], [0.4, 0.6], [0.1, 0.9]])
    >>> found = rank_labels(np.array([0, 0, 1]), pred_probs, np.array([[0.9, 0.1], [0.1, 0.9]]))
    >>> found.wrong_probability.round(2), found.listed, found.proposed
    (array([0.92, 0.14, 0.01]), array([ True, False, False]), array([1, 0, 1]))
    """
    wrong = wrong_probability(labels, pred_probs, matrix).astype(np.float64)
    wrong = wrong / (wrong + alarms * (1.0 - wrong))
    best = np.empty(len(labels), dtype=np.int64)
    for block in blocks(len(labels)):
        posterior = label_posterior(labels[block], pred_probs[block], matrix)
        best[block] = posterior.argmax(axis=1)
    listed = (wrong > 0.5) & (best != labels) & (pred_probs.argmax(axis=1) != labels) & lists
    if judged is not None:
        listed &= judged[labels]
        wrong = np.where(judged[labels], wrong, rate)
    return Ranking(wrong, listed, best)
