"""Tables that are the data themselves: columns of numbers and categories or texts, and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s2e_optuna.data.arrow_tables import is_arrow_table, read_arrow
from s2e_optuna.data.assemble import assemble
from s2e_optuna.data.division import NONE, Found, divide
from s2e_optuna.data.label_columns import CLEAN_COLUMNS, LABEL_COLUMNS, PATH_COLUMNS
from s2e_optuna.data.label_tables import TiedLabels
from s2e_optuna.data.matching import looks_like_file
from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.data.preparation import AS_THEY_ARE
from s2e_optuna.data.split import is_split_column, parts_in, plain
from s2e_optuna.data.strata import Rows
from s2e_optuna.data.table_columns import TableColumns, as_number, is_gap, raw_columns
from s2e_optuna.data.text_features import Texts
from s2e_optuna.data.text_tables import TextTable, is_table, read_text_table
from s2e_optuna.data.words import count, some
from s2e_optuna.errors import DataError

_MOST_CLASSES = 20
"""Different labels that are classes however few rows there are."""


def is_feature_table(path: Path) -> bool:
    """Whether a path is that of a table, by its name, or a folder that holds one."""
    if not path.is_file():
        return is_arrow_table(path)
    return is_table(path) or path.suffix.lower() in (".parquet", ".xlsx")


def load_feature_table(
    path: Path,
    columns: Mapping[str, str | None],
    options: Mapping[str, Any],
    *,
    drop: Sequence[str] = (),
    fitted: TableColumns | None = None,
    texts: Texts | None = None,
) -> NoisyData:
    """Read a table with a header; each row is a sample.

    Parameters
    ----------
    path
        Of text, see `read_text_table`, or of parquet; or a folder, see `read_arrow`.
    columns
        ``label_column``, ``path_column``, ``clean_column``, ``split_column`` and ``text_column``,
        where the user names them.
    options
        Further keyword arguments of `assemble`.
    drop
        Columns that are left out.
    fitted
        What becomes of the cells; by default fitted to the training part.
    texts
        Features of texts that are learnt from, in place of the other columns.

    Raises
    ------
    DataError
        A column is missing, is no label or cannot be learnt from, or the file cannot be read.
    """
    cells = read_columns(path)
    kept = _without(path, cells, columns, drop)
    roles = _roles(path, kept, columns)
    text = roles["text_column"] = None if texts is None else texts.column(path, kept, roles)
    label, clean, split = roles["label_column"], roles["clean_column"], roles["split_column"]
    assert label is not None
    _check_classes(path, label, cells[label])
    part = None
    if split is not None:
        means = parts_in(split, cells[split])
        assert means is not None
        part = tuple(means[value] for value in cells[split])
    size = len(cells[label])
    tied = TiedLabels(
        f"{path.name}, column {label}",
        np.arange(size),
        _without_gaps(cells[label]),
        None if clean is None else _without_gaps(cells[clean]),
        part,
        _words(path, roles),
    )
    found = Found(np.full(size, "train"), np.full(size, NONE), (), False)
    division = divide(found, tied, validation=options["validation"])
    used = np.sort(np.concatenate(list(division.rows.values())))
    taken = {name for name in roles.values() if name is not None} | set(drop)
    features: dict[str, Sequence[str]] = {
        name: [c[i] for i in used] for name, c in cells.items() if name not in taken
    }
    naming = roles["path_column"]
    if naming is not None and not features and texts is None:
        raise DataError(
            f"{path} names samples ({naming}) and their labels ({label}), and nothing to learn "
            "from: for a table of labels give the images first, and it with --labels"
        )
    samples: _Columns | _Texts
    if texts is None:
        samples = _Columns(features, path, naming, fitted)
    else:
        assert text is not None
        samples = _Texts([cells[text][i] for i in used], text, tuple(features), naming, texts)

    def read(wanted: Mapping[str, tuple[str, Rows]]) -> dict[str, Tensor]:
        return samples.read(
            {
                part: np.searchsorted(used, division.rows[source][index])
                for part, (source, index) in wanted.items()
            }
        )

    words = [*division.words, *samples.words]
    if drop:
        words.append(f"{count(len(drop), 'column')} left out by name ({some(drop)})")
    names = range(size) if naming is None else cells[naming]
    data = assemble(
        {part: torch.from_numpy(values) for part, values in division.labels.items()},
        read,
        y_clean=None if division.clean is None else torch.from_numpy(division.clean),
        name=path.name.split(".")[0],
        class_names=division.class_names,
        n_classes=None,
        ids=tuple(str(names[i]) for i in division.rows["train"]),
        layout=samples.layout,
        words=tuple(words),
        preparation=samples.preparation,
        **{**options, **division.checked_options},
    )
    return samples.kept_with(data)


class _Columns:
    """Columns of numbers and categories."""

    preparation = None

    def __init__(
        self,
        columns: dict[str, Sequence[str]],
        path: Path,
        naming: str | None,
        fitted: TableColumns | None,
    ) -> None:
        where = str(path)
        self._raw = raw_columns(columns, where) if fitted is None else fitted.cast(columns, where)
        self._fitted, self._encoder, self._naming = fitted, fitted, naming
        self.layout = f"a table: {self._raw.words}"
        constant = self._raw.constant
        self.words = [f"{count(len(constant), 'constant column')} left out ({some(constant)})"]
        if not constant:
            self.words = []

    def read(self, rows: Mapping[str, Rows]) -> dict[str, Tensor]:
        """Return the numbers of each part."""
        encoder = self._fitted or TableColumns.fit(self._raw, rows["train"], self._naming)
        self._encoder = encoder  # that of the last reading
        return {
            part: torch.from_numpy(encoder.apply(self._raw, index)[:, None, None])
            for part, index in rows.items()
        }

    def kept_with(self, data: NoisyData) -> NoisyData:
        """Return data with what was fitted."""
        return replace(data, encoder=self._encoder)


class _Texts:
    """A column of texts."""

    preparation = AS_THEY_ARE

    def __init__(
        self,
        texts: Sequence[str],
        column: str,
        others: Sequence[str],
        naming: str | None,
        asked: Texts,
    ) -> None:
        self._texts, self._column, self._naming, self._asked = texts, column, naming, asked
        self.layout = f"a table of texts, column {column}"
        self.words = []
        if others:
            self.words = [f"{count(len(others), 'other column')} not learnt from ({some(others)})"]

    def read(self, rows: Mapping[str, Rows]) -> dict[str, Tensor]:
        """Return the numbers of each part."""
        self._read = {part: tuple(self._texts[i] for i in index) for part, index in rows.items()}
        self._made = self._asked.encode(self._read, self._column, self._naming)
        return self._made.numbers

    def kept_with(self, data: NoisyData) -> NoisyData:
        """Return data with what was fitted, and the texts."""
        encoder = self._made.encoder
        return replace(
            data,
            encoder=encoder,
            contents=self._made.contents,
            texts=self._read,
            reading=(data.reading[0], encoder.words, *data.reading[1:]),
        )


def _without(
    path: Path,
    cells: Mapping[str, tuple[str, ...]],
    wanted: Mapping[str, str | None],
    drop: Sequence[str],
) -> dict[str, tuple[str, ...]]:
    """Leave columns out."""
    kept = [name for name in cells if name not in drop]
    if wanted["label_column"] is None and _usual_label(kept) is None:
        for name in drop:
            if _usual_label([name]) is not None:
                raise DataError(
                    f"the column {name} of {path} was left out, and no other one looks like "
                    f"labels: leave out --drop-column {name}, or name that of the labels with "
                    "--label-column"
                )
    for name in drop:
        if name not in cells:
            raise DataError(
                f"{path} has no column {name!r}, only {some(list(cells), 20)}: name one with "
                "--drop-column"
            )
        if name in wanted.values():
            raise DataError(
                f"the column {name} of {path} was named for its use and to be left out: leave "
                f"out --drop-column {name}"
            )
    return {name: cells[name] for name in kept}


def _usual_label(names: Sequence[str]) -> str | None:
    """Return which of some columns is usually that of the labels."""
    lowered = {name.casefold(): name for name in reversed(names)}
    return next((lowered[name] for name in LABEL_COLUMNS if name in lowered), None)


def read_columns(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a table with a header; return the cells of each column by name.

    Raises
    ------
    DataError
        It cannot be read, holds no rows, or two columns have one name.
    """
    table = _read(path)
    return {name: table.column(index, 1) for index, name in enumerate(table.rows[0])}


