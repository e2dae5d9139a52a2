"""Through what the objective depends on the parameters: the surrogate's inputs.

A training depends on the 19 parameters of a schedule only through the curve R(t), and the curves
of a space lie close to a few dimensions. So the features of a schedule are its first principal
components, in units of their standard deviation over the space at theta = 1. Early epochs count
more: what a network has not learnt when samples begin to be dropped it never learns.

For any other space the features are the parameters themselves, mapped to [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from s2e_optuna.sampler.codec import Codec
from s2e_optuna.schedules import SCHEDULE_ATTR, SPACES, uniform_from_simplex
from s2e_optuna.schedules.spaces import Space

Array = NDArray[np.float64]
Features = Callable[[Array], Array]
"""Points of a codec's family [n, D] to features [n, q]."""

N_COMPONENTS = 3
_EARLY = 0.25  # an epoch's weight falls with (1 + t) to this power
_N_CURVES = 4000


@lru_cache(maxsize=32)
def _components(space_name: str, epochs: int) -> tuple[Array, Array]:
    """Mean curve [T], and projection [T, q] onto components of unit variance."""
    space = SPACES[space_name]
    rng = np.random.default_rng(0)  # the same features in every process
    columns = [
        rng.integers(len(p.choices), size=_N_CURVES)
        if p.choices
        else rng.uniform(p.low, p.high, _N_CURVES)
        for p in space.parameters
    ]
    curves = space.rates(np.stack(columns, axis=1), epochs)
    mean = curves.mean(axis=0)
    weights = (1.0 + np.arange(epochs)) ** -_EARLY
    _, singular, vectors = np.linalg.svd((curves - mean) * weights, full_matrices=False)
    kept = min(N_COMPONENTS, int(np.sum(singular > 1e-9 * singular[0])))
    deviation = singular[:kept] / np.sqrt(_N_CURVES)
    return mean, (weights[:, None] * vectors[:kept].T) / deviation


def curve_features(codec: Codec, space: Space, epochs: int) -> Features:
    """Principal components of R(t) for points that hold all parameters of a schedule space."""
    mean, projection = _components(space.name, epochs)
    read = _column_reader(codec, [p.name for p in space.parameters])
    low = np.array([p.low if p.choices is None else 0.0 for p in space.parameters])
    high = np.array([p.high if p.choices is None else 1.0 for p in space.parameters])

    def features(points: Array) -> Array:
        x = low + (high - low) * read(points)
        return np.asarray((space.rates(x, epochs) - mean) @ projection)

    return features


def parameter_features(codec: Codec) -> Features:
    """Weights of simplex groups, unit values of numbers, indicators of choices."""
    family = codec.family
    columns = [
        column
        for block, where in zip(family.blocks, family.point_slices, strict=True)
        # Of two parts, (a, 1 - a), one says all.
        for column in range(where.start, where.stop - (block.size == 2))
    ]
    # Unit variance under the uniform distribution, so that one prior fits all length scales.
    sample = family.sample(family.uniform(), _N_CURVES, np.random.default_rng(0))[:, columns]
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    return lambda points: np.asarray((points[:, columns] - mean) / deviation)


def features_for(codec: Codec, trials: Sequence[FrozenTrial]) -> Features:
    """Choose the features by what the trials say of themselves.

    The curve, if all trials suggested schedules of the same space and number of epochs and the
    codec holds all of its parameters; else the parameters.
    """
    said = [trial.user_attrs.get(SCHEDULE_ATTR) for trial in trials]
    kinds = {(attr["space"], attr["epochs"]) if attr else None for attr in said}
    if len(kinds) == 1 and (kind := kinds.pop()) is not None:
        space = SPACES[kind[0]]
        if all(p.name in codec.space for p in space.parameters):
            return curve_features(codec, space, kind[1])
    return parameter_features(codec)


def _column_reader(codec: Codec, names: Sequence[str]) -> Callable[[Array], Array]:
    """Return a function from points [n, D] to unit values of named parameters, [n, len(names)].

    A choice's value is its index.
    """
    slices = codec.family.point_slices
    group_slices = dict(zip(codec.groups, slices, strict=False))
    single_slices = dict(zip(codec.singles, slices[len(codec.groups) :], strict=True))
    place = {name: (g, i) for g, members in codec.groups.items() for i, name in enumerate(members)}

    def read(points: Array) -> Array:
        u = {g: uniform_from_simplex(points[:, where]) for g, where in group_slices.items()}
        columns = []
        for name in names:
            if name in place:
                group, i = place[name]
                columns.append(u[group][:, i])
            elif isinstance(codec.space[name], CategoricalDistribution):
                columns.append(np.argmax(points[:, single_slices[name]], axis=1).astype(float))
            else:
                columns.append(points[:, single_slices[name].start])
        return np.stack(columns, axis=1)

    return read
