"""The distribution p_theta over search spaces: a product of Dirichlets and categoricals.

=========  ==============================================================  =======
symbol     meaning                                                         shape
=========  ==============================================================  =======
x          a point: the components of every block side by side            [n, D]
theta      natural parameters of every block side by side                 [d]
T(x)       sufficient statistics                                           [n, d]
A(theta)   log-partition function                                          scalar
mu(theta)  E[T(x)], the gradient of A                                      [d]
s(x)       score, the gradient of log p_theta(x): T(x) - mu(theta)         [n, d]
F(theta)   Fisher matrix, Cov[T(x)]: the Hessian of A                      [d, d]
=========  ==============================================================  =======

p_theta(x) = h(x) exp(theta' T(x) - A(theta)), so the Hessian of log p_theta is -F(theta),
whatever x is.

* A Dirichlet block of size k holds k components on the simplex and k parameters > 0;
  T = log x, h = prod 1/x. A Beta is the block of size 2 with components (a, 1 - a).
* A categorical block of size k holds a one-hot vector and k - 1 logits, the last choice's being
  0: with all k the Fisher matrix would be singular.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, gammaln, softmax, zeta

Array = NDArray[np.float64]

TINY = 1e-12
"""Dirichlet components are kept this far from 0, so that log x is finite."""

MIN_THETA = 1e-100
"""Below it, so may the square of a Dirichlet parameter be 0."""

MAX_THETA = 1e9
"""Beyond it, divergence and entropy are differences of numbers too large to have digits left."""


@dataclass(frozen=True)
class Block:
    """One independent factor of the product: a Dirichlet or a categorical of ``size`` parts."""

    kind: Literal["dirichlet", "categorical"]
    size: int

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"a block needs at least 2 parts, but size={self.size}.")

    @property
    def dimension(self) -> int:
        """Number of natural parameters."""
        return self.size if self.kind == "dirichlet" else self.size - 1


@dataclass(frozen=True)
class Family:
    """A product of independent blocks; see the module's table for shapes.

    Parameters
    ----------
    blocks
        The factors, in the order of their components in x and of their parameters in theta.
    """

    blocks: tuple[Block, ...]

    @cached_property
    def dimension(self) -> int:
        """Length d of theta."""
        return sum(block.dimension for block in self.blocks)

    @cached_property
    def size(self) -> int:
        """Number D of components of x."""
        return sum(block.size for block in self.blocks)

    @cached_property
    def point_slices(self) -> tuple[slice, ...]:
        """Where each block's components lie in x."""
        return _slices([block.size for block in self.blocks])

    @cached_property
    def theta_slices(self) -> tuple[slice, ...]:
        """Where each block's parameters lie in theta."""
        return _slices([block.dimension for block in self.blocks])

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        """Which parameters must be positive (those of Dirichlets), shape [d]."""
        of_parameter = [
            block.kind == "dirichlet" for block in self.blocks for _ in range(block.dimension)
        ]
        return np.array(of_parameter, dtype=np.bool_)

    @cached_property
    def _owner(self) -> NDArray[np.intp]:
        # The block of each parameter, [d].
        return np.repeat(np.arange(len(self.blocks)), [b.dimension for b in self.blocks])

    @cached_property
    def _members(self) -> Array:
        # Which parameters belong to which block, as ones: [number of blocks, d].
        return np.equal.outer(np.arange(len(self.blocks)), self._owner).astype(np.float64)

    @cached_property
    def _same_block(self) -> Array:
        return self._members.T @ self._members

    @cached_property
    def _is_dirichlet(self) -> NDArray[np.bool_]:
        return np.array([block.kind == "dirichlet" for block in self.blocks])

    @cached_property
    def _in_theta(self) -> NDArray[np.bool_]:
        # The components of x that have a parameter: all but the last of each categorical.
        mask = np.ones(self.size, dtype=bool)
        for block, where in zip(self.blocks, self.point_slices, strict=True):
            mask[where.stop - 1] = block.kind == "dirichlet"
        return mask

    @cached_property
    def _dirichlets(self) -> dict[int, tuple[NDArray[np.intp], NDArray[np.intp]]]:
        # Of the Dirichlets of each size k, of which there are b: where the components lie in x,
        # and the parameters in theta, both of shape [k, b].
        found: dict[int, list[tuple[slice, slice]]] = {}
        for block, own, where in zip(
            self.blocks, self.theta_slices, self.point_slices, strict=True
        ):
            if block.kind == "dirichlet":
                found.setdefault(block.size, []).append((where, own))

        def places(slices: Sequence[slice]) -> NDArray[np.intp]:
            return np.array([np.arange(one.start, one.stop) for one in slices]).T

        return {
            k: (places([x for x, _ in pairs]), places([theta for _, theta in pairs]))
            for k, pairs in found.items()
        }

    @cached_property
    def _in_dirichlet(self) -> NDArray[np.bool_]:
        # The components of x that belong to a Dirichlet.
        of_component = [
            block.kind == "dirichlet" for block in self.blocks for _ in range(block.size)
        ]
        return np.array(of_component, dtype=np.bool_)

    @cached_property
    def _dirichlet_starts(self) -> NDArray[np.intp]:
        # Where each Dirichlet begins among the components that belong to one.
        sizes = [block.size for block in self.blocks if block.kind == "dirichlet"]
        return np.cumsum([0, *sizes])[:-1]

    def uniform(self) -> Array:
        """Parameters [d] of the uniform distribution: Dirichlet 1, logits 0 (Algorithm 2)."""
        return self.positive.astype(np.float64)

    def admits(self, theta: Array) -> bool:
        """Whether numbers [d] are natural parameters that one can draw from and compute with."""
        shape_fits = theta.shape == (self.dimension,)
        return shape_fits and bool(
            np.all(np.abs(theta) <= MAX_THETA) and np.all(theta[self.positive] >= MIN_THETA)
        )

    def _totals(self, theta: Array) -> Array:
        return np.asarray(self._same_block @ np.where(self.positive, theta, 0.0))

    def _exp(self, theta: Array) -> Array:
        """Exponentials of the logits, short of an overflow; 0 at Dirichlet parameters."""
        return np.where(self.positive, 0.0, np.exp(np.minimum(theta, 700.0)))

    def _probabilities(self, theta: Array) -> Array:
        """Probabilities of the choices that have a logit; 0 at Dirichlet parameters."""
        exp = self._exp(theta)
        return np.asarray(exp / (1.0 + self._same_block @ exp))

    @cached_property
    def _parts(self) -> Array:
        # Which components belong to the same block, as ones: [D, D].
        owner = np.repeat(np.arange(len(self.blocks)), [block.size for block in self.blocks])
        return np.equal.outer(owner, owner).astype(np.float64)

    def sample_uniform(self, n: int, rng: np.random.Generator) -> Array:
        """Draw points [n, D] from theta^1: what `sample` draws, in a fraction of the time.

        Parameters
        ----------
        n
            How many points.
        rng
            Random numbers.
        """
        # Exponentials are Gamma(1); which of some is the largest is left to chance.
        x = rng.standard_exponential((n, self.size))
        points = np.maximum(x / (x @ self._parts), TINY)
        for block, where in zip(self.blocks, self.point_slices, strict=True):
            if block.kind == "categorical":
                points[:, where] = np.eye(block.size)[np.argmax(x[:, where], axis=1)]
        return np.asarray(points)

    def sample(self, theta: Array, n: int, rng: np.random.Generator) -> Array:
        """Draw points from p_theta.

        Parameters
        ----------
        theta
            Natural parameters, shape [d].
        n
            How many points.
        rng
            Random numbers.

        Returns
        -------
        numpy.ndarray
            Points, shape [n, D].
        """
        points = np.empty((n, self.size))
        # By size k: b blocks, [b, k, n]. What is drawn for a block is one piece of the memory.
        gamma = {k: np.empty((*at.T.shape, n)) for k, (at, _) in self._dirichlets.items()}
        uniform = {k: np.empty_like(drawn) for k, drawn in gamma.items()}
        met = dict.fromkeys(gamma, 0)
        for block, own, where in zip(
            self.blocks, self.theta_slices, self.point_slices, strict=True
        ):
            k = block.size
            if block.kind == "dirichlet":
                gamma[k][met[k]] = rng.standard_gamma(theta[own] + 1.0, size=(n, k)).T
                uniform[k][met[k]] = rng.random((n, k)).T
                met[k] += 1
            else:
                points[:, where] = _choices(theta[own], n, rng)
        for k, (at, owners) in self._dirichlets.items():
            # Gamma(a) = Gamma(a + 1) U^(1/a), in logarithms: small a do not underflow.
            log_power = np.subtract(1.0, uniform[k], out=uniform[k])  # exact, and never 0
            np.log(log_power, out=log_power)
            log_power /= theta[owners].T[..., None]
            log_gamma = np.log(gamma[k], out=gamma[k])
            log_gamma += log_power
            log_gamma -= log_gamma.max(axis=1, keepdims=True)
            x = np.exp(log_gamma, out=log_gamma)
            x /= x.sum(axis=1, keepdims=True)
            points[:, at] = np.maximum(x, TINY, out=x).transpose(2, 1, 0)
        return points

    def sample_many(self, theta: Array, n: int, rng: np.random.Generator) -> Array:
        """Draw hundreds of points: `sample`'s law, by random numbers in single precision.

        Parameters
        ----------
        theta
            Natural parameters, shape [d].
        n
            How many points.
        rng
            Random numbers.

        Returns
        -------
        numpy.ndarray
            Points, shape [n, D].
        """
        points = np.empty((n, self.size))
        if len(starts := self._dirichlet_starts):
            a = theta[self.positive][:, None]
            gamma = rng.standard_gamma(a + 1.0, size=(len(a), n), dtype=np.float32)
            # As in `sample`; minus log U is an exponential. From here on in double precision:
            # single logarithms lie so far apart that two trials in a hundred would be the same.
            x = np.log(gamma, dtype=np.float64)
            x -= rng.standard_exponential(x.shape, dtype=np.float32) / a
            owner = np.repeat(np.arange(len(starts)), np.diff([*starts, len(a)]))
            x -= np.maximum.reduceat(x, starts)[owner]
            np.exp(x, out=x)
            x /= np.add.reduceat(x, starts)[owner]
            points[:, self._in_dirichlet] = np.maximum(x, TINY, out=x).T
        for block, own, where in zip(
            self.blocks, self.theta_slices, self.point_slices, strict=True
        ):
            if block.kind == "categorical":
                points[:, where] = _choices(theta[own], n, rng)
        return points

    def statistics(self, x: ArrayLike) -> Array:
        """Sufficient statistics T(x) of points [n, D]: shape [n, d]."""
        t = np.asarray(x, dtype=np.float64)[:, self._in_theta]
        return np.where(self.positive, np.log(np.maximum(t, TINY)), t)

    def log_partition(self, theta: Array) -> float:
        """A(theta), theta [d]: sum log Gamma(theta_i) - log Gamma(sum theta_i), or log sum exp."""
        if self._is_dirichlet.all():
            return float(np.sum(gammaln(theta)) - np.sum(gammaln(self._members @ theta)))
        safe = np.where(self.positive, theta, 1.0)  # log Gamma(1) = 0
        totals = self._members @ np.where(self.positive, theta, self._exp(theta))
        of_totals = np.where(
            self._is_dirichlet,
            -gammaln(np.where(self._is_dirichlet, totals, 1.0)),
            np.log1p(np.where(self._is_dirichlet, 0.0, totals)),
        )
        return float(np.sum(gammaln(safe)) + np.sum(of_totals))

    def mean(self, theta: Array) -> Array:
        """mu(theta) = E[T(x)]: digamma(theta_i) - digamma(sum theta_i), or probabilities."""
        if self._is_dirichlet.all():
            of_blocks = digamma(self._members @ theta)
            return np.asarray(digamma(theta) - of_blocks[self._owner])
        safe = np.where(self.positive, theta, 1.0)
        totals = np.where(self.positive, self._totals(theta), 1.0)
        return np.where(self.positive, digamma(safe) - digamma(totals), self._probabilities(theta))

    def fisher(self, theta: Array) -> Array:
        """F(theta) = Cov[T(x)], block diagonal, shape [d, d]."""
        if self._is_dirichlet.all():
            of_blocks = _trigamma(self._members @ theta)
            return np.asarray(
                np.diag(_trigamma(theta)) - self._same_block * of_blocks[self._owner]
            )
        safe = np.where(self.positive, theta, 1.0)
        totals = np.where(self.positive, self._totals(theta), 1.0)
        p = self._probabilities(theta)
        diagonal = np.where(self.positive, _trigamma(safe), p)
        shared = np.where(self.positive[:, None], _trigamma(totals)[:, None], np.outer(p, p))
        return np.asarray(np.diag(diagonal) - self._same_block * shared)

    def log_density(self, x: ArrayLike, theta: Array) -> Array:
        """Log p_theta(x), shape [n]: density on the simplices, probability of choices."""
        t = self.statistics(x)
        natural = theta - self.positive  # the base measure of a Dirichlet is prod 1/x
        return np.asarray(t @ natural - self.log_partition(theta))

    def score(self, x: ArrayLike, theta: Array) -> Array:
        """Gradient of log p_theta(x) in theta: T(x) - mu(theta), shape [n, d]."""
        return self.statistics(x) - self.mean(theta)

    def kl(self, new: Array, old: Array) -> float:
        """KL(p_new || p_old) = (new - old)' mu(new) - A(new) + A(old), in nats; shapes [d]."""
        return self.kl_from(old)(new)

    def kl_from(self, old: Array) -> Callable[[Array], float]:
        """Return `kl` as a function of the new theta alone, for many of them; shapes [d]."""
        of_old = self.log_partition(old)

        def kl(new: Array) -> float:
            linear = float((new - old) @ self.mean(new))
            return max(linear - self.log_partition(new) + of_old, 0.0)

        return kl

    def entropy(self, theta: Array) -> float:
        """Entropy in nats of p_theta, theta [d]: differential for the Dirichlets."""
        return self.log_partition(theta) - float((theta - self.positive) @ self.mean(theta))


def _choices(logits: Array, n: int, rng: np.random.Generator) -> Array:
    """Draw choices, as one-hot rows [n, k], by their logits [k - 1]."""
    k = len(logits) + 1
    return np.asarray(np.eye(k)[rng.choice(k, size=n, p=softmax(np.append(logits, 0.0)))])


def _trigamma(x: Array) -> Array:
    return np.asarray(zeta(2.0, x))  # what SciPy's polygamma comes to, after a detour


def _slices(sizes: list[int]) -> tuple[slice, ...]:
    ends = np.cumsum(sizes)
    return tuple(slice(int(end) - size, int(end)) for size, end in zip(sizes, ends, strict=True))