def columns_of_frame(frame: Any) -> dict[str, tuple[str, ...]]:
    """Return the cells of a DataFrame of pandas or polars as they would stand in a file.

    Raises
    ------
    DataError
        It holds no rows.
    """
    if not len(frame):
        raise DataError("the table holds no rows: give one for each sample")
    return {
        str(name): tuple(
            "" if value is None or str(value) == "NaT" else str(value).strip()
            for value in frame[name].to_list()
        )
        for name in frame.columns
    }


@dataclass(frozen=True, eq=False)
class NamedRows:
    """The rows of a table by the names of their samples.

    Attributes
    ----------
    header
        Names of the columns.
    rows
        Cells of each row, by the sample's name.
    label
        Which column has the labels.
    """

    header: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]
    label: int


def named_rows(
    path: Path, columns: Mapping[str, str | None], drop: Sequence[str] = ()
) -> NamedRows:
    """Read a table as it stands, its rows by the names that `load_feature_table` gives them.

    Parameters
    ----------
    path, columns, drop
        See `load_feature_table`, which says what is wrong with them.
    """
    table = _read(path)
    header, *rows = table.rows
    cells = {name: table.column(index, 1) for index, name in enumerate(header)}
    roles = _roles(path, _without(path, cells, columns, drop), columns)
    named, label = roles["path_column"], roles["label_column"]
    assert label is not None
    names = map(str, range(len(rows))) if named is None else cells[named]
    return NamedRows(header, dict(zip(names, rows, strict=True)), header.index(label))


