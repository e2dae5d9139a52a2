"""What the command line says in one sentence instead of a traceback."""

from __future__ import annotations


class InputError(ValueError):
    """Something that the user gave cannot be used; the message says what, and what to do."""


def one_line(text: str) -> str:
    """Write a text in one line."""
    return " ".join(text.split())


def one_sentence(error: BaseException) -> str:
    """Return the message of an error in one line, whatever its author wrote."""
    return one_line(str(error)) or type(error).__name__
