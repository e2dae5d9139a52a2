"""Between Optuna's parameters and the points of a `Family`.

Floats (linear, log, stepped) and ints map to [0, 1] and get a Beta each; stepped ones and ints
are the midpoints of their cells, as in Optuna's own samplers. Categoricals get a categorical
block. The stick-breaking parameters of a simplex group (`suggest_simplex`) are read back as the
weights they stand for and get one Dirichlet. The Jacobian of that map does not depend on theta,
so the score is that of the weights.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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

Numerical = FloatDistribution | IntDistribution

_EDGE = 1e-9  # unit values are kept this far from 0 and 1, where log x is infinite


def searchable(distribution: BaseDistribution) -> bool:
    """Whether there is something to search: several values, in a range that has two ends."""
    if isinstance(distribution, Numerical) and not _bounded(distribution):
        return False  # before `single`, which fails for NaN
    known = isinstance(distribution, Numerical | CategoricalDistribution)
    return known and not distribution.single()


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a stored value can be taken for one of a distribution.

    Optuna stores what was enqueued, whatever it is. A number between two steps is as good as one
    on a step.
    """
    if isinstance(distribution, CategoricalDistribution):
        try:
            distribution.to_internal_repr(value)
        except (TypeError, ValueError, OverflowError):
            return False
        return True
    if not isinstance(distribution, Numerical):
        return False
    return distribution.low <= as_number(value) <= distribution.high


def nearest(distribution: BaseDistribution, value: Any) -> Any:
    """Return the value of a distribution that is nearest to a given one.

    Raises
    ------
    ValueError
        If none is: for another choice, and for what is no number.
    """
    if holds(distribution, value):
        return value
    number = as_number(value)
    if not isinstance(distribution, Numerical) or math.isnan(number):
        raise ValueError(f"{value!r} is no value of {distribution}.")
    return distribution.low if number < distribution.low else distribution.high


def lie_in(space: Mapping[str, BaseDistribution], params: Mapping[str, Any]) -> bool:
    """Whether there are values of all parameters of a space, which it holds."""
    return all(name in params and holds(d, params[name]) for name, d in space.items())


def fits(space: Mapping[str, BaseDistribution], trial: FrozenTrial) -> bool:
    """Whether a trial has all parameters of a space, and with values that lie in it."""
    own = trial.distributions
    return all(own.get(name) == d for name, d in space.items()) and lie_in(space, trial.params)


def has_places(space: Mapping[str, BaseDistribution], trial: FrozenTrial) -> bool:
    """Whether a trial has all parameters of a space, with values that lie in it or beside it."""
    own, params = trial.distributions, trial.params
    try:
        for name, distribution in space.items():
            nearest(distribution, params[name])
    except (KeyError, ValueError):
        return False
    return all(own.get(name) == distribution for name, distribution in space.items())


def to_unit(distribution: Numerical, values: ArrayLike) -> Array:
    """Map values to [0, 1]; stepped values to the middle of their cell.

    Parameters
    ----------
    distribution
        One that is `searchable`.
    values
        Values that it holds, shape [...].

    Returns
    -------
    numpy.ndarray
        Numbers in [0, 1], shape [...].
    """
    units = _Numbers.of([distribution]).to_unit(np.asarray(values, dtype=np.float64)[..., None])
    return np.asarray(units[..., 0])


def from_unit(distribution: Numerical, units: ArrayLike) -> Array:
    """Map numbers in [0, 1] to values; the inverse of `to_unit`, shape [...] to [...]."""
    values = _Numbers.of([distribution]).from_unit(np.asarray(units, dtype=np.float64)[..., None])
    return np.asarray(values[..., 0])


def value_at(distribution: Numerical, unit: float) -> float | int:
    """Map a number in [0, 1] to a value of the type that Optuna gives."""
    return _of_its_type(distribution, float(from_unit(distribution, unit)))


