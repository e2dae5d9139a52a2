"""The usual names of the parts of a data set, and the size of one that is cut."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

PARTS = ("train", "val", "test")
"""Names of the parts here."""

PART_WORDS = {"train": "training", "val": "validation", "test": "test"}
"""The same in sentences."""

_USUAL = {
    **dict.fromkeys(("train", "training", "trn", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valset", "publictest"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "privatetest"), "test"),
}

_FLAGS = {
    **dict.fromkeys(("isval", "isvalid", "isvalidation"), "val"),
    **dict.fromkeys(("istest",), "test"),
    **dict.fromkeys(("istrain", "istraining"), "train"),
}

_TRUE, _FALSE = frozenset({"true", "1", "1.0", "yes"}), frozenset({"false", "0", "0.0", "no"})

HEADERS = frozenset({"split", "set", "subset", "partition", "phase", "usage", *_FLAGS})
"""Plain names (see `plain`) of columns that say the part."""


def plain(name: str) -> str:
    """Return a name in small letters, without what is neither letter nor digit."""
    return re.sub(r"[\W_]+", "", name.casefold())


def part_of(name: str) -> str | None:
    """Return which of `PARTS` a name usually means, in any case; None for other names.

    Examples
    --------
    >>> [part_of(name) for name in ("Train", "valid", "testing", "cat")]
    ['train', 'val', 'test', None]
    """
    return _USUAL.get(plain(name))


def parts_in(header: str, values: Iterable[str]) -> dict[str, str] | None:
    """Return what part each value of a column means.

    Parameters
    ----------
    header
        The column's name.
    values
        What stands in it; empty cells mean the training part.

    Returns
    -------
    dict or None
        Value to part; None where some values are no usual names of parts.
    """
    known = set(values) - {""}
    flag = _FLAGS.get(plain(header))
    lowered = {value: value.casefold() for value in known}
    if flag is not None and all(v in _TRUE | _FALSE for v in lowered.values()):
        other = "test" if flag == "train" else "train"
        found = {value: flag if low in _TRUE else other for value, low in lowered.items()}
    else:
        named = {value: part_of(value) for value in known}
        found = {value: part for value, part in named.items() if part is not None}
    if not known or len(found) < len(known):
        return None
    return {**found, "": "train"}


def is_split_column(header: str, values: Sequence[str]) -> bool:
    """Whether a column that nobody named says the parts: by its name, or by two parts in it."""
    found = parts_in(header, values)
    return found is not None and (
        plain(header) in HEADERS or len({found[value] for value in values if value}) > 1
    )


def holdout_size(n_samples: int) -> int:
    """Size of a validation part cut from training data: a tenth, but 500 if a fifth allows."""
    return max(1, n_samples // 10, min(500, n_samples // 5))
