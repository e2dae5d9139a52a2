"""Regularisation that is searched beside the schedule: names, ranges, suggestions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from s2e_optuna.errors import DataError, unknown_name
from s2e_optuna.training.config import TrainConfig

if TYPE_CHECKING:
    import numpy as np
    from optuna.trial import BaseTrial

SEARCHABLE = ("weight_decay", "learning_rate")
"""Fields of `TrainConfig` that can be searched jointly with R(t); stored trials have these names.

A test compares them with those that may differ among the trials of a stack."""

DECAYS = (1e-5, 0.03)
"""Range of the weight decay: at its lower end it does nothing, above the upper learning fails."""

RATES = 10.0
"""The learning rate is searched from a part in so many of the usual one to so many times it."""


def searched_names(names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Read names of what is searched, with commas between or one by one, in a fixed order.

    None are none.

    Raises
    ------
    DataError
        If one of them cannot be searched, or comes twice.

    Examples
    --------
    >>> searched_names("learning_rate, weight_decay")
    ('weight_decay', 'learning_rate')
    """
    given = names.split(",") if isinstance(names, str) else names or ()
    found = [name.strip().replace("-", "_") for name in given if name.strip()]
    for name in found:
        if name not in SEARCHABLE:
            raise unknown_name("parameter to search", name, SEARCHABLE)
    if len(set(found)) < len(found):
        raise DataError(f"{found[0]} is to be searched twice: name it once")
    return tuple(name for name in SEARCHABLE if name in found)


def bounds(name: str, config: TrainConfig) -> tuple[float, float]:
    """Return the range in which a parameter is searched, on a logarithmic scale."""
    if name == "weight_decay":
        return DECAYS
    usual = config.learning_rate_schedule.learning_rate
    return usual / RATES, usual * RATES


def suggest_searched(
    trial: BaseTrial, names: Sequence[str], config: TrainConfig
) -> dict[str, float]:
    """Suggest values of parameters by name, with any Optuna sampler."""
    return {name: trial.suggest_float(name, *bounds(name, config), log=True) for name in names}


def values_of(params: Mapping[str, object], names: Sequence[str]) -> dict[str, float]:
    """Return what a stored trial has of these parameters."""
    found = ((name, params.get(name)) for name in names)
    return {name: value for name, value in found if isinstance(value, float)}


def drawn_values(
    names: Sequence[str], config: TrainConfig, count: int, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Draw values for so many trainings; the first has those of the configuration.

    Parameters
    ----------
    names
        What is drawn, each from its `bounds`.
    config
        Says what is usual.
    count
        Trainings.
    rng
        Where they are drawn from.
    """
    usual = {
        "weight_decay": config.weight_decay,
        "learning_rate": config.learning_rate_schedule.learning_rate,
    }
    drawn = [{name: usual[name] for name in names}]
    for _ in range(count - 1):
        one = {}
        for name in names:
            low, high = bounds(name, config)
            one[name] = float(low * (high / low) ** rng.random())
        drawn.append(one)
    return drawn
