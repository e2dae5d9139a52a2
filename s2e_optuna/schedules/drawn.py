"""Mixtures of the basis functions for hundreds of points, which a sampler draws and compares.

In single precision and as exponentials and logarithms, for which NumPy has vector instructions;
it has none for powers. And as functions of s = log t the basis functions have no singularity
within pi of the real axis, nor do they grow fast within pi / 2 of it: so polynomials in s, through
the values at few Chebyshev nodes, are what they are to the last digit of single precision, and
their number grows with log T only.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.schedules.basis import BASIS_NAMES

Singles = NDArray[np.float32]

_NODES = 5.0  # for each unit of log T; each more would divide the error by 20


@lru_cache(maxsize=32)
def _nodes(epochs: int) -> tuple[Singles, Singles]:
    """Nodes s [m], and the matrix [m, T] from values there to those at all epochs but the first.

    They are the epochs themselves where these are no more.
    """
    s = np.log(np.arange(1, epochs))
    m = math.ceil(_NODES * math.log(epochs))
    if m >= epochs - 1:
        return s.astype(np.float32), np.eye(epochs - 1, epochs, 1, dtype=np.float32)
    angles = (np.arange(m) + 0.5) * (math.pi / m)
    # T_k(x) = cos(k arccos x); at the nodes these polynomials are orthogonal.
    orders = np.arange(m)[:, None]
    at_nodes = np.cos(orders * angles)
    at_epochs = np.cos(orders * np.arccos(np.clip(2.0 * s / s[-1] - 1.0, -1.0, 1.0)))
    norms = np.where(orders == 0, 1.0, 2.0) / m
    onto = np.zeros((m, epochs), dtype=np.float32)
    onto[:, 1:] = at_nodes.T @ (norms * at_epochs)
    return (0.5 * s[-1] * (1.0 + np.cos(angles))).astype(np.float32), onto


def mixed_curves(
    weights: NDArray[np.float64], shapes: NDArray[np.float64], epochs: int
) -> Singles:
    """Evaluate weighted sums of the four basis functions, eq. (4), before clipping.

    Parameters
    ----------
    weights
        Weights alpha, shape [n, 4].
    shapes
        Shape parameters a1 … a4 of each basis function, shape [n, 4, 4].
    epochs
        Number of epochs T, at least 1.

    Returns
    -------
    numpy.ndarray
        Curves [n, T] in single precision, exact to some 1e-7 from t = 1 on; nothing at t = 0.
    """
    s, onto = _nodes(epochs)
    # By function first: what f1 and f2 share, or f1 and f3, is computed for both at once.
    a1, a2, a3, a4 = np.ascontiguousarray(shapes.T, dtype=np.float32)[..., None]
    values = np.empty((len(BASIS_NAMES), len(shapes), len(s)), dtype=np.float32)
    exponential, hyperbolic = values[:2], values[2:]
    np.exp(np.multiply(a1[:2], s, out=exponential), out=exponential)
    exponential *= -a2[:2]
    np.multiply(a2[2:], np.exp(s), out=hyperbolic)
    hyperbolic += 1.0
    np.log(hyperbolic, out=hyperbolic)
    hyperbolic *= -a1[2:]
    np.exp(values, out=values)
    rise = a4 * s
    np.exp(rise, out=rise)
    height = np.exp(a4 * np.float32(math.log(epochs)))
    for logarithmic in (rise[1::2], height[1::2]):
        logarithmic += 1.0
        np.log(logarithmic, out=logarithmic)
    rise *= a3 / height
    values += rise
    values *= weights.T[..., None]
    return np.asarray(values.sum(axis=0) @ onto)