def _read(path: Path) -> TextTable:
    if path.suffix.lower() == ".xlsx":
        raise DataError(f"{path} is a workbook: save its table as a .csv file and give that")
    is_arrow = path.is_dir() or path.suffix.lower() == ".parquet"
    table = read_arrow(path) if is_arrow else read_text_table(path)
    header = table.rows[0]
    if len(table.rows) < 2:
        raise DataError(f"{path} holds no rows below its header: give one for each sample")
    for line, row in zip(table.lines, table.rows, strict=True):
        if len(row) != len(header):
            raise DataError(
                f"line {line} of {path} has {count(len(row), 'cell')} and the first "
                f"{len(header)}: give each row a cell for each column"
            )
    if twice := [name for name in header if header.count(name) > 1]:
        raise DataError(f"{path} has two columns {twice[0]!r}: rename one of them")
    return table


def _roles(
    path: Path, cells: Mapping[str, tuple[str, ...]], wanted: Mapping[str, str | None]
) -> dict[str, str | None]:
    """Return which column is what."""
    roles = {"text_column": None, **wanted}
    for option, name in wanted.items():
        if name is not None and name not in cells:
            raise DataError(
                f"{path} has no column {name!r}, only {some(list(cells), 20)}: name one with "
                f"--{option.replace('_', '-')}"
            )
    for name, column in cells.items():
        there = [cell for cell in column if cell]
        if name not in wanted.values() and sum(map(looks_like_file, there)) > len(there) / 2:
            raise DataError(
                f"{path} is a table of labels, for its column {name} names files: give the "
                "images first, and the table with --labels"
            )
    if roles["label_column"] is None:
        roles["label_column"] = _usual_label(list(cells))
    if roles["label_column"] is None:
        raise DataError(
            f"{path} is a table without a column {' or '.join(LABEL_COLUMNS[:4])}, only "
            f"{some(list(cells), 20)}: name that of the labels with --label-column"
        )
    free = [name for name in cells if name not in roles.values()]
    if roles["clean_column"] is None:
        roles["clean_column"] = next((name for name in CLEAN_COLUMNS if name in free), None)
    if roles["split_column"] is None:
        splits = (name for name in free if is_split_column(name, cells[name]))
        roles["split_column"] = next(splits, None)
    split = roles["split_column"]
    if split is not None and parts_in(split, cells[split]) is None:
        raise DataError(
            f"the column {split} of {path} says {some(sorted(set(cells[split])))}, which are no "
            "parts: write train, val and test, or leave --split-column out"
        )
    named = roles["path_column"]
    if named is None:
        free = [name for name in free if name not in roles.values()]
        naming = (name for name in free if plain(name) in PATH_COLUMNS and _differ(cells[name]))
        roles["path_column"] = next(naming, None)
    elif not _differ(cells[named]):
        raise DataError(
            f"the column {named} of {path} names rows twice or not at all: give each a name of "
            "its own, or leave --path-column out"
        )
    if len(chosen := [name for name in roles.values() if name is not None]) > len(set(chosen)):
        raise DataError(f"one column of {path} was named for two things: name another one")
    return roles


def _differ(cells: tuple[str, ...]) -> bool:
    return len(set(cells)) == len(cells) and "" not in cells


def _check_classes(path: Path, label: str, cells: tuple[str, ...]) -> None:
    """Refuse a column of measurements in place of classes."""
    there = [cell for cell in cells if not is_gap(cell)]
    numbers = [number for cell in there if (number := as_number(cell)) is not None]
    broken = [number for number in numbers if number % 1 != 0]
    if broken and len(numbers) == len(there):
        raise DataError(
            f"the column {label} of {path} holds numbers such as {broken[0]:g}, which are no "
            "classes: name a column with one class a row with --label-column"
        )
    if len(set(there)) > max(_MOST_CLASSES, len(there) / 2):
        raise DataError(
            f"the column {label} of {path} holds {len(set(there)):,} different values in "
            f"{count(len(there), 'row')}, which are no classes: name another with --label-column"
        )


def _without_gaps(cells: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("" if is_gap(cell) else cell for cell in cells)


def _words(path: Path, roles: Mapping[str, str | None]) -> tuple[str, ...]:
    words = f"labels of {path.name}, column {roles['label_column']}"
    others = {
        "clean_column": "true labels",
        "split_column": "parts",
        "path_column": "names of the samples",
    }
    for role, what in others.items():
        if roles[role] is not None:
            words += f", {what} of the column {roles[role]}"
    return (words,)
