"""Functions of a user's own, by name."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from s2e_optuna.errors import DataError


def import_function(name: str, what: str, makes: str) -> Callable[..., Any]:
    """Import a function, ``"package.module:function"``.

    Parameters
    ----------
    name
        Its name; the package is installed or in the current folder.
    what
        What it is asked for, for messages: ``"network"``.
    makes
        What it has to return, for messages.

    Raises
    ------
    DataError
        It cannot be imported, or is no function.
    """
    module_name, _, function = name.partition(":")
    try:
        with _working_directory_importable():
            found: object = importlib.import_module(module_name)
        for part in function.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(
            f"cannot import {what} {name} ({error}): give package.module:function, with the "
            "package installed or in the current folder"
        ) from error
    if not callable(found):
        raise DataError(f"{what} {name} is no function that {makes}")
    return found


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    """Find modules in the current folder too, as ``python -m`` does."""
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
