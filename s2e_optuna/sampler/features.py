"""Through what the objective depends on the parameters: the surrogate's inputs.

A training depends on the 19 parameters of a schedule only through the curve R(t), and the curves
of a space lie close to a few dimensions. So the features of a schedule are its first principal
components, in units of their standard deviation over the space at theta = 1. Early epochs count
more: what a network has not learnt when samples begin to be dropped it never learns.

For any other space the features are the parameters themselves, mapped to [0, 1]; or what the user
knows better: a function of the parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from s2e_optuna.relaxation import Prior
from s2e_optuna.sampler.codec import Codec
from s2e_optuna.schedules import SPACES, schedule_kind, uniform_from_simplex
from s2e_optuna.schedules.spaces import Parameter, Space

Array = NDArray[np.float64]
T = TypeVar("T")

FeatureFunction = Callable[[Mapping[str, Any]], ArrayLike]
"""A user's own features: a trial's parameters to q numbers."""

N_COMPONENTS = 4


class FeaturesError(ValueError):
    """A user's function of the parameters gives no features; says why, without a full stop."""


# Length scales that processes fitted to whole tuning tables (studies.record_table) have: R(t)'s
# level matters most, then its slope; the fourth component hardly ever does.
CURVE_PRIOR = Prior(lengths=(0.6, 2.0, 2.0, 10.0), length_spread=0.7)


@dataclass(frozen=True)
class Exploration:
    """Standard deviations that a lower confidence bound takes off.

    Attributes
    ----------
    usual
        By default.
    bold
        A trial takes the usual number or this one, at random; None: always the usual one.
    bold_from
        Known trials from which on the bold one is taken.
    """

    usual: float
    bold: float | None = None
    bold_from: int = 0

    def draw(self, known: int, rng: np.random.Generator) -> float:
        """Choose for one trial when so many are known."""
        if self.bold is None or known < self.bold_from:
            return self.usual
        return float(rng.choice((self.usual, self.bold)))


# Curves: chosen on the tuning tables, and the bold one on drawn functions of curves: without it a
# search can spend its later trials around what it took for the best.
_CURVE_EXPLORATION = Exploration(0.5, bold=3.0, bold_from=24)
_EXPLORATION = Exploration(1.0)
# With one deviation for all trials, a search stayed with the first good choice in every third run;
# with two for all, it took longer to get to the bottom of it.
_CHOICE_EXPLORATION = Exploration(1.0, bold=2.0)


@dataclass(frozen=True, eq=False)
class Features:
    """What the surrogate sees of a point.

    Attributes
    ----------
    of
        Points of a codec's family [n, D] to features [n, q]. A row is the same whatever rows
        there are beside it.
    of_draws
        The same for hundreds of points that were only drawn: in single precision where that is
        faster, which is exact to about a millionth of a deviation.
    prior
        What is known of the process on these features before any trial.
    exploration
        How far a trial is to explore.
    """

    of: Callable[[Array], Array]
    prior: Prior
    exploration: Exploration
    of_draws: Callable[[Array], Array] = field(kw_only=True)
    _known: dict[int, tuple[Mapping[str, Any], Array]] = field(default_factory=dict)

    def of_trials(self, codec: Codec, trials: Sequence[FrozenTrial]) -> Array:
        """Features of trials, shape [n, q]; of those that were asked for before, as they were."""
        found = [self._known.get(trial.number) for trial in trials]
        new = [
            trial
            for trial, known in zip(trials, found, strict=True)
            # The same object mostly, and two dictionaries are compared value by value.
            if known is None or (known[0] is not trial.params and known[0] != trial.params)
        ]
        fresh: dict[int, Array] = {}
        if new:
            rows = self.of(codec.encode([trial.params for trial in new]))
            fresh = {id(trial): row for trial, row in zip(new, rows, strict=True)}
            self._known.update({t.number: (t.params, fresh[id(t)]) for t in new})
        return np.array(
            [
                fresh[id(trial)] if known is None or id(trial) in fresh else known[1]
                for trial, known in zip(trials, found, strict=True)
            ]
        )


