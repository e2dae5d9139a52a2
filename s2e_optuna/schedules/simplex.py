"""Points of a simplex as independent numbers in [0, 1].

Quantile stick-breaking: with k weights and u_1 … u_{k-1} in [0, 1]::

    v_i     = 1 - (1 - u_i)^(1 / (k - i))        the i-th share of what is left
    alpha_i = v_i prod_{j<i} (1 - v_j)           i = 1 … k-1; alpha_k is the rest

Uniform u give exactly Dirichlet(1, …, 1): v_i is the quantile function of Beta(1, k - i) at u_i.
So any sampler that knows only a plain box draws, at its start, what S2E draws at theta = 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Array = NDArray[np.float64]

_NAME = re.compile(r"(?P<group>.+)_u(?P<index>[1-9]\d*)of(?P<count>[1-9]\d*)")


def simplex_from_uniform(u: ArrayLike) -> Array:
    """Map the cube [0, 1]^(k-1) onto the simplex of k weights.

    Parameters
    ----------
    u
        Stick-breaking quantiles in [0, 1], shape [..., k-1]; those outside count as the nearer
        end, because Optuna lets a value that was enqueued be anything.

    Returns
    -------
    numpy.ndarray
        Weights alpha >= 0 that sum to 1, shape [..., k].
    """
    u = np.clip(np.asarray(u, dtype=np.float64), 0.0, 1.0)
    remaining_parts = np.arange(u.shape[-1], 0, -1)  # k - i for i = 1 … k-1
    with np.errstate(divide="ignore"):  # u = 1 takes all that is left: log 0 = -inf is right
        log_rest = np.cumsum(np.log1p(-u) / remaining_parts, axis=-1)
    rest = np.concatenate([np.ones((*u.shape[:-1], 1)), np.exp(log_rest)], axis=-1)
    return np.concatenate([rest[..., :-1] - rest[..., 1:], rest[..., -1:]], axis=-1)


def uniform_from_simplex(alpha: ArrayLike) -> Array:
    """Inverse of `simplex_from_uniform`, for weights of shape [..., k]; returns [..., k-1]."""
    alpha = np.asarray(alpha, dtype=np.float64)
    count = alpha.shape[-1] - 1
    # What is left after part i, summed from the small end so that no precision is lost.
    rest = np.flip(np.cumsum(np.flip(alpha, axis=-1), axis=-1), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.where(rest[..., :-1] > 0, rest[..., 1:] / rest[..., :-1], 0.0)
    return 1.0 - np.clip(kept, 0.0, 1.0) ** np.arange(count, 0, -1)


def simplex_parameter_names(name: str, size: int) -> list[str]:
    """Name the k-1 Optuna parameters that hold a simplex of ``size`` weights.

    The names carry the group and its size (``alpha_u1of3``), so that a sampler recognises the
    group in any process, from the stored parameters alone.
    """
    return [f"{name}_u{i}of{size - 1}" for i in range(1, size)]


def simplex_groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Find the complete simplex groups among parameter names.

    Returns
    -------
    dict
        Group name to its parameter names in stick-breaking order.
    """
    found: dict[tuple[str, int], set[int]] = {}
    for name in names:
        if match := _NAME.fullmatch(name):
            key = (match["group"], int(match["count"]))
            found.setdefault(key, set()).add(int(match["index"]))
    return {
        group: simplex_parameter_names(group, count + 1)
        for (group, count), indices in sorted(found.items())
        if indices == set(range(1, count + 1))
    }


def suggest_simplex(trial: BaseTrial, name: str, size: int) -> Array:
    """Suggest ``size`` non-negative weights that sum to one.

    They are stored as ``size - 1`` floats in [0, 1]; `S2ESampler` treats them as one Dirichlet
    variable, every other sampler as a plain box. Under `optuna.samplers.RandomSampler` the
    weights are uniform on the simplex. The readable weights are kept as the user attribute
    ``name``. Where an enqueued value lies outside [0, 1], Optuna warns, and the nearer end is
    taken.

    Parameters
    ----------
    trial
        An Optuna trial.
    name
        Name of the weights.
    size
        Number of weights, at least 2.

    Returns
    -------
    numpy.ndarray
        Weights, shape [size].

    Raises
    ------
    ValueError
        If ``size`` is less than 2, or not what it was before in this trial.

    Examples
    --------
    >>> import optuna
    >>> from s2e_optuna import suggest_simplex
    >>> trial = optuna.trial.FixedTrial({"mix_u1of2": 0.75, "mix_u2of2": 0.5})
    >>> suggest_simplex(trial, "mix", 3)
    array([0.5 , 0.25, 0.25])
    """
    alpha = _suggest_weights(trial, name, size)
    trial.set_user_attr(name, [float(weight) for weight in alpha])
    return alpha


def _suggest_weights(trial: BaseTrial, name: str, size: int) -> Array:
    if size < 2:
        raise ValueError(f"a simplex needs at least 2 weights, but size={size}.")
    before = {
        int(match["count"]) + 1
        for parameter in trial.distributions
        if (match := _NAME.fullmatch(parameter)) and match["group"] == name
    }
    if before - {size}:
        raise ValueError(
            f"{name!r} has {min(before - {size})} weights in this trial, not {size}: "
            "give each simplex a name of its own."
        )
    u = [
        trial.suggest_float(parameter, 0.0, 1.0)
        for parameter in simplex_parameter_names(name, size)
    ]
    return simplex_from_uniform(u)
