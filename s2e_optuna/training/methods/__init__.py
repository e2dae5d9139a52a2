"""Methods of learning with noisy labels: one file each, one interface, one registry."""

from s2e_optuna.training.methods.base import (
    BatchView,
    Decision,
    Forward,
    Method,
    Preparation,
    State,
    Step,
)
from s2e_optuna.training.methods.coteaching import CoTeaching
from s2e_optuna.training.methods.registry import METHODS, get_method
from s2e_optuna.training.methods.standard import Standard

__all__ = [
    "METHODS",
    "BatchView",
    "CoTeaching",
    "Decision",
    "Forward",
    "Method",
    "Preparation",
    "Standard",
    "State",
    "Step",
    "get_method",
]
