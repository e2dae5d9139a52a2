"""Which column of a table is what: by what stands in it, and by its name where that is telling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s2e_optuna.data.matching import UNKNOWN, Samples, Ties, looks_like_file
from s2e_optuna.data.split import HEADERS, is_split_column, parts_in, plain
from s2e_optuna.data.text_tables import TextTable
from s2e_optuna.data.words import some
from s2e_optuna.errors import DataError

LABEL_COLUMNS = (
    *("label", "given", "given_label", "class", "labels", "target", "class_name", "category"),
    "noisy_label",
)
"""Columns taken as given labels where the user names none: the first that exists."""

CLEAN_COLUMNS = ("clean", "clean_label", "true_label")
"""Columns taken as true labels where the user names none: the first that exists."""

PATH_COLUMNS = (
    *("path", "id", "file", "filename", "image", "filepath", "imagepath", "imageid", "imagename"),
    *("imageindex", "imagefile", "img", "imgpath", "imgname", "imgid", "fname", "sample"),
)
"""Plain names (small letters only) of columns that name samples, whatever stands in them."""

_SAMPLED = 1000
"""Rows by which columns are compared."""

_NAMES_DIFFER = 0.9
"""Share of values that differ from each other in a column that names samples."""


@dataclass(frozen=True, eq=False)
class Columns:
    """What a table's columns are.

    Attributes
    ----------
    header
        Names of the columns; their numbers from 1 where the table has none.
    start
        Position of the first row with data.
    path, label, clean, split
        Columns with names of samples, given labels, true labels and parts; None where there is
        none.
    one_hot
        In place of `label`: a column for each class.
    sure
        Whether `start` is; if not, the number of rows tells.
    """

    header: tuple[str, ...]
    start: int
    path: int | None
    label: int | None
    clean: int | None
    split: int | None
    one_hot: tuple[int, ...] = ()
    sure: bool = True


@dataclass(frozen=True)
class Wanted:
    """Names of columns that the user gave."""

    path: str | None = None
    label: str | None = None
    clean: str | None = None
    split: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those that were given."""
        found = (self.path, self.label, self.clean, self.split)
        return tuple(name for name in found if name is not None)


def choose_columns(table: TextTable, samples: Samples | None, wanted: Wanted) -> Columns:
    """Find out what the columns of a table are.

    Parameters
    ----------
    table
        The table.
    samples
        What its rows may name; None where that is not known.
    wanted
        What the user says.

    Raises
    ------
    DataError
        A column is not there, no column is a label, or two columns name different samples.
    """
    has_header, sure = _has_header(table, samples, wanted)
    start = 1 if has_header else 0
    header = table.rows[0] if has_header else tuple(map(str, range(1, table.width + 1)))
    if len(table.rows) == start:
        raise DataError(f"{table.path} holds no labels below its header")
    path = _named(table, header, wanted.path, "--path-column")
    label = _named(table, header, wanted.label, "--label-column")
    clean = _named(table, header, wanted.clean, "--clean-column")
    split = _named(table, header, wanted.split, "--split-column")
    if split is not None and parts_in(header[split], table.column(split, start)) is None:
        values = sorted(set(table.column(split, start)))
        raise DataError(
            f"the column {header[split]} of {table.path} says {some(values)}, which are no parts: "
            "write train, val and test, or leave --split-column out"
        )
    if clean is None:
        clean = next((header.index(n) for n in CLEAN_COLUMNS if n in header), None)
    taken = {column for column in (label, clean, split) if column is not None}
    if path is None:
        path = _naming_column(table, header, start, samples, taken)
    taken |= {path} if path is not None else set()
    if split is None:
        found = (
            column
            for column in range(len(header))
            if column not in taken and is_split_column(header[column], table.column(column, start))
        )
        split = next(found, None)
    one_hot: tuple[int, ...] = ()
    if label is None:
        label, one_hot = _label_column(table, header, start, {path, clean, split})
    return Columns(header, start, path, label, clean, split, one_hot, sure)


