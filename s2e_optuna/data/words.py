"""Parts of the sentences that say how data were read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Parameters
    ----------
    number
        How many.
    noun, plural
        The noun for one, and for several; by default with an s.

    Examples
    --------
    >>> count(1, "file"), count(1200, "class", "classes")
    ('1 file', '1,200 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def some(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and whether there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def kinds(counts: Mapping[str, int], most: int = 5) -> str:
    """Return kinds with their numbers, the most frequent first: ``3 .txt, 1 .heic``."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return some([f"{number:,} {kind}" for kind, number in ordered], most)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return names of classes in alphabetical order; if all are numbers, by their value."""
    found = sorted(labels)
    if all(label.removeprefix("-").isdecimal() for label in found):
        found.sort(key=int)
    return tuple(found)