_EARLY = 0.25  # an epoch's weight falls with (1 + t) to this power
_N_CURVES = 4000
_N_OWN = 500  # a user's function is called once for each
_TOO_LARGE = 1e100  # as good as infinite: squares of larger numbers overflow
_MOST_EPOCHS = 10_000  # the components of longer curves would not fit into the memory


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


@lru_cache(maxsize=32)
def curve_features(codec: Codec, space: Space, epochs: int) -> Features:
    """Principal components of R(t), and the parameters that have no part in it.

    Parameters
    ----------
    codec
        Of points that hold all parameters of a schedule space, and perhaps others.
    space, epochs
        The schedules.
    """
    mean, projection = _components(space.name, epochs)
    names = [p.name for p in space.parameters]
    read = _column_reader(codec, names)
    low = np.array([p.low if p.choices is None else 0.0 for p in space.parameters])
    high = np.array([p.high if p.choices is None else 1.0 for p in space.parameters])

    mixed = None if space.drawn_curves is None else _mixture_columns(codec, space)
    single_mean, single_projection = mean.astype(np.float32), projection.astype(np.float32)

    def components(points: Array) -> Array:
        x = low + (high - low) * read(points)
        # A product of matrices would round a row by the rows beside it.
        return np.asarray(np.einsum("nt,tq->nq", space.rates(x, epochs) - mean, projection))

    def components_of_draws(points: Array) -> Array:
        if mixed is None:
            rates = space.rates(low + (high - low) * read(points), epochs)
            curves = rates.astype(np.float32)
        else:
            weights, shapes = mixed
            curves = space.drawn_rates(points[:, weights], points[:, shapes], epochs)
        curves -= single_mean
        return (curves @ single_projection).astype(np.float64)

    columns = _columns(codec, without=names)
    if not columns:
        return Features(components, CURVE_PRIOR, _CURVE_EXPLORATION, of_draws=components_of_draws)
    others = _standardised(codec, lambda points: points[:, columns], _N_CURVES)

    def features(points: Array) -> Array:
        return np.concatenate([components(points), others.of(points)], axis=1)

    def features_of_draws(points: Array) -> Array:
        return np.concatenate([components_of_draws(points), others.of_draws(points)], axis=1)

    lengths = (*CURVE_PRIOR.lengths[: projection.shape[1]], *others.prior.lengths)
    prior = replace(CURVE_PRIOR, lengths=lengths)
    return Features(features, prior, others.exploration, of_draws=features_of_draws)


@lru_cache(maxsize=32)
def parameter_features(codec: Codec) -> Features:
    """Weights of simplex groups, unit values of numbers, indicators of choices."""
    columns = _columns(codec)
    return _standardised(codec, lambda points: points[:, columns], _N_CURVES)


@lru_cache(maxsize=32)
def own_features(codec: Codec, function: FeatureFunction) -> Features:
    """Take a user's function of the parameters.

    Raises
    ------
    FeaturesError
        The function fails, or does not return the same number of finite numbers everywhere; so
        may the features that are returned.
    """

    def of_one(params: dict[str, Any]) -> Array:
        try:
            numbers = np.atleast_1d(np.asarray(function(params), dtype=np.float64))
        except Exception as error:  # somebody else's function: anything
            raise FeaturesError(
                f"features fails with {type(error).__name__}: {error}, for {params}"
            ) from error
        if numbers.ndim != 1 or not np.all(np.abs(numbers) < _TOO_LARGE):
            raise FeaturesError(
                f"features must return finite numbers, but returned {numbers} for {params}"
            )
        return numbers

    def features(points: Array) -> Array:
        rows = [of_one(params) for params in codec.decode_all(points)]
        if len({len(row) for row in rows}) > 1:
            raise FeaturesError("features must return equally many numbers for all parameters")
        return np.array(rows)

    return _standardised(codec, features, _N_OWN)