def _named(table: TextTable, header: Sequence[str], name: str | None, option: str) -> int | None:
    if name is None:
        return None
    if name not in header:
        raise DataError(
            f"{table.path} has no column {name!r}, only {', '.join(header)}: name one with "
            f"{option}"
        )
    return header.index(name)


def _has_header(table: TextTable, samples: Samples | None, wanted: Wanted) -> tuple[bool, bool]:
    """Say whether the first line is a header, and whether that is sure."""
    first, rest = table.rows[0], table.rows[1:]
    if any(name in first or not name.isdecimal() for name in wanted.names):
        return True, True  # a name that is not there is an error, but not the header's
    if any(map(looks_like_file, first)):
        return False, True
    if samples is not None and not samples.numbered and samples.tie(first).share > 0:
        return False, True
    known = {*PATH_COLUMNS, *HEADERS, *map(plain, (*LABEL_COLUMNS, *CLEAN_COLUMNS))}
    if any(plain(cell) in known for cell in first):
        return True, True
    if not rest:
        return True, False
    for column, cell in enumerate(first):
        others = table.column(column, 1)
        if cell in others:
            return False, True
        if cell and not _is_number(cell) and all(_is_number(other) for other in others if other):
            return True, True
    return not all(map(_is_number, first)), False


def _naming_column(
    table: TextTable,
    header: Sequence[str],
    start: int,
    samples: Samples | None,
    taken: set[int],
) -> int | None:
    """Find the column that names samples; by its values, or where these tell nothing, its name."""
    free = [column for column in range(len(header)) if column not in taken]
    by_name = [column for column in free if plain(header[column]) in PATH_COLUMNS]
    if samples is None:
        looking = [c for c in free if _looks_like_files(table.column(c, start))]
        return next(iter([*by_name, *looking]), None)
    rows = np.unique(np.linspace(start, len(table.rows) - 1, _SAMPLED).astype(int))
    found: list[tuple[tuple[bool, float, bool], int, Ties]] = []
    for column in free:
        cells = [cell for row in rows if (cell := _cell(table, int(row), column))]
        if not cells or len(set(cells)) < _NAMES_DIFFER * len(cells):
            continue
        ties = samples.tie(cells)
        known = ties.positions != UNKNOWN
        if known.any() and (not samples.numbered or known.mean() >= _NAMES_DIFFER):
            whole = bool(ties.by_file_name[known].mean() > 0.5)
            found.append(((whole, ties.share, column in by_name), column, ties))
    if found:
        found.sort(key=lambda entry: entry[0], reverse=True)
        quality, best, ties = found[0]
        for other_quality, other, other_ties in found[1:]:
            differs = not np.array_equal(ties.positions, other_ties.positions)
            if other_quality == quality and differs:
                raise DataError(
                    f"the columns {header[best]} and {header[other]} of {table.path} both name "
                    "samples, and not the same ones: name the right one with --path-column"
                )
        return best
    naming = [c for c in free if c in by_name or _looks_like_files(table.column(c, start))]
    return naming[0] if naming else None


def _cell(table: TextTable, row: int, column: int) -> str:
    cells = table.rows[row]
    return cells[column] if column < len(cells) else ""


def _looks_like_files(cells: Sequence[str]) -> bool:
    return sum(map(looks_like_file, cells)) > len(cells) / 2


def _label_column(
    table: TextTable, header: Sequence[str], start: int, taken: set[int | None]
) -> tuple[int | None, tuple[int, ...]]:
    """Return the column of labels, or those of a table with a column for each class."""
    lowered = [name.casefold() for name in header]
    free = [column for column in range(len(header)) if column not in taken]
    for name in LABEL_COLUMNS:
        if name in lowered and lowered.index(name) in free:
            return lowered.index(name), ()
    if len(free) == 1:
        return free[0], ()
    if len(free) > 1 and all(_is_share(table.column(column, start)) for column in free):
        return None, tuple(free)
    raise DataError(
        f"{table.path} has no column {' or '.join(LABEL_COLUMNS[:4])}, only "
        f"{', '.join(header)}: name one with --label-column"
    )


def _is_share(cells: Sequence[str]) -> bool:
    return all(_is_number(cell) and 0.0 <= float(cell) <= 1.0 for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
