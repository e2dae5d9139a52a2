"""Schedules R(t): basis functions, search spaces, `Schedule`. NumPy only."""

from s2e_optuna.schedules.basis import BASIS_NAMES, basis_function
from s2e_optuna.schedules.schedule import Schedule
from s2e_optuna.schedules.simplex import (
    simplex_from_uniform,
    simplex_groups,
    simplex_parameter_names,
    suggest_simplex,
    uniform_from_simplex,
)
from s2e_optuna.schedules.spaces import (
    SCHEDULE_ATTR,
    SPACES,
    Space,
    get_space,
    schedule_kind,
    suggest_schedule,
    trial_schedule,
)
from s2e_optuna.schedules.warm_start import WARM_TAUS, coteaching_params

__all__ = [
    "BASIS_NAMES",
    "SCHEDULE_ATTR",
    "SPACES",
    "WARM_TAUS",
    "Schedule",
    "Space",
    "basis_function",
    "coteaching_params",
    "get_space",
    "schedule_kind",
    "simplex_from_uniform",
    "simplex_groups",
    "simplex_parameter_names",
    "suggest_schedule",
    "suggest_simplex",
    "trial_schedule",
    "uniform_from_simplex",
]
