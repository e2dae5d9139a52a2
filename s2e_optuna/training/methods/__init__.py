"""Methods of learning with noisy labels: one file each, one interface, one registry."""

from s2e_optuna.training.errors import unknown_name
from s2e_optuna.training.methods.base import BatchView, Method
from s2e_optuna.training.methods.coteaching import CoTeaching
from s2e_optuna.training.methods.standard import Standard

METHODS: dict[str, Method] = {method.name: method for method in (Standard(), CoTeaching())}
"""Methods by name."""


def get_method(name: str) -> Method:
    """Look a method up by name.

    Raises
    ------
    DataError
        There is no such method.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]


__all__ = ["METHODS", "BatchView", "CoTeaching", "Method", "Standard", "get_method"]
