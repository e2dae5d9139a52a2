"""From the cells of a table to columns of numbers: fitted on the training part, used for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.class_numbers import is_missing
from s2e_optuna.data.words import count, some
from s2e_optuna.errors import DataError

_FEW = 20
"""Different texts that are categories in any case."""

_TEXT_SHARE = 0.5
"""Share of cells that differ from each other above which a column is text."""

_MOST_CATEGORIES = 1000
"""Each category becomes a column of its own."""

Numbers = NDArray[np.float64]
Cells = NDArray[np.str_]


def is_gap(cell: str) -> bool:
    """Whether a cell says that nothing is known: empty, ``NA``, ``NaN``, ``?`` and the like."""
    return cell == "?" or is_missing(cell, in_table=True)


def as_number(cell: str) -> float | None:
    """Return the number that a cell holds; None where it holds something else."""
    try:
        return float(cell)
    except ValueError:
        return None


@dataclass(frozen=True, eq=False)
class RawColumns:
    """Features as they stand in a table.

    Attributes
    ----------
    numbers
        Columns of numbers by name, float64 [N]; NaN where one is missing.
    categories
        Columns of categories by name, texts [N]; empty where one is missing.
    constant
        Names of columns that say nothing, for all their cells are the same; left out.
    """

    numbers: dict[str, Numbers]
    categories: dict[str, Cells]
    constant: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What there is, as a part of a sentence."""
        found = []
        if self.numbers:
            found.append(count(len(self.numbers), "number"))
        if self.categories:
            sizes = [
                f"{name}: {count(len(np.unique(cells)), 'value')}"
                for name, cells in self.categories.items()
            ]
            number = count(len(sizes), "category", "categories")
            found.append(f"{number} ({some(sizes, 3)})")
        if missing := sum(int(np.isnan(values).sum()) for values in self.numbers.values()):
            found.append(f"{count(missing, 'missing value')} imputed")
        return ", ".join(found)


def raw_columns(columns: dict[str, Sequence[str]], where: str) -> RawColumns:
    """Tell numbers from categories.

    Parameters
    ----------
    columns
        Cells of each feature by name.
    where
        The table, for messages.

    Raises
    ------
    DataError
        A column holds text or infinite numbers, or none is left.
    """
    numbers: dict[str, Numbers] = {}
    categories: dict[str, Cells] = {}
    constant = []
    for name, cells in columns.items():
        texts = ["" if is_gap(cell) else cell for cell in cells]
        if len(set(texts)) < 2:
            constant.append(name)
            continue
        there = [text for text in texts if text]
        values = [as_number(text) for text in there]
        if all(value is not None for value in values):
            column = np.array([float(text) if text else np.nan for text in texts])
            if np.isinf(column).any():
                raise DataError(
                    f"the column {name} of {where} holds infinite numbers: leave these cells "
                    "empty, or remove the column"
                )
            numbers[name] = column
        else:
            _check_categories(name, there, values, where)
            categories[name] = np.array(texts)
    if not numbers and not categories:
        raise DataError(
            f"{where} has no column to learn from beside its labels: add columns of numbers or "
            "categories whose cells differ"
        )
    return RawColumns(numbers, categories, tuple(constant))


def _check_categories(
    name: str, there: Sequence[str], values: Sequence[float | None], where: str
) -> None:
    kinds = len(set(there))
    if kinds <= _FEW or (kinds <= _TEXT_SHARE * len(there) and kinds <= _MOST_CATEGORIES):
        return
    others = [text for text, value in zip(there, values, strict=True) if value is None]
    if len(others) < len(there) / 2:
        raise DataError(
            f"the column {name} of {where} holds numbers and {count(len(others), 'text')} such as "
            f"{others[0]!r}: leave cells without a number empty, or remove the column"
        )
    raise DataError(
        f"the column {name} of {where} holds text, {kinds:,} different values in "
        f"{count(len(there), 'cell')}, and texts are not read: remove the column, or name it with "
        "--path-column if it names the rows"
    )


@dataclass(frozen=True, eq=False)
class TableColumns:
    """What becomes of the cells.

    A missing number becomes the median; a column of 0 and 1 beside it says where. A category
    becomes a column of 0 and 1 for each value, a missing one being a value, too; a value that the
    training part has not is 0 in all of them.

    Attributes
    ----------
    medians
        Of each column of numbers, by name.
    with_gaps
        Columns of numbers in which values were missing.
    values
        Values of each column of categories, by name.
    """

    medians: dict[str, float]
    with_gaps: tuple[str, ...]
    values: dict[str, tuple[str, ...]]

    @classmethod
    def fit(cls, raw: RawColumns, rows: NDArray[np.int64]) -> TableColumns:
        """Look at the rows of the training part."""
        medians, with_gaps = {}, []
        for name, column in raw.numbers.items():
            there = column[rows][~np.isnan(column[rows])]
            medians[name] = float(np.median(there)) if len(there) else 0.0
            if len(there) < len(rows):
                with_gaps.append(name)
        values = {
            name: tuple(np.unique(cells[rows]).tolist()) for name, cells in raw.categories.items()
        }
        return cls(medians, tuple(with_gaps), values)

    def apply(self, raw: RawColumns, rows: NDArray[np.int64]) -> Numbers:
        """Return the features of some rows, float64 [R, D]."""
        found: list[NDArray[np.bool_] | Numbers] = []
        for name, median in self.medians.items():
            column = raw.numbers[name][rows]
            gaps = np.isnan(column)
            found.append(np.where(gaps, median, column))
            if name in self.with_gaps:
                found.append(gaps)
        for name, values in self.values.items():
            cells = raw.categories[name][rows]
            found += [cells == value for value in values]
        return np.stack(found, axis=1).astype(np.float64)
