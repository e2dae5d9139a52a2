"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package whose names live elsewhere (PEP 562).

    Somebody who wants the sampler does not wait for torch, nor who wants help for matplotlib.

    Parameters
    ----------
    package
        ``__name__`` of the package.
    homes
        Module to the names that it holds.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home_of[name]), name)
        vars(importlib.import_module(package))[name] = value
        return value

    return get, lambda: sorted(home_of)
