"""Errors about what a user gave, and what the command line says of an error."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from numbers import Integral


class DataError(ValueError):
    """Input that cannot be trained on; its message is one sentence that says what to do."""


class ConfigError(ValueError):
    """Settings that cannot be searched with; the message is one sentence that says why."""


def check_integer(
    name: str, value: object, least: int, error: type[ValueError] = DataError
) -> None:
    """Raise an error unless an option is a whole number that is large enough.

    Parameters
    ----------
    name
        Name of the option; in backticks, the command line writes it as its flag.
    value
        What it is; NumPy's whole numbers are some, too.
    least
        The smallest that it may be.
    error
        Kind of the error.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        words = f"`{name}`" if name.isidentifier() else name
        raise error(f"{words} must be an integer of at least {least}, but is {value!r}.")


def unknown_name(what: str, name: object, known: Iterable[str]) -> DataError:
    """Build the error for a name that no registry holds.

    Parameters
    ----------
    what
        What the name should have been, for example ``"method"``.
    name
        What the user gave.
    known
        The names that exist.
    """
    return DataError(f"unknown {what} {name!r}: choose one of {', '.join(sorted(known))}")


class InputError(ValueError):
    """Something that the user gave cannot be used; the message says what, and what to do."""


def one_line(text: str) -> str:
    """Write a text in one line."""
    return " ".join(text.split())


def one_sentence(error: BaseException) -> str:
    """Return the message of an error in one line, whatever its author wrote."""
    return one_line(str(error)) or type(error).__name__


def explain(error: BaseException) -> tuple[str, int] | None:
    """Return one sentence about an error, and the exit code; None where a traceback is needed.

    The package's own kinds of errors are made to be read by people: ValueErrors are about what
    the user gave, RuntimeErrors about what went wrong on the way. Plain ones, from wherever they
    come, are faults of the program. So are errors of the system that name no file, but for a
    full disk.
    """
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        if error.filename is not None:
            return f"cannot read or write {error.filename}: {reason}.", 2
        return (f"{reason}.", 1) if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    own = type(error).__module__.startswith("s2e_optuna.")
    if not (own and isinstance(error, ValueError | RuntimeError)):
        return None
    return one_line(str(error)), 2 if isinstance(error, ValueError) else 1