def _of_its_type(distribution: Numerical, value: float) -> float | int:
    if isinstance(distribution, FloatDistribution):
        return value
    low, high, step = distribution.low, distribution.high, distribution.step
    whole = min(low + (int(value) - low + step // 2) // step * step, high)
    # Optuna stores integers as floats, and beyond 2^53 not every one has its own.
    return whole if low <= float(whole) <= high else low


def as_number(value: Any) -> float:
    """Return a value as a float; NaN if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _bounded(distribution: Numerical) -> bool:
    return math.isfinite(as_number(distribution.low)) and math.isfinite(
        as_number(distribution.high)
    )


def _line(distribution: Numerical) -> tuple[float, float, float]:
    """Where a distribution's cells begin, how wide they are together, and in which unit.

    The unit is one, or less where the width would not be a finite number.
    """
    half = 0.5 * distribution.step if distribution.step is not None else 0.0
    low, high = distribution.low - half, distribution.high + half
    if distribution.log:
        low, high = math.log(low), math.log(high)
    if math.isfinite(high - low):
        return low, high - low, 1.0
    return 0.25 * low, 0.25 * high - 0.25 * low, 0.25


@dataclass(frozen=True, eq=False)
class _Numbers:
    """Floats and ints, m of them side by side: a trial's are mapped all at once."""

    low: Array
    high: Array
    log: NDArray[np.bool_]
    step: Array
    """0 where there is none."""
    lines: Array
    """`_line` of each, shape [3, m]."""

    @classmethod
    def of(cls, distributions: Sequence[Numerical]) -> _Numbers:
        def all_of(values: Iterable[Any]) -> Array:
            return np.array([float(value) for value in values], dtype=np.float64)

        return cls(
            all_of(d.low for d in distributions),
            all_of(d.high for d in distributions),
            np.array([d.log for d in distributions], dtype=bool),
            all_of(d.step or 0.0 for d in distributions),
            np.array([_line(d) for d in distributions], dtype=np.float64).reshape(-1, 3).T,
        )

    def to_unit(self, values: Array) -> Array:
        """Map values [..., m] to [0, 1], as `to_unit` does."""
        low, width, scale = self.lines
        found = values * scale
        if self.log.any():
            found[..., self.log] = np.log(values[..., self.log])
        found -= low
        # Two logarithms may be the same where their numbers are not.
        flat = width == 0.0
        found /= np.where(flat, 1.0, width)
        if flat.any():
            found[..., flat] = 0.5
        return np.asarray(found)

    def from_unit(self, units: Array) -> Array:
        """Map numbers [..., m] in [0, 1] to values."""
        low, width, scale = self.lines
        values = low + units * width
        if self.log.any():
            values[..., self.log] = np.exp(values[..., self.log])
        if (stepped := self.step > 0.0).any():
            of = scale[stepped]
            first, step = self.low[stepped] * of, self.step[stepped] * of
            cells = np.rint((values[..., stepped] - first) / step)
            values[..., stepped] = first + cells * step
        with np.errstate(over="ignore"):  # the highest value may round up to infinity
            return np.asarray(np.clip(values / scale, self.low, self.high))


def draw_uniformly(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    """Draw one value from theta^1, the uniform distribution.

    Raises
    ------
    ValueError
        If there is no uniform distribution on it.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    if not isinstance(distribution, Numerical):
        raise ValueError(f"S2ESampler does not know the distribution {distribution}.")
    if not _bounded(distribution):
        raise ValueError(f"S2ESampler needs a lower and an upper end, but has {distribution}.")
    return value_at(distribution, rng.random())


def common_space(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Return the parameters that all trials have with the same distributions, of many values.

    Trials without any parameter, which somebody has added, have no say.
    """
    spaces = [trial.distributions for trial in trials if trial.distributions]
    return {
        name: distribution
        for name, distribution in (spaces[0] if spaces else {}).items()
        if searchable(distribution) and all(space.get(name) == distribution for space in spaces)
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
    kinds: dict[int, tuple[FrozenTrial, tuple[str, int] | None]] = field(
        default_factory=dict, init=False, repr=False
    )
    """What `features` knows of trials by number, so that a trial is read once."""

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
        """Encode parameter values as points, shape [n, D].

        A number outside its range counts as the nearer end.
        """
        rows = list(params)
        parts: list[Array] = []
        for names in self.groups.values():
            u = np.array([[row[name] for name in names] for row in rows]).reshape(-1, len(names))
            alpha = np.maximum(simplex_from_uniform(u), _EDGE)
            parts.append(alpha / alpha.sum(axis=1, keepdims=True))
        points = np.empty((len(rows), self.family.size))
        slices = self.family.point_slices
        for part, where in zip(parts, slices, strict=False):
            points[:, where] = part
        names, numbers, columns = self._numbers
        values = np.array([[row[name] for name in names] for row in rows], dtype=np.float64)
        values = np.clip(values.reshape(len(rows), -1), numbers.low, numbers.high)
        unit = np.clip(numbers.to_unit(values), _EDGE, 1.0 - _EDGE)
        points[:, columns], points[:, columns + 1] = unit, 1.0 - unit
        for name, where in zip(self.singles, slices[len(self.groups) :], strict=True):
            distribution = self.space[name]
            if isinstance(distribution, CategoricalDistribution):
                index = [int(distribution.to_internal_repr(row[name])) for row in rows]
                points[:, where] = np.eye(len(distribution.choices))[index]
        return points

    @cached_property
    def _numbers(self) -> tuple[list[str], _Numbers, NDArray[np.intp]]:
        """The floats and ints outside the groups, and the first column of each one's block."""
        places = dict(zip(self.singles, self.family.point_slices[len(self.groups) :], strict=True))
        found = {n: d for n in places if isinstance(d := self.space[n], Numerical)}
        columns = np.array([places[name].start for name in found], dtype=np.intp)
        return list(found), _Numbers.of(list(found.values())), columns

    def snapped(self, points: Array) -> Array:
        """Move points [n, D] to the middle of the cells that stepped parameters and ints have."""
        snapped = points.copy()
        _, numbers, columns = self._numbers
        if (stepped := numbers.step > 0.0).any():
            units = numbers.to_unit(numbers.from_unit(points[:, columns]))[:, stepped]
            at = columns[stepped]
            snapped[:, at], snapped[:, at + 1] = units, 1.0 - units
        return snapped

    def pinned(self, points: Array, params: Mapping[str, Any]) -> Array:
        """Move points [n, D] to where some of the parameters have given values.

        Parameters
        ----------
        points
            Points, shape [n, D]; at least one.
        params
            Values, which are stored and may be anything: of one outside its range the nearer end
            counts, and what is no value of its parameter does not count.

        Returns
        -------
        numpy.ndarray
            The moved points, shape [n, D].
        """
        known = {}
        for name in self.space.keys() & params.keys():
            with contextlib.suppress(ValueError):
                known[name] = nearest(self.space[name], params[name])
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
        return self.decode_all(x[None])[0]

    def decode_all(self, points: Array) -> list[dict[str, Any]]:
        """Decode points, shape [n, D], to parameter values."""
        slices = self.family.point_slices
        columns: dict[str, list[Any]] = {}
        for names, where in zip(self.groups.values(), slices, strict=False):
            u = np.clip(uniform_from_simplex(points[:, where]), _EDGE, 1.0 - _EDGE)
            columns.update(zip(names, u.T.tolist(), strict=True))
        names, numbers, places = self._numbers
        values = dict(zip(names, numbers.from_unit(points[:, places]).T.tolist(), strict=True))
        for name, where in zip(self.singles, slices[len(self.groups) :], strict=True):
            distribution = self.space[name]
            if isinstance(distribution, Numerical):
                columns[name] = [_of_its_type(distribution, value) for value in values[name]]
            else:
                assert isinstance(distribution, CategoricalDistribution)
                chosen = np.argmax(points[:, where], axis=1).tolist()
                columns[name] = [distribution.choices[i] for i in chosen]
        return [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
