"""Equal samples with different labels: the surest wrong labels there are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from s2e_optuna.errors import DataError


@dataclass(frozen=True)
class Contradiction:
    """A group of equal samples that have more than one label.

    Attributes
    ----------
    rows
        Positions of all samples of the group, in ascending order.
    labels
        Their labels, integers.
    """

    rows: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def least_wrong(self) -> int:
        """How many of these labels are wrong at least, if each sample has one true class."""
        return len(self.labels) - max(self.labels.count(label) for label in set(self.labels))


def contradictions(labels: ArrayLike, digests: Sequence[Hashable]) -> list[Contradiction]:
    """Find equal samples with different labels.

    Parameters
    ----------
    labels
        Given labels, integers [N].
    digests
        A value for each sample [N] that is the same for equal samples: a hash of its content.

    Returns
    -------
    list of Contradiction
        In the order of their first samples.

    Raises
    ------
    DataError
        Not one digest for each label.

    Examples
    --------
    >>> found = contradictions([0, 1, 2, 1, 1], ["a", "b", "c", "a", "a"])
    >>> found
    [Contradiction(rows=(0, 3, 4), labels=(0, 1, 1))]
    >>> found[0].least_wrong
    1
    """
    given = np.asarray(labels)
    if len(given) != len(digests):
        raise DataError(f"{len(digests)} digests for {len(given)} labels: give one for each")
    groups: dict[Hashable, list[int]] = {}
    for row, digest in enumerate(digests):
        groups.setdefault(digest, []).append(row)
    return [
        Contradiction(tuple(rows), tuple(int(label) for label in given[rows]))
        for rows in groups.values()
        if len(rows) > 1 and len(set(given[rows].tolist())) > 1
    ]