def with_own(
    own: FeatureFunction | None,
    compute: Callable[[FeatureFunction | None], T],
    on_failure: Callable[[FeaturesError], None] = lambda error: None,
) -> T:
    """Compute something with a user's features; where they fail, with the parameters themselves.

    Parameters
    ----------
    own
        The user's function; None without one.
    compute
        What to compute, given the function or None. It is decided anew for each: who recomputes
        it later comes to the same decision.
    on_failure
        Called before it is computed without.
    """
    if own is None:
        return compute(None)
    try:
        return compute(own)
    except FeaturesError as error:
        on_failure(error)
        return compute(None)


def _standardised(codec: Codec, features: Callable[[Array], Array], n: int) -> Features:
    """Give features unit variance under theta^1, so that one prior fits all length scales."""
    family = codec.family
    sample = features(family.sample(family.uniform(), n, np.random.default_rng(0)))
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    deviation[deviation == 0.0] = 1.0

    def standardised(points: Array) -> Array:
        return np.asarray((features(points) - mean) / deviation)

    has_choices = any(block.kind == "categorical" for block in family.blocks)
    exploration = _CHOICE_EXPLORATION if has_choices else _EXPLORATION
    return Features(standardised, Prior(), exploration, of_draws=standardised)


def features_for(
    codec: Codec, trials: Sequence[FrozenTrial], own: FeatureFunction | None = None
) -> Features:
    """Choose the features: the user's own, or by what the trials say of themselves.

    The curve, if trials suggested schedules and the codec holds all parameters of their space;
    else the parameters. The commonest space and number of epochs count for all trials: the curve
    needs the parameters only, which an added trial has, too.

    Parameters
    ----------
    codec
        Of the points that the features are of.
    trials
        Those that are to be modelled.
    own
        The user's own features.
    """
    if own is not None:
        return own_features(codec, own)
    said = Counter(kind for trial in trials if (kind := _kind(codec, trial)) is not None)
    for (name, epochs), _ in said.most_common():
        if epochs <= _MOST_EPOCHS and _has_all(codec, name):
            return curve_features(codec, SPACES[name], epochs)
    return parameter_features(codec)


def _kind(codec: Codec, trial: FrozenTrial) -> tuple[str, int] | None:
    """`schedule_kind`, which a codec keeps by trial: finished trials stay the objects they are."""
    known = codec.kinds.get(trial.number)
    if known is None or known[0] is not trial:
        known = codec.kinds[trial.number] = trial, schedule_kind(trial)
    return known[1]


@lru_cache(maxsize=32)
def _has_all(codec: Codec, name: str) -> bool:
    """Whether a codec holds all parameters of a schedule space."""
    return all(_is_of(p, codec.space.get(p.name)) for p in SPACES[name].parameters)


def _is_of(parameter: Parameter, distribution: BaseDistribution | None) -> bool:
    """Whether a distribution is that of a schedule space's parameter."""
    if parameter.choices is not None:
        return distribution == CategoricalDistribution(parameter.choices)
    return distribution == FloatDistribution(parameter.low, parameter.high)


def _mixture_columns(codec: Codec, space: Space) -> tuple[slice, list[int]]:
    """Where points hold the weights of a mixture of the basis functions, and its shapes."""
    members = [*codec.groups.values(), *([name] for name in codec.singles)]
    at = {tuple(m): where for m, where in zip(members, codec.family.point_slices, strict=True)}
    names = [p.name for p in space.parameters]
    n = len(space.simplex) or 1  # without a simplex, a choice is first
    return at[tuple(names[:n])], [at[name,].start for name in names[n:]]


def _columns(codec: Codec, without: Collection[str] = ()) -> list[int]:
    """Columns of the points of a codec's family, less those of some parameters.

    Of two parts, (a, 1 - a), one says all.
    """
    family = codec.family
    members = [*codec.groups.values(), *([name] for name in codec.singles)]
    return [
        column
        for block, where, names in zip(family.blocks, family.point_slices, members, strict=True)
        if not set(names) <= set(without)
        for column in range(where.start, where.stop - (block.size == 2))
    ]


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
