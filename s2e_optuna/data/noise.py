"""Label noise: transition matrices, noise that depends on the sample, drawing corrupted labels."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, softmax

from s2e_optuna.data.spec import check_noise_kind
from s2e_optuna.errors import DataError

Noise = str | Path | ArrayLike
"""A kind, a file with a transition matrix, or the matrix itself."""

INSTANCE_SPREAD = 0.1
"""Standard deviation of the samples' own noise rates in instance-dependent noise."""


def check_noise_rate(kind: str, rate: float, n_classes: int) -> None:
    """Refuse a noise rate at which the true class is no longer the most frequent one.

    Parameters
    ----------
    kind
        One of `NOISE_KINDS`.
    rate
        Share of wrong labels.
    n_classes
        C.

    Raises
    ------
    DataError
        Unknown kind, fewer than two classes, or a rate out of range.
    """
    check_noise_kind(kind)
    if n_classes < 2:
        raise DataError("label noise needs at least two classes")
    limit, why = (
        (1.0 - 1.0 / n_classes, "the given label would say nothing about the true one")
        if kind == "symmetric"
        else (0.5, "a wrong class could be as frequent as the true one")
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
    if kind == "instance":
        raise DataError("instance noise differs from sample to sample: it has no one matrix")
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
    rows = check_matrix(matrix)
    if true.size and not 0 <= true.min() <= true.max() < len(rows):
        raise DataError(f"labels must lie in 0 .. {len(rows) - 1} to use this transition matrix")
    return _draw(rows[true], rng)


def check_matrix(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return a transition matrix as float64 [C, C]; DataError if it is none."""
    rows = np.asarray(matrix, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] != rows.shape[1]:
        raise DataError(f"a transition matrix must be square, this one has shape {rows.shape}")
    if not (np.all(rows >= 0) and np.allclose(rows.sum(axis=1), 1.0)):  # also catches NaN
        raise DataError("each row of a transition matrix must be >= 0 and sum to 1")
    return rows


def read_transition_matrix(
    path: str | Path, class_names: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Read a transition matrix: ``.csv`` (commas), ``.txt`` (spaces) or ``.npy``.

    Row i is the distribution of the given label of a sample of class i. A ``.csv`` file may name
    the classes in its first line, its first column or both.

    Parameters
    ----------
    path
        The file.
    class_names
        Order that named rows and columns are brought to; None leaves them as they are.

    Raises
    ------
    DataError
        The file cannot be read, holds no transition matrix or names other classes.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise DataError(f"there is no file {place} with a transition matrix: check the path")
    try:
        if place.suffix.lower() == ".npy":
            return check_matrix(np.load(place, allow_pickle=False))
        if place.suffix.lower() == ".txt":
            return check_matrix(np.loadtxt(place, ndmin=2))
        rows, columns, numbers = _without_names(_cells(place))
        matrix = check_matrix(np.array(numbers, dtype=np.float64))
    except (OSError, EOFError, ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"cannot use {place} as a transition matrix: {reason}") from error
    if class_names is None or (rows is None and columns is None):
        return matrix
    return _ordered(place, matrix, rows or columns or [], columns or rows or [], class_names)


def has_class_names(path: str | Path) -> bool:
    """Whether a file with a transition matrix, which can be read, names its classes."""
    place = Path(path).expanduser()
    if place.suffix.lower() != ".csv":
        return False
    rows, columns, _ = _without_names(_cells(place))
    return rows is not None or columns is not None


def _cells(place: Path) -> list[list[str]]:
    lines = place.read_text(encoding="utf-8-sig").splitlines()
    kept = (line for line in lines if line.strip() and not line.startswith("#"))
    return [[cell.strip() for cell in row] for row in csv.reader(kept)]


def _without_names(
    cells: list[list[str]],
) -> tuple[list[str] | None, list[str] | None, list[list[str]]]:
    """Return names of rows and columns, where there are some, and the rest."""
    height, width = len(cells), max(map(len, cells), default=0)
    corner = height == width and height > 0 and not _is_number(cells[0][0])
    rows = columns = None
    if corner or height == width + 1:
        columns, cells = cells[0][1:] if corner else cells[0], cells[1:]
    if corner or width == height + 1:
        rows, cells = [line[0] for line in cells], [line[1:] for line in cells]
    return rows, columns, cells


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ordered(
    place: Path,
    matrix: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    class_names: Sequence[str],
) -> NDArray[np.float64]:
    for names in (rows, columns):
        if sorted(names) != sorted(class_names):
            raise DataError(
                f"the transition matrix {place} names the classes {', '.join(names[:10])}, the "
                f"data {', '.join(class_names[:10])}: use the same names"
            )
    chosen = np.ix_([rows.index(n) for n in class_names], [columns.index(n) for n in class_names])
    return matrix[chosen]


FeaturesAt = Callable[[NDArray[np.int64]], ArrayLike]

READ_AT_ONCE = 256
"""Samples whose features are in memory at a time."""


def corrupt_labels_by_instance(
    labels: ArrayLike,
    features: ArrayLike | FeaturesAt,
    rate: float,
    n_classes: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw given labels whose noise depends on the sample (Xia et al., 2020, algorithm 2).

    Each sample has a noise rate q of its own, normal around `rate` with a standard deviation of
    0.1, truncated to [0, 1]. Each class i has a random projection W_i of standard normal numbers;
    a sample x of class i becomes class j != i with chance q softmax_j(x W_i), where j = i is left
    out, and keeps its label with chance 1 - q. Samples that look alike are therefore confused
    alike.

    Parameters
    ----------
    labels
        True labels, integers [N] in 0 .. C-1.
    features
        Pixels scaled to [0, 1] or features, [N, ...], or a function that returns those at some
        positions [K], asked for few at a time.
    rate
        Mean of the normal distribution; truncation moves the mean of a small one up a little.
    n_classes
        Number of classes C.
    rng
        The only source of randomness.

    Raises
    ------
    DataError
        The rate is out of range.
    """
    check_noise_rate("instance", rate, n_classes)
    true = np.asarray(labels)
    if rate == 0.0:
        return true.astype(np.int64)
    if callable(features):
        features_at, at_once = features, READ_AT_ONCE
    else:
        features_at, at_once = np.asarray(features).__getitem__, max(1, len(true))
    width = np.asarray(features_at(np.zeros(1, np.int64))).size
    low, high = ndtr((np.array([0.0, 1.0]) - rate) / INSTANCE_SPREAD)
    rates = rate + INSTANCE_SPREAD * ndtri(low + (high - low) * rng.random(len(true)))
    chances = np.zeros((len(true), n_classes))
    for label in range(n_classes):
        members = np.flatnonzero(true == label)
        projection = rng.standard_normal((width, n_classes), dtype=np.float32)
        scores = np.empty((len(members), n_classes))
        for start in range(0, len(members), at_once):
            part = members[start : start + at_once]
            inputs = np.asarray(features_at(part), dtype=np.float32).reshape(len(part), -1)
            scores[start : start + len(part)] = inputs @ projection
        scores[:, label] = -np.inf
        chances[members] = rates[members, None] * softmax(scores, axis=1)
        chances[members, label] = 1.0 - rates[members]
    return _draw(chances, rng)


def _draw(chances: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw from each row [N, C]: inverse of the cumulative distribution, one number a sample."""
    cumulative = np.cumsum(chances, axis=1)[:, :-1]
    uniform = rng.random((len(chances),))
    drawn: NDArray[np.int64] = (uniform[:, None] >= cumulative).sum(axis=1, dtype=np.int64)
    return drawn
