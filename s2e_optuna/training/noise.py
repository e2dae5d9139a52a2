"""Label noise: transition matrices, drawing corrupted labels, keeping what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2e_optuna.training.errors import DataError, unknown_name
from s2e_optuna.training.npz import read_npz

NOISE_KINDS = ("symmetric", "pair")
"""Kinds of label noise that `transition_matrix` knows."""


def check_noise_rate(kind: str, rate: float, n_classes: int) -> None:
    """Refuse a noise rate at which the true class is no longer the most frequent one.

    Raises
    ------
    DataError
        Unknown kind, fewer than two classes, or a rate out of range.
    """
    if kind not in NOISE_KINDS:
        raise unknown_name("noise", kind, NOISE_KINDS)
    if n_classes < 2:
        raise DataError("label noise needs at least two classes")
    limit, why = (
        (1.0 - 1.0 / n_classes, "the given label would say nothing about the true one")
        if kind == "symmetric"
        else (0.5, "the wrong class would be as frequent as the true one")
    )
    if not 0.0 <= rate < limit:  # also catches NaN
        raise DataError(
            f"noise_rate {rate:g} is out of range: {kind} noise with {n_classes} classes needs "
            f"0 <= noise_rate < {limit:g}, because from there on {why}"
        )


def transition_matrix(kind: str, rate: float, n_classes: int) -> NDArray[np.float64]:
    """Chance of each given label for each true class.

    Parameters
    ----------
    kind
        ``"symmetric"``: to each other class with the same chance; ``"pair"``: from class i to
        class i + 1 (mod C).
    rate
        Share of labels that become wrong.
    n_classes
        Number of classes C.

    Returns
    -------
    ndarray of shape [C, C]
        Row i is the distribution of the given label of a sample of class i; rows sum to 1.

    Raises
    ------
    DataError
        See `check_noise_rate`.
    """
    check_noise_rate(kind, rate, n_classes)
    identity = np.eye(n_classes)
    if kind == "symmetric":
        return (1.0 - rate) * identity + rate / (n_classes - 1) * (1.0 - identity)
    return (1.0 - rate) * identity + rate * np.roll(identity, 1, axis=1)


def corrupt_labels(
    labels: ArrayLike, matrix: ArrayLike, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a given label for each sample from its true class's row of the matrix.

    Each sample is drawn on its own, so the share of wrong labels varies a little around the
    rate.

    Parameters
    ----------
    labels
        True labels, integers [N] in 0 .. C-1.
    matrix
        Transition matrix [C, C]; rows sum to 1.
    rng
        The only source of randomness.

    Raises
    ------
    DataError
        The matrix is not a transition matrix or a label has no row in it.
    """
    true = np.asarray(labels)
    rows = np.asarray(matrix, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] != rows.shape[1]:
        raise DataError(f"a transition matrix must be square, this one has shape {rows.shape}")
    if not (np.all(rows >= 0) and np.allclose(rows.sum(axis=1), 1.0)):
        raise DataError("each row of a transition matrix must be >= 0 and sum to 1")
    if true.size and not 0 <= true.min() <= true.max() < len(rows):
        raise DataError(f"labels must lie in 0 .. {len(rows) - 1} to use this transition matrix")
    # Inverse of the cumulative distribution, one uniform number a sample.
    cumulative = np.cumsum(rows, axis=1)[:, :-1]
    uniform = rng.random((len(true),))
    drawn: NDArray[np.int64] = (uniform[:, None] >= cumulative[true]).sum(axis=1, dtype=np.int64)
    return drawn


def save_labels(path: str | Path, given: ArrayLike, clean: ArrayLike | None = None) -> None:
    """Write drawn labels, and the true ones where they are known, to an ``.npz`` file."""
    arrays = {"given": np.asarray(given, dtype=np.int64)}
    if clean is not None:
        arrays["clean"] = np.asarray(clean, dtype=np.int64)
    with Path(path).open("wb") as file:  # a file object: savez would append .npz to a name
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_labels(path: str | Path) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Read what `save_labels` wrote.

    Returns
    -------
    tuple
        Given labels [N] and true labels [N] or None.

    Raises
    ------
    DataError
        The file cannot be read or holds no labels.
    """
    arrays = read_npz(path, ["given", "clean"], required=["given"])
    clean = arrays.get("clean")
    return arrays["given"].astype(np.int64), None if clean is None else clean.astype(np.int64)
