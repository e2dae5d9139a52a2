"""Labels that are part of file names: ``7_000123.png``, ``cat.12.jpg``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from s2e_optuna.data.matching import stem
from s2e_optuna.data.words import count, some
from s2e_optuna.errors import DataError

AUTO = "auto"

_COMMON = re.compile(r"(?P<label>.+?)[._ -]+\(?\d+\)?")
"""A label, then a number."""


def labels_in_names(names: Sequence[str], pattern: str) -> tuple[list[str], str]:
    """Find the label in each file name.

    Parameters
    ----------
    names
        File names.
    pattern
        ``"auto"``: what stands before a number at the end. Else a pattern of names without
        endings, with ``{label}`` for the label and ``*`` for anything: ``{label}_*``.

    Returns
    -------
    labels : list of str
        One for each name.
    how : str
        The pattern, in words.

    Raises
    ------
    DataError
        The pattern has no label, or does not fit a name.
    """
    expression, how = _COMMON, "LABEL_NUMBER"
    if pattern != AUTO:
        expression, how = _compiled(pattern), pattern
    found = [expression.fullmatch(stem(name)) for name in names]
    wrong = [name for name, match in zip(names, found, strict=True) if match is None]
    if wrong:
        raise DataError(
            f"{count(len(wrong), 'file name')} of {len(names):,} do not fit "
            f"{how}, such as {some(wrong, 3)}: give --label-from-name a pattern for all, with "
            "{label} and *, or remove these files"
        )
    return [match["label"] for match in found if match is not None], how


def describe_labels(names: Sequence[str]) -> str | None:
    """Say which labels the common pattern would find; None where it finds no usual ones."""
    found = [_COMMON.fullmatch(stem(name)) for name in names]
    labels = {match["label"] for match in found if match is not None}
    if not names or None in found or not 2 <= len(labels) <= len(names) / 2:
        return None
    return some(sorted(labels), 3)


def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern.count("{label}") != 1:
        raise DataError(
            f"the pattern {pattern!r} of --label-from-name has to hold {{label}} once, as in "
            "{label}_*, or be auto"
        )
    pieces = re.split(r"(\{label\}|\*)", pattern)
    written = {"{label}": "(?P<label>.+?)", "*": ".*"}
    return re.compile("".join(written.get(piece, re.escape(piece)) for piece in pieces))
