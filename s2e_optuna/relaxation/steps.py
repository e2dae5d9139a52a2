"""From estimated derivatives to the next theta.

eq. (9) with the sign of a minimisation: theta <- theta - rho H^-1 g, where H is the Hessian
(Newton), the Fisher matrix (natural gradient) or the identity (gradient). Equation (8) of the
paper is printed with a plus.

Two safeguards make it usable with few samples. Assumption 3 asks for eigenvalues in [eta, L]
with eta > 0, which an estimated Hessian does not have: directions take the eigenvalues' absolute
values plus a floor. And one step may not leave the region in which the samples say anything: it
is shortened until KL(new || old) is within a limit, and every Dirichlet parameter stays above a
minimum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.linalg.lapack import dtrtri

from s2e_optuna.relaxation.estimates import Estimate
from s2e_optuna.relaxation.family import MAX_THETA, MIN_THETA, Family

Array = NDArray[np.float64]
Update = Literal["newton", "natural", "gradient"]

_LENGTHS = 2**20  # a step is as long as it may be to a millionth

MAX_LOGIT = 6.0
"""A choice whose probability reaches 0 never comes back, and leaves the Fisher matrix singular."""


def newton_direction(estimate: Estimate, fisher: Array, floor: float) -> Array:
    """Newton direction with absolute eigenvalues, in the metric of the Fisher matrix.

    With F = L L', the whitened Hessian L^-1 H L^-T = V diag(lambda) V' is what the Hessian would
    be if theta were measured in standard deviations of its score, so that one floor fits all
    directions; the result is -L^-T V diag(1 / (|lambda| + floor)) V' L^-1 g.

    Parameters
    ----------
    estimate
        Gradient [d] and Hessian [d, d].
    fisher
        Fisher matrix, shape [d, d].
    floor
        Added to the absolute eigenvalues; in units of f.

    Returns
    -------
    numpy.ndarray
        Shape [d].
    """
    whitening, _ = dtrtri(np.linalg.cholesky(fisher), lower=True)  # L^-1
    whitened = whitening @ estimate.hessian @ whitening.T
    eigenvalues, vectors = np.linalg.eigh(0.5 * (whitened + whitened.T))
    gradient = vectors.T @ (whitening @ estimate.gradient)
    step = vectors @ (gradient / (np.abs(eigenvalues) + floor))
    return -np.asarray(whitening.T @ step)


def natural_direction(estimate: Estimate, fisher: Array, floor: float) -> Array:
    """Natural gradient direction -F^-1 g.

    Parameters
    ----------
    estimate
        Gradient [d]; the Hessian is not used.
    fisher
        Fisher matrix F, shape [d, d].
    floor
        Not used.

    Returns
    -------
    numpy.ndarray
        Shape [d].
    """
    return -np.asarray(cho_solve((cholesky(fisher, lower=True), True), estimate.gradient))


def gradient_direction(estimate: Estimate, fisher: Array, floor: float) -> Array:
    """Steepest descent in theta itself: -g.

    Parameters
    ----------
    estimate
        Gradient [d]; the Hessian is not used.
    fisher
        Shape [d, d]; not used.
    floor
        Not used.

    Returns
    -------
    numpy.ndarray
        Shape [d].
    """
    return -estimate.gradient


DIRECTIONS: dict[Update, Callable[[Estimate, Array, float], Array]] = {
    "newton": newton_direction,
    "natural": natural_direction,
    "gradient": gradient_direction,
}


def limited_step(
    family: Family,
    theta: Array,
    direction: Array,
    *,
    step_size: float,
    max_kl: float,
    min_theta: float,
) -> Array:
    """Go along a direction as far as the limits allow.

    Parameters
    ----------
    family, theta, direction
        Where to start and where to go, shapes [d].
    step_size
        rho: the length of the full step.
    max_kl
        The largest KL(new || old), in nats; ``inf`` for none.
    min_theta
        The smallest value of a Dirichlet parameter, > 0; those that would fall below stay there.
        The largest is `MAX_THETA`, and logits stay within ±`MAX_LOGIT` likewise.

    Returns
    -------
    numpy.ndarray
        The new theta, shape [d]; the old one if even the smallest step breaks the limit.
    """
    least = np.where(family.positive, max(min_theta, MIN_THETA), -MAX_LOGIT)
    most = np.where(family.positive, MAX_THETA, MAX_LOGIT)

    def at(length: float) -> Array:
        return np.minimum(np.maximum(theta + length * direction, least), most)

    divergence = family.kl_from(theta)

    def excess(new: Array) -> float:
        kl = divergence(new) if np.all(np.isfinite(new)) else math.inf
        # Of the roots, because that of a divergence is nearly a line.
        return math.sqrt(kl) - math.sqrt(max_kl) if kl < math.inf else math.inf

    full = at(step_size)
    above = excess(full)
    if above <= 0.0:
        return full
    # The longest of so many lengths that is within: where a line says, and every third time in
    # the middle, where no line may be far off.
    low, below, high = 0, -math.sqrt(max_kl), _LENGTHS
    tries = 0
    while high - low > 1:
        tries += 1
        share = -below / (above - below) if tries % 3 and above < math.inf else 0.5
        middle = min(max(low + int(share * (high - low)), low + 1), high - 1)
        value = excess(at(step_size * middle / _LENGTHS))
        if value <= 0.0:
            low, below = middle, value
        else:
            high, above = middle, value
    return at(step_size * low / _LENGTHS) if low > 0 else theta.copy()
