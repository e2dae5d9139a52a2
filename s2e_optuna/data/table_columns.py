"""From the cells of a table to columns of numbers: fitted on the training part, used for all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
                    f"empty, or the column out with --drop-column {name}"
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


def is_text(cells: Sequence[str]) -> bool:
    """Whether a column holds texts: neither numbers nor categories."""
    there = [cell for cell in cells if not is_gap(cell)]
    numbers = sum(as_number(cell) is not None for cell in there)
    return not _are_few(there) and numbers < len(there) / 2


def _are_few(there: Sequence[str]) -> bool:
    """Whether cells hold so few values that these are categories."""
    kinds = len(set(there))
    return kinds <= _FEW or (kinds <= _TEXT_SHARE * len(there) and kinds <= _MOST_CATEGORIES)


def _check_categories(
    name: str, there: Sequence[str], values: Sequence[float | None], where: str
) -> None:
    if _are_few(there):
        return
    others = [text for text, value in zip(there, values, strict=True) if value is None]
    if len(others) < len(there) / 2:
        raise DataError(
            f"the column {name} of {where} holds numbers and {count(len(others), 'text')} such as "
            f"{others[0]!r}: leave cells without a number empty, or the column out with "
            f"--drop-column {name}"
        )
    raise DataError(
        f"the column {name} of {where} holds text, {len(set(there)):,} different values in "
        f"{count(len(there), 'cell')}: learn from it with --text-column {name} and --features, "
        f"leave it out with --drop-column {name}, or name it with --path-column if it names the "
        "rows"
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
    naming
        The column that names the rows; None where there is none.
    """

    medians: dict[str, float]
    with_gaps: tuple[str, ...]
    values: dict[str, tuple[str, ...]]
    naming: str | None = None

    @classmethod
    def fit(
        cls, raw: RawColumns, rows: NDArray[np.int64], naming: str | None = None
    ) -> TableColumns:
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
        return cls(medians, tuple(with_gaps), values, naming)

    def cast(self, columns: Mapping[str, Sequence[str]], where: str) -> RawColumns:
        """Read the cells of another table as what its columns were in fitting.

        Parameters
        ----------
        columns
            Cells of each column by name; those that were not learnt from are not looked at.
        where
            The table, for messages.

        Raises
        ------
        DataError
            A column is missing, or one of numbers holds something else.
        """
        if missing := [name for name in (*self.medians, *self.values) if name not in columns]:
            raise DataError(
                f"{where} lacks the {'column' if len(missing) == 1 else 'columns'} "
                f"{some(missing, 20)}, which the model was trained on: add "
                f"{'it' if len(missing) == 1 else 'them'}; cells may be empty"
            )
        numbers = {name: _as_numbers(name, columns[name], where) for name in self.medians}
        categories = {
            name: np.array([_as_known(cell, values) for cell in columns[name]], dtype=np.str_)
            for name, values in self.values.items()
        }
        return RawColumns(numbers, categories)

    def stored(self) -> str:
        """Return all that was fitted as a text (JSON), to be kept with a model."""
        numbers = [[name, median, name in self.with_gaps] for name, median in self.medians.items()]
        categories = [[name, list(values)] for name, values in self.values.items()]
        return json.dumps({"numbers": numbers, "categories": categories, "naming": self.naming})

    @classmethod
    def from_stored(cls, text: str) -> TableColumns:
        """Make it again of what `stored` returned.

        Raises
        ------
        KeyError, ValueError, TypeError
            It is damaged.
        """
        found: dict[str, Any] = json.loads(text)
        return cls(
            {str(name): float(median) for name, median, _ in found["numbers"]},
            tuple(str(name) for name, _, gaps in found["numbers"] if gaps),
            {str(name): tuple(map(str, values)) for name, values in found["categories"]},
            found["naming"],
        )

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


def _as_numbers(name: str, cells: Sequence[str], where: str) -> Numbers:
    found = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if is_gap(cell):
            continue
        value = as_number(cell)
        if value is None or np.isinf(value):
            raise DataError(
                f"the column {name} of {where} holds {cell!r}, and the model was trained on "
                "numbers there: leave such cells empty"
            )
        found[row] = value
    return found


def _as_known(cell: str, values: Sequence[str]) -> str:
    """Return a category as it was written in fitting: programs write 1 as 1.0, and true as True.

    A gap is one of its own, and what was not there in fitting stays what it is.
    """
    if is_gap(cell):
        return ""
    if cell in values:
        return cell
    whole = cell.removesuffix(".0")
    if whole in values:
        return whole
    if cell in ("True", "False"):
        return next((value for value in values if value.lower() == cell.lower()), cell)
    return cell
