"""The one error that says what is wrong with a user's input and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable


class DataError(ValueError):
    """Input that cannot be trained on; its message is one sentence that says what to do."""


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
