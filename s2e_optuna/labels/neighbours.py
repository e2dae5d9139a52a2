"""The witness that learns nothing: given labels of the most similar other samples.

| symbol | meaning |
|---|---|
| x | features of a sample, or its pixels in a row; D numbers |
| d_i | distance from a sample to its neighbour number i of K others |
| v_i | exp(-2 (d_i / d_K)^2): what this neighbour's label counts |

A sample's probabilities are the counts of its neighbours' given labels, each weighed by v_i, and a
little more for every class, divided by their sum. It has not been asked about its own label, so
each sample is out of sample. Networks and regressions go wrong together where wrong labels have
bent them; neighbours go wrong elsewhere, and so the two tell more together than twice as much of
either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.cores import one_thread
from s2e_optuna.data.noisy_data import NOT_CHECKED, NoisyData
from s2e_optuna.labels.linear import sample_rows
from s2e_optuna.labels.out_of_fold import Unseen

NEIGHBOURS = 20
"""K, at most."""

MOST_REFERENCES = 20_000
"""Samples that are looked among: of more, so many drawn at random. The time grows with both."""

PSEUDO_COUNT = 0.1

Single = NDArray[np.float32]


def neighbours(data: NoisyData, seed: int = 0) -> Unseen:
    """Predict training and validation samples by the labels of the training samples nearby.

    Parameters
    ----------
    data
        Samples for which `s2e_optuna.labels.linear.fits_linear` is true.
    seed
        Of the draw among many samples.
    """
    with one_thread():
        x, given = sample_rows(data.x_train, data), data.y_train.numpy()
        among = np.arange(len(given))
        if len(among) > MOST_REFERENCES:
            drawn = np.random.default_rng(seed).choice(among, MOST_REFERENCES, replace=False)
            among = np.sort(drawn)
        own = np.full(len(given), -1)
        own[among] = np.arange(len(among))
        labels = given[among]
        training = neighbour_votes(x, x[among], labels, data.n_classes, own)
        held_out = neighbour_votes(sample_rows(data.x_val, data), x[among], labels, data.n_classes)
    if data.validation == "clean":
        return Unseen(training, held_out[None], samples=data.identity)
    checked = None
    if data.val_checked is not None:
        checked = held_out[None, (data.val_checked != NOT_CHECKED).numpy()]
    return Unseen(training, checked, held_out, data.identity)


def neighbour_votes(
    x: Single,
    among: Single,
    labels: NDArray[np.int64],
    n_classes: int,
    own: NDArray[np.int64] | None = None,
) -> Single:
    """Return class probabilities [N, C] of samples by the labels of others.

    Parameters
    ----------
    x
        Samples [N, D].
    among, labels
        Samples to look among [M, D], and their labels [M].
    n_classes
        C.
    own
        Position of each sample among these, which is left out; -1 where it is none of them.

    Examples
    --------
    >>> among = np.array([[0.0], [0.1], [5.0], [5.1]], dtype=np.float32)
    >>> labels = np.array([0, 0, 1, 1])
    >>> neighbour_votes(np.array([[0.05]], dtype=np.float32), among, labels, 2).round(2)
    array([[0.85, 0.15]], dtype=float32)
    """
    from sklearn.neighbors import NearestNeighbors

    votes = np.full((len(x), n_classes), PSEUDO_COUNT, dtype=np.float32)
    spare = int(own is not None)
    most = min(NEIGHBOURS, len(among) - spare)
    if most < 1:
        return np.asarray(votes / votes.sum(axis=1, keepdims=True))
    search = NearestNeighbors(n_neighbors=most + spare, algorithm="brute").fit(among)
    distances, nearest = search.kneighbors(x)
    if own is not None:
        out = nearest == own[:, None]
        out[~out.any(axis=1), -1] = True  # one that is not among them loses the farthest
        distances, nearest = (found[~out].reshape(-1, most) for found in (distances, nearest))
    farthest = distances[:, -1:]
    counts = np.exp(-2.0 * (distances / np.where(farthest > 0.0, farthest, 1.0)) ** 2)
    rows = np.repeat(np.arange(len(x)), most)
    np.add.at(votes, (rows, labels[nearest].ravel()), counts.astype(np.float32).ravel())
    return np.asarray(votes / votes.sum(axis=1, keepdims=True))
