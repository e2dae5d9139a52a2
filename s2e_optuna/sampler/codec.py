"""Between Optuna's parameters and the points of a `Family`.

Floats (linear, log, stepped) and ints map to [0, 1] and get a Beta each; stepped ones and ints
are the midpoints of their cells, as in Optuna's own samplers. Categoricals get a categorical
block. The stick-breaking parameters of a simplex group (`suggest_simplex`) are read back as the
weights they stand for and get one Dirichlet. The Jacobian of that map does not depend on theta,
so the score is that of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from s2e_optuna.relaxation import Block, Family
from s2e_optuna.schedules import simplex_from_uniform, simplex_groups, uniform_from_simplex

Array = NDArray[np.float64]

_EDGE = 1e-9  # unit values are kept this far from 0 and 1, where log x is infinite


def to_unit(distribution: FloatDistribution | IntDistribution, values: ArrayLike) -> Array:
    """Map values to [0, 1]; stepped values to the middle of their cell."""
    values = np.asarray(values, dtype=np.float64)
    low, high = _cell_range(distribution)
    if distribution.log:
        return np.asarray((np.log(values) - math.log(low)) / (math.log(high) - math.log(low)))
    return (values - low) / (high - low)


def from_unit(distribution: FloatDistribution | IntDistribution, units: ArrayLike) -> Array:
    """Map numbers in [0, 1] to values."""
    units = np.asarray(units, dtype=np.float64)
    low, high = _cell_range(distribution)
    if distribution.log:
        values = np.exp(math.log(low) + units * (math.log(high) - math.log(low)))
    else:
        values = low + units * (high - low)
    if distribution.step is not None:
        cells = np.rint((values - distribution.low) / distribution.step)
        values = distribution.low + cells * distribution.step
    return np.clip(values, distribution.low, distribution.high)


def value_at(distribution: FloatDistribution | IntDistribution, unit: float) -> float | int:
    """Map a number in [0, 1] to a value of the type that Optuna gives."""
    value = float(from_unit(distribution, unit))
    return int(value) if isinstance(distribution, IntDistribution) else value


def _cell_range(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    half = 0.5 * distribution.step if distribution.step is not None else 0.0
    return distribution.low - half, distribution.high + half


def draw_uniformly(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    """Draw one value from theta^1, the uniform distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise ValueError(f"S2ESampler does not know the distribution {distribution}.")
    return value_at(distribution, rng.random())


def common_space(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Return the parameters that all trials have with the same distributions, of many values."""
    return {
        name: distribution
        for name, distribution in trials[0].distributions.items()
        if not distribution.single()
        and all(trial.distributions.get(name) == distribution for trial in trials)
    }


@dataclass(frozen=True, eq=False)
class Codec:
    """Encodes the parameters of one search space as points x and back.

    Parameters
    ----------
    space
        Parameter names and distributions; none of them with a single value only.
    """

    space: Mapping[str, BaseDistribution]

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Simplex groups and their parameters."""
        unit = [
            name
            for name, distribution in self.space.items()
            if distribution == FloatDistribution(0.0, 1.0)
        ]
        return simplex_groups(unit)

    @cached_property
    def singles(self) -> list[str]:
        """Parameters outside the simplex groups, sorted."""
        grouped = {name for names in self.groups.values() for name in names}
        return sorted(set(self.space) - grouped)

    @cached_property
    def family(self) -> Family:
        """The family of distributions: the groups' Dirichlets, then one block a parameter."""
        blocks = [Block("dirichlet", len(names) + 1) for names in self.groups.values()]
        for name in self.singles:
            distribution = self.space[name]
            if isinstance(distribution, CategoricalDistribution):
                blocks.append(Block("categorical", len(distribution.choices)))
            else:
                blocks.append(Block("dirichlet", 2))
        return Family(tuple(blocks))

    def encode(self, params: Iterable[Mapping[str, Any]]) -> Array:
        """Encode parameter values as points, shape [n, D]."""
        rows = list(params)
        parts: list[Array] = []
        for names in self.groups.values():
            u = np.array([[row[name] for name in names] for row in rows]).reshape(-1, len(names))
            alpha = np.maximum(simplex_from_uniform(u), _EDGE)
            parts.append(alpha / alpha.sum(axis=1, keepdims=True))
        for name in self.singles:
            distribution = self.space[name]
            if isinstance(distribution, CategoricalDistribution):
                index = [int(distribution.to_internal_repr(row[name])) for row in rows]
                parts.append(np.eye(len(distribution.choices))[index])
            else:
                assert isinstance(distribution, FloatDistribution | IntDistribution)
                unit = to_unit(distribution, [row[name] for row in rows])
                unit = np.clip(unit, _EDGE, 1.0 - _EDGE)
                parts.append(np.stack([unit, 1.0 - unit], axis=1))
        return np.concatenate(parts, axis=1)

    def snapped(self, points: Array) -> Array:
        """Move points [n, D] to the middle of the cells that stepped parameters and ints have."""
        snapped = points.copy()
        slices = self.family.point_slices[len(self.groups) :]
        for name, where in zip(self.singles, slices, strict=True):
            d = self.space[name]
            if isinstance(d, FloatDistribution | IntDistribution) and d.step is not None:
                unit = to_unit(d, from_unit(d, points[:, where.start]))
                snapped[:, where] = np.stack([unit, 1.0 - unit], axis=1)
        return snapped

    def pinned(self, points: Array, params: Mapping[str, Any]) -> Array:
        """Move points [n, D] to where some of the parameters have given values."""
        known = {name: value for name, value in params.items() if name in self.space}
        (pins,) = self.encode([self.decode(points[0]) | known])
        pinned = points.copy()
        slices = self.family.point_slices
        for names, where in zip(self.groups.values(), slices, strict=False):
            u = uniform_from_simplex(points[:, where])
            for i, name in enumerate(names):
                u[:, i] = known.get(name, u[:, i])
            pinned[:, where] = simplex_from_uniform(u)
        for name, where in zip(self.singles, slices[len(self.groups) :], strict=True):
            if name in known:
                pinned[:, where] = pins[where]
        return pinned

    def decode(self, x: Array) -> dict[str, Any]:
        """Decode one point, shape [D], to parameter values."""
        parts = [x[where] for where in self.family.point_slices]
        params: dict[str, Any] = {}
        for names, alpha in zip(self.groups.values(), parts, strict=False):
            u = np.clip(uniform_from_simplex(alpha), _EDGE, 1.0 - _EDGE)
            params.update(zip(names, map(float, u), strict=True))
        for name, part in zip(self.singles, parts[len(self.groups) :], strict=True):
            distribution = self.space[name]
            if isinstance(distribution, CategoricalDistribution):
                params[name] = distribution.choices[int(np.argmax(part))]
            else:
                assert isinstance(distribution, FloatDistribution | IntDistribution)
                params[name] = value_at(distribution, float(part[0]))
        return params
