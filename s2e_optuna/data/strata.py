"""Orders and parts of samples that hold every class in proportion."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.int64]


def stratified_order(labels: ArrayLike, rng: np.random.Generator) -> Rows:
    """Order samples at random so that every leading part has the classes in proportion."""
    values = np.asarray(labels)
    order = rng.permutation(len(values))
    position = np.empty(len(values))
    for label in np.unique(values):
        members = order[values[order] == label]
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(position[order], kind="stable")]


def dealt(labels: ArrayLike, parts: int, rng: np.random.Generator) -> Rows:
    """Deal samples out to parts at random, each with its share of every class.

    Not every so-manieth of `stratified_order`: there classes of about one size take turns, and
    ten of them dealt to five parts would come to two a part.

    Parameters
    ----------
    labels
        Classes [N].
    parts
        How many parts.
    rng
        Draws who of a class goes where.

    Returns
    -------
    ndarray
        The part of each sample, 0 to parts - 1 [N].
    """
    values = np.asarray(labels)
    order = rng.permutation(len(values))
    order = order[np.argsort(values[order], kind="stable")]
    part = np.empty(len(values), dtype=np.int64)
    part[order] = np.arange(len(values)) % parts
    return part
