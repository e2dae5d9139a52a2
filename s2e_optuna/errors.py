"""Errors about what a user gave, and what the command line says of an error."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from numbers import Integral

# What the loader of shared libraries says.
_NO_MEMORY = re.compile(r"failed to map segment|cannot allocate memory", re.IGNORECASE)


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


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; of a database's error, that of its driver."""
    original = getattr(error, "orig", None) or error
    return (str(original).strip() or type(original).__name__).splitlines()[0].rstrip(".: ")


def _of_database(error: BaseException) -> BaseException | None:
    """Return what a database has raised, if it is that; nothing of it is imported here."""
    while type(error).__name__ == "StorageInternalError" and error.__cause__ is not None:
        error = error.__cause__
    known = type(error).__module__.partition(".")[0] in ("sqlalchemy", "sqlite3", "psycopg")
    return error if known else None


def explain(error: BaseException) -> tuple[str, int] | None:
    """Return one sentence about an error, and the exit code; None where a traceback is needed.

    The package's own kinds of errors are made to be read by people: ValueErrors are about what
    the user gave, RuntimeErrors about what went wrong on the way. Plain ones, from wherever they
    come, are faults of the program. So are errors of the system that name no file, but for a
    full disk. Databases may fail beyond our own storages, too: where Optuna's is used.
    """
    text = one_sentence(error)
    if _NO_MEMORY.search(text) or isinstance(error, MemoryError):
        return (
            f"there is not enough memory ({type(error).__name__}: {text}): a training needs some "
            "4 GB, where addresses are limited (ulimit -v) of those, too.",
            1,
        )
    if (cause := _of_database(error)) is not None:
        return f"the storage failed ({type(cause).__name__}: {first_line(cause)}).", 1
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        if error.filename is not None:
            return f"cannot read or write {error.filename}: {reason}.", 2
        return (f"{reason}.", 1) if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    own = type(error).__module__.startswith("s2e_optuna.")
    if not (own and isinstance(error, ValueError | RuntimeError)):
        return None
    return one_line(str(error)), 2 if isinstance(error, ValueError) else 1
