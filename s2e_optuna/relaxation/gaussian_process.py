"""A small Gaussian process with priors on its hyperparameters.

=========  ==========================================================  =========
symbol     meaning                                                     shape
=========  ==========================================================  =========
z          features                                                    [n, q]
y          values, standardised                                        [n]
l          length scale of each feature                                [q]
s, e       standard deviation of the function and of the noise         scalars
h          (log l, log s, log e)                                       [q + 2]
=========  ==========================================================  =========

Matern 5/2 kernel with one length scale a feature:
k(z, z') = s^2 (1 + a + a^2 / 3) exp(-a) with a = sqrt(5) |(z - z') / l|.

A search fits it to six trials as well as to hundreds. With six, the likelihood alone says next to
nothing about q + 2 hyperparameters, and its maximum is often "all noise" or "no noise"; so they
have log-normal priors and the mode of the posterior is taken. That is why this is not
scikit-learn's process, which has bounds where this needs priors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.optimize import minimize

Array = NDArray[np.float64]

_JITTER = 1e-8
_ENOUGH = 100  # points for the hyperparameters


@dataclass(frozen=True)
class Prior:
    """Medians and log standard deviations of the log-normal priors; y has unit variance.

    `lengths` are for the first features; those beyond have the last one's.
    """

    lengths: tuple[float, ...] = (1.0,)
    length_spread: float = 0.8
    signal_spread: float = 0.5
    noise: float = 0.3
    noise_spread: float = 1.0

    def of(self, q: int) -> tuple[Array, Array]:
        """Mean and standard deviation of h for q features, shapes [q + 2]."""
        lengths = [*self.lengths, *[self.lengths[-1]] * q][:q]
        mean = np.log([*lengths, 1.0, self.noise])
        spread = np.array([*[self.length_spread] * q, self.signal_spread, self.noise_spread])
        return mean, spread


def _location(y: Array) -> tuple[float, float]:
    """Mean and standard deviation of the values; 1 for values that are all the same."""
    scale = float(np.std(y))
    return float(np.mean(y)), scale if scale > 0.0 else 1.0


def _units(z: Array, scale: float) -> Array:
    """Return what h gains with standard deviations in units of the values."""
    return np.array([*[0.0] * z.shape[1], *[np.log(scale)] * 2])


def _kernel(h: Array, z: Array, other: Array) -> tuple[Array, Array, Array]:
    """Kernel matrix [n, m] between features [n, q] and [m, q], and a and exp(-a)."""
    scale = np.sqrt(5.0) * np.exp(-h[:-2])
    u, v = z * scale, other * scale
    # |u - v|^2 = |u|^2 - 2 u v' + |v|^2 by one matrix product; rounding may leave it below 0.
    left = np.column_stack([u, np.sum(u * u, axis=1), np.ones(len(u))])
    right = np.column_stack([-2.0 * v, np.ones(len(v)), np.sum(v * v, axis=1)])
    a = left @ right.T
    np.maximum(a, 5e-18, out=a)
    np.sqrt(a, out=a)
    decay = np.negative(a)
    np.exp(decay, out=decay)
    # s^2 ((a / 3 + 1) a + 1) exp(-a), with as few passes over the memory as can be
    variance = np.exp(2.0 * h[-2])
    kernel = a * (variance / 3.0)
    kernel += variance
    kernel *= a
    kernel += variance
    kernel *= decay
    return kernel, a, decay


def _factor(kernel: Array, diagonal: float) -> Array:
    """Lower Cholesky factor [n, n] of a kernel matrix with something added to its diagonal.

    Its other half is anything. LinAlgError if there is none.
    """
    matrix = kernel.copy()
    matrix.flat[:: len(matrix) + 1] += diagonal
    lower, failure = dpotrf(matrix.T, lower=True, clean=False, overwrite_a=True)
    if failure or not np.isfinite(lower[-1, -1]):  # which a NaN anywhere reaches
        raise LinAlgError("the kernel matrix is not positive definite")
    return np.asarray(lower)


def _loss(h: Array, z: Array, y: Array, mean: Array, spread: Array) -> tuple[float, Array]:
    """Negative log posterior of h up to a constant, and its gradient."""
    q = len(h) - 2
    kernel, a, decay = _kernel(h, z, z)
    noise = np.exp(2.0 * h[-1])
    lower = _factor(kernel, noise + _JITTER)
    weights, _ = dpotrs(lower, y, lower=True)
    log_determinant = 2.0 * float(np.sum(np.log(np.diag(lower))))
    inverse, _ = dpotri(lower, lower=True, overwrite_c=True)  # its lower half
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    # d/dh of the log likelihood is trace(m dK/dh) / 2 with m as below.
    m = np.outer(weights, weights) - inverse
    # dk/d(log l_j) = s^2 (5/3) (1 + a) exp(-a) (z_j - z'_j)^2 / l_j^2
    common = (1.0 + a) * decay
    common *= m
    common *= np.exp(2.0 * h[-2]) * (5.0 / 3.0)
    # sum_ab common_ab (z_aj - z_bj)^2, by matrix products as common is symmetric
    squares = 2.0 * (np.sum(common, axis=1) @ (z * z) - np.sum(z * (common @ z), axis=0))
    by_length = squares * np.exp(-2.0 * h[:q])
    gradient = -0.5 * np.array([*by_length, 2.0 * np.vdot(m, kernel), 2.0 * noise * np.trace(m)])
    loss = 0.5 * (float(y @ weights) + log_determinant)
    deviation = (h - mean) / spread
    return loss + 0.5 * float(deviation @ deviation), gradient + deviation / spread


@dataclass(frozen=True)
class GaussianProcess:
    """A process given its observations; make one with `fit` or `given`."""

    h: Array
    """(log l, log s, log e), in units of standardised y."""
    z: Array
    y: Array
    """Standardised."""
    mean: float
    scale: float
    _lower: Array
    """Lower Cholesky factor of the observations' covariance; its other half is anything."""
    _weights: Array

    @classmethod
    def fit(cls, z: Array, y: Array, prior: Prior | None = None) -> GaussianProcess:
        """Fit a process; hyperparameters at their posterior mode.

        The mode costs some twenty factorisations. With many points it is that of an even
        selection of them, which says as much about three length scales as all of them do.

        Parameters
        ----------
        z
            Features, shape [n, q].
        y
            Values, shape [n].
        prior
            Of the hyperparameters; by default the usual one.
        """
        mean, scale = _location(y)
        standardised = (y - mean) / scale
        centre, spread = (prior or Prior()).of(z.shape[1])
        some = slice(None, None, -(-len(y) // _ENOUGH))
        found = minimize(
            lambda h: _loss(h, z[some], standardised[some], centre, spread),
            centre,
            jac=True,
            method="L-BFGS-B",
            # Beyond four deviations nothing is gained but badly conditioned matrices.
            bounds=[
                (float(c - 4.0 * s), float(c + 4.0 * s))
                for c, s in zip(centre, spread, strict=True)
            ],
            options={"maxiter": 40},
        )
        return cls._condition(np.asarray(found.x, dtype=np.float64), z, standardised, mean, scale)

    @classmethod
    def given(cls, hyperparameters: Array, z: Array, y: Array) -> GaussianProcess:
        """Condition a process whose hyperparameters are known.

        Parameters
        ----------
        hyperparameters
            Those of another process, `GaussianProcess.hyperparameters`, shape [q + 2].
        z
            Features, shape [n, q].
        y
            Values, shape [n].
        """
        mean, scale = _location(y)
        h = hyperparameters - _units(z, scale)
        return cls._condition(h, z, (y - mean) / scale, mean, scale)

    @classmethod
    def _condition(
        cls, h: Array, z: Array, standardised: Array, mean: float, scale: float
    ) -> GaussianProcess:
        kernel = _kernel(h, z, z)[0]
        lower = _factor(kernel, np.exp(2.0 * h[-1]) + _JITTER)
        weights, _ = dpotrs(lower, standardised, lower=True)
        return cls(h, z, standardised, mean, scale, lower, weights)

    def with_fantasies(self, z: Array) -> GaussianProcess:
        """Add fantasies: the mean at features [m, q], as if it had been observed there.

        The mean stays as it is everywhere, and the deviation shrinks around these places: what
        is being tried there need not be tried twice (Desautels et al., 2014, section 3).
        """
        fantasies = (self.predict(z)[0] - self.mean) / self.scale
        values = np.concatenate([self.y, fantasies])
        return self._condition(self.h, np.concatenate([self.z, z]), values, self.mean, self.scale)

    @property
    def hyperparameters(self) -> Array:
        """(log l, log s, log e) with s and e in units of the values, for `given`; [q + 2]."""
        return self.h + _units(self.z, self.scale)

    @property
    def noise(self) -> float:
        """Standard deviation of one observation, in units of y."""
        return float(np.exp(self.h[-1])) * self.scale

    def predict(self, z: Array) -> tuple[Array, Array]:
        """Posterior mean and standard deviation of the noise-free function at [n, q]."""
        kernel = _kernel(self.h, z, self.z)[0]
        mean = self.mean + self.scale * (kernel @ self._weights)
        half = dtrsm(1.0, self._lower, kernel.T, lower=True, overwrite_b=True)
        variance = np.exp(2.0 * self.h[-2]) - np.einsum("ij,ij->j", half, half)
        return mean, self.scale * np.sqrt(np.maximum(variance, 0.0))
