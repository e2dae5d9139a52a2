"""Monte Carlo estimates of the gradient and Hessian of J(theta) = E_{p_theta}[f(x)], eq. (6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.relaxation.family import Family

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Estimated derivatives of J at one theta."""

    gradient: Array
    """Shape [d]."""
    hessian: Array
    """Shape [d, d], symmetric."""


def score_estimate(
    family: Family,
    theta: Array,
    x: Array,
    f: Array,
    *,
    weights: Array | None = None,
    baseline: bool = True,
) -> Estimate:
    """Score-function estimates from points drawn from p_theta.

    eq. (7):        g = E[f s]
    Proposition 1:  H = E[f (s s' - F)], because the Hessian of log p_theta is -F for every x.

    Both E[s] and E[s s' - F] are zero, so a constant may be subtracted from f: neither
    expectation changes, and most of the variance goes. Each point gets the mean of the *other*
    points as its baseline, so that the estimates stay unbiased.

    Parameters
    ----------
    family, theta
        The distribution.
    x
        Points, shape [n, D].
    f
        Their values, to be minimised, shape [n].
    weights
        Importance weights p_theta / p_old of points drawn from another theta, shape [n].
    baseline
        Whether to subtract the baseline. The paper does not.

    Raises
    ------
    ValueError
        If there are no points, or a baseline is asked for with fewer than two.
    """
    n = len(f)
    if n < 1 + baseline:
        raise ValueError(f"{n} point(s) are too few for a score estimate.")
    w = np.ones(n) if weights is None else weights
    if baseline:
        others = np.maximum(np.sum(w) - w, np.finfo(float).tiny)
        f = f - (np.sum(w * f) - w * f) / others
    wf = w * f
    s = family.score(x, theta)
    gradient = wf @ s / n
    hessian = (s.T * wf) @ s / n - np.mean(wf) * family.fisher(theta)
    return Estimate(gradient, 0.5 * (hessian + hessian.T))


def surrogate_estimate(
    family: Family,
    theta: Array,
    utility: Callable[[Array], Array],
    n: int,
    rng: np.random.Generator,
    *,
    single: bool = True,
) -> Estimate:
    """Score-function estimates with a model of f as control variate, to the limit.

    With a model u of f, E[f s] = E[u s] + E[(f - u) s]. The first term costs no training: it is
    averaged over n fresh points from p_theta. The second has as its estimate the model's errors
    at the few trained points, of which a noise-aware model leaves little but noise: it is taken
    to be zero.

    Parameters
    ----------
    family, theta
        The distribution.
    utility
        Model of f, to be minimised: points [n, D] to values [n].
    n
        Points to draw.
    rng
        Random numbers.
    single
        Whether to draw them by numbers in single precision, `Family.sample_many`.

    Returns
    -------
    Estimate
        Derivatives of E[u] where u is standardised over the points and clipped, so that neither
        its units nor a few dreadful points decide the step.
    """
    x = (family.sample_many if single else family.sample)(theta, n, rng)
    u = utility(x)
    spread = float(np.std(u))
    if spread > 0.0:
        u = np.clip((u - np.mean(u)) / spread, -3.0, 2.0)
    return score_estimate(family, theta, x, u)
