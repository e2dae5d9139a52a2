"""Search spaces of schedules: S2E's own and the four it is compared with (Table 3).

A space turns a point x, the values of its Optuna parameters, into a curve R(t). It is a value:
parameter ranges and one vectorised function. All curves are clipped to [0, 1] with R(0) = 1.

==============  ==========================================================  ==========
space           curve                                                       parameters
==============  ==========================================================  ==========
``s2e``         sum of the four basis functions of Table 1, eq. (4)         3 + 16
``coteaching``  1 - tau min((t/t_k)^c, 1), eq. (1)                          3
``single``      one basis function of Table 1, the choice included          1 + 4
``rbf``         sigmoid of four Gaussians on t/T                            12
``mlp``         sigmoid of a network with one layer of four ReLU units      13
==============  ==========================================================  ==========
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2e_optuna.schedules.basis import BASIS_NAMES, basis_function
from s2e_optuna.schedules.drawn import Singles, mixed_curves
from s2e_optuna.schedules.schedule import Schedule, clip_rates
from s2e_optuna.schedules.simplex import simplex_from_uniform, simplex_parameter_names

if TYPE_CHECKING:
    from optuna.trial import BaseTrial, FrozenTrial

Array = NDArray[np.float64]

SCHEDULE_ATTR = "schedule"
"""User attribute in which `suggest_schedule` leaves the space, the epochs and alpha."""

MAX_EPOCHS = 1_000_000
"""A training of more epochs is a slip, and its curve would not fit into the memory."""

_N_UNITS = 4  # Gaussians of `rbf`, hidden units of `mlp`: as many as `s2e` has basis functions


@dataclass(frozen=True)
class Parameter:
    """One Optuna parameter of a space: a float in [low, high], or one of ``choices``."""

    name: str
    low: float = 0.0
    high: float = 1.0
    choices: tuple[str, ...] | None = None

    def suggest(self, trial: BaseTrial) -> float | str:
        """Ask the trial for a value."""
        if self.choices is not None:
            return trial.suggest_categorical(self.name, self.choices)
        return trial.suggest_float(self.name, self.low, self.high)

    def encode(self, value: Any) -> float:
        """Turn a value into a number: itself, or the index of the choice; ValueError if neither.

        A number outside the range is left as it is: `Space.rates` takes the nearer end.
        """
        return float(value) if self.choices is None else float(self.choices.index(value))


@dataclass(frozen=True)
class Space:
    """A search space of schedules.

    Parameters
    ----------
    name
        Its name, a key of `SPACES`.
    parameters
        The Optuna parameters, d of them.
    curves
        ``(x [n, d], epochs) -> [n, epochs]``, before clipping.
    simplex
        Names of the leading parameters that hold the weights alpha; empty if there are none.
    drawn_curves
        ``(weights [n, 4], shapes [n, d'], epochs) -> [n, epochs]``, where curves are mixtures of
        the basis functions, in single precision: the weights may be alpha or a choice's one-hot
        vector, the shapes are the other parameters.
    """

    name: str
    parameters: tuple[Parameter, ...]
    curves: Callable[[Array, int], Array]
    simplex: tuple[str, ...] = ()
    drawn_curves: Callable[[Array, Array, int], Singles] | None = None

    @cached_property
    def _bounds(self) -> tuple[Array, Array]:
        low = [p.low if p.choices is None else 0.0 for p in self.parameters]
        high = [p.high if p.choices is None else len(p.choices) - 1.0 for p in self.parameters]
        return np.array(low), np.array(high)

    def rates(self, x: ArrayLike, epochs: int) -> Array:
        """Curves R(t) of points x, shape [n, d]: shape [n, epochs], in [0, 1], R(0) = 1.

        What lies outside the space, as an enqueued value may, counts as its nearer end.
        """
        x = np.clip(np.asarray(x, dtype=np.float64), *self._bounds)
        return clip_rates(self.curves(x, epochs))

    def drawn_rates(self, weights: Array, shapes: Array, epochs: int) -> Singles:
        """Curves of many points, as `rates` gives them, by `drawn_curves`.

        Parameters
        ----------
        weights
            Of the basis functions, shape [n, 4].
        shapes
            The other parameters, shape [n, d'].
        epochs
            Number of epochs T.

        Returns
        -------
        numpy.ndarray
            In single precision, shape [n, T].
        """
        assert self.drawn_curves is not None
        curves = self.drawn_curves(weights, shapes, epochs)
        np.clip(curves, 0.0, 1.0, out=curves)
        curves[:, 0] = 1.0
        return curves

    def encode(self, params: Mapping[str, Any]) -> Array:
        """Read a point, shape [d], from stored parameter values.

        Raises
        ------
        KeyError
            If one is missing.
        ValueError, TypeError
            If one is no value of its parameter.
        """
        return np.array([p.encode(params[p.name]) for p in self.parameters])

    def schedule(
        self, params: Mapping[str, Any], epochs: int, *, name: str | None = None
    ) -> Schedule:
        """Rebuild the schedule from stored parameter values.

        Parameters
        ----------
        params
            Values of all parameters of the space, by name.
        epochs
            Number of epochs T.
        name
            A label for plots and tables; by default the space's name.
        """
        rates = self.rates(self.encode(params)[None, :], epochs)[0]
        return Schedule(rates, name=name or self.name)


def _s2e_curves(x: Array, epochs: int) -> Array:
    alpha = simplex_from_uniform(x[:, :3])
    shapes = x[:, 3:].reshape(-1, len(BASIS_NAMES), 4)
    curves = np.zeros((len(x), epochs))
    for i, name in enumerate(BASIS_NAMES):
        curves += alpha[:, i, None] * basis_function(name, shapes[:, i], epochs)  # eq. (4)
    return curves


def _drawn_s2e_curves(alpha: Array, shapes: Array, epochs: int) -> Singles:
    return mixed_curves(alpha, shapes.reshape(-1, len(BASIS_NAMES), 4), epochs)


def _coteaching_curves(x: Array, epochs: int) -> Array:
    tau, t_k, c = x[:, :1], x[:, 1:2], x[:, 2:]
    t = np.arange(epochs) / epochs
    ramp = t / np.maximum(t_k, 1e-9)  # t_k = 0: all of the drop at once
    return np.asarray(1.0 - tau * np.minimum(ramp**c, 1.0))  # eq. (1)


def _single_curves(x: Array, epochs: int) -> Array:
    curves = np.stack([basis_function(name, x[:, 1:], epochs) for name in BASIS_NAMES])
    return np.asarray(curves[x[:, 0].astype(int), np.arange(len(x))])


def _drawn_single_curves(chosen: Array, shapes: Array, epochs: int) -> Singles:
    each = np.broadcast_to(shapes[:, None], (len(shapes), len(BASIS_NAMES), 4))
    return mixed_curves(chosen, each, epochs)


def _sigmoid(z: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def _rbf_curves(x: Array, epochs: int) -> Array:
    centre, width, weight = (x.reshape(-1, 3, _N_UNITS)[:, i, :, None] for i in range(3))
    distance = np.arange(epochs) / epochs - centre
    # A Gaussian of no width is a spike at its centre; the floor only avoids 0/0.
    gaussians = np.exp(-0.5 * (distance / np.maximum(width, 1e-9)) ** 2)
    return _sigmoid(np.sum(weight * gaussians, axis=1))


_normal_quantile = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])


def _mlp_curves(x: Array, epochs: int) -> Array:
    # Weights are N(0, 1), stored as their quantiles; the ends are cut at ±4.75 sd.
    weights = _normal_quantile(np.clip(x, 1e-6, 1 - 1e-6))
    w1, b1, w2 = (weights[:, :-1].reshape(-1, 3, _N_UNITS)[:, i, :, None] for i in range(3))
    hidden = np.maximum(w1 * (np.arange(epochs) / epochs) + b1, 0.0)
    return _sigmoid(np.sum(w2 * hidden, axis=1) + weights[:, -1:])


def _shape_parameters(prefix: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(f"{prefix}a{j}") for j in range(1, 5))


def _units(*names: str, high: Mapping[str, float] | None = None) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(f"{name}{i}", high=(high or {}).get(name, 1.0))
        for name in names
        for i in range(1, _N_UNITS + 1)
    )


_ALPHA = tuple(simplex_parameter_names("alpha", len(BASIS_NAMES)))

SPACES: dict[str, Space] = {
    space.name: space
    for space in (
        Space(
            "s2e",
            tuple(Parameter(name) for name in _ALPHA)
            + tuple(p for name in BASIS_NAMES for p in _shape_parameters(f"{name}_")),
            _s2e_curves,
            simplex=_ALPHA,
            drawn_curves=_drawn_s2e_curves,
        ),
        Space(
            "coteaching",
            (Parameter("tau"), Parameter("t_k_over_T"), Parameter("c", high=2.0)),
            _coteaching_curves,
        ),
        Space(
            "single",
            (Parameter("basis", choices=BASIS_NAMES), *_shape_parameters("")),
            _single_curves,
            drawn_curves=_drawn_single_curves,
        ),
        Space("rbf", _units("centre", "width", "weight", high={"width": 0.5}), _rbf_curves),
        Space("mlp", (*_units("w1_", "b1_", "w2_"), Parameter("b2")), _mlp_curves),
    )
}


def get_space(name: str) -> Space:
    """Look a space up by name; ValueError names those there are."""
    if name not in SPACES:
        raise ValueError(f"unknown space {name!r}: choose one of {', '.join(SPACES)}.")
    return SPACES[name]


def suggest_schedule(trial: BaseTrial, epochs: int, space: str = "s2e") -> Schedule:
    """Suggest a schedule R(t), with any Optuna sampler.

    Parameters
    ----------
    trial
        An Optuna trial.
    epochs
        Number of training epochs T, from 1 to `MAX_EPOCHS`.
    space
        ``"s2e"`` (eq. (4) with Table 1), or for comparison ``"coteaching"``, ``"single"``,
        ``"rbf"``, ``"mlp"`` (Section 4.3.1).

    Returns
    -------
    Schedule
        With ``epochs`` rates; for an enqueued value outside the space, of which Optuna warns, that
        of the nearer end. The trial keeps the space, the number of epochs and, in the S2E
        space, the weights alpha as the user attribute ``schedule``.

    Raises
    ------
    ValueError
        If the space is unknown, or ``epochs`` less than 1 or more than `MAX_EPOCHS`.

    Examples
    --------
    >>> import optuna
    >>> from s2e_optuna import S2ESampler, suggest_schedule
    >>> study = optuna.create_study(sampler=S2ESampler(seed=0))
    >>> trial = study.ask()
    >>> len(suggest_schedule(trial, epochs=30).rates)
    30
    """
    chosen = get_space(space)
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, but epochs={epochs}.")
    if epochs > MAX_EPOCHS:
        raise ValueError(f"epochs must be at most {MAX_EPOCHS:,}, but epochs={epochs:,}.")
    params = {parameter.name: parameter.suggest(trial) for parameter in chosen.parameters}
    attr: dict[str, Any] = {"space": space, "epochs": epochs}
    if chosen.simplex:
        alpha = simplex_from_uniform([params[name] for name in chosen.simplex])
        attr["alpha"] = [round(float(weight), 9) for weight in alpha]
    trial.set_user_attr(SCHEDULE_ATTR, attr)
    return chosen.schedule(params, epochs)


def trial_schedule(trial: FrozenTrial) -> Schedule | None:
    """Rebuild the schedule of a stored trial; None if it never suggested one, or not all of it."""
    kind = schedule_kind(trial)
    if kind is None:
        return None
    space, epochs = get_space(kind[0]), kind[1]
    try:
        return space.schedule(trial.params, epochs, name=f"trial {trial.number}")
    except (KeyError, TypeError, ValueError, OverflowError):  # missing, or values of another space
        return None


def schedule_kind(trial: FrozenTrial) -> tuple[str, int] | None:
    """Name of the space and number of epochs of a trial's schedule, as the trial itself says.

    None if it says nothing; a user's own attribute of the same name is none of ours.
    """
    attr = trial.user_attrs.get(SCHEDULE_ATTR)
    if not isinstance(attr, dict):
        return None
    space, epochs = attr.get("space"), attr.get("epochs")
    if not isinstance(space, str) or space not in SPACES:
        return None
    if not isinstance(epochs, int) or isinstance(epochs, bool) or not 1 <= epochs <= MAX_EPOCHS:
        return None
    return space, epochs
