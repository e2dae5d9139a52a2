"""A storage in front of another one, by public names of Optuna only."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, Self

from optuna.storages import BaseStorage


class PassingStorage(BaseStorage):
    """Passes on every call that a storage must answer, also those of a later Optuna.

    Parameters
    ----------
    backend
        The storage behind it.
    """

    def __init__(self, backend: BaseStorage) -> None:
        self._backend = backend

    @classmethod
    def before(cls, backend: Any) -> Self:
        """Make one; its methods are added below, which type checkers do not see."""
        return cls(backend)

    def _pass_on(self, name: str, *args: Any, **kw: Any) -> Any:
        """Call a method of the storage behind this one."""
        return getattr(self._backend, name)(*args, **kw)


def _passed_on(name: str) -> Callable[..., Any]:
    def call(self: PassingStorage, *args: Any, **kw: Any) -> Any:
        return self._pass_on(name, *args, **kw)

    call.__name__ = name
    return call


for _name in (*BaseStorage.__abstractmethods__, "remove_session"):
    setattr(PassingStorage, _name, _passed_on(_name))
abc.update_abstractmethods(PassingStorage)  # type: ignore[type-abstract]  # no longer
