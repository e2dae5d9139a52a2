"""Given labels from a table (CSV) or from a file that an earlier run has saved."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.npz import read_npz
from s2e_optuna.errors import DataError
from s2e_optuna.writable import check_writable

if TYPE_CHECKING:
    from s2e_optuna.data.noisy_data import NoisyData

PATH_COLUMNS = ("path", "id", "file", "filename", "image")
"""Columns taken as names of the samples where the user names none: the first that exists."""

LABEL_COLUMNS = ("label", "given", "given_label", "class")
"""Columns taken as given labels where the user names none."""

CLEAN_COLUMN = "clean"
"""Column taken as true labels where the user names none and the table has it."""

_MISSING = frozenset({"", "nan", "<na>", "#n/a"})

_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Labels as they stand in a file: names of classes or numbers, in the file's order.

    Attributes
    ----------
    source
        File, and column, in words.
    names
        Path or row of the sample that each label belongs to; None where the order tells.
    given, clean
        Labels in the data, and true ones where the file has them.
    """

    source: str
    names: tuple[str, ...] | None
    given: tuple[str, ...]
    clean: tuple[str, ...] | None


def read_labels(
    path: str | Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    clean_column: str | None = None,
) -> LabelTable:
    """Read labels from ``.csv``, ``.tsv`` (also ``.gz``) or from ``.npz``.

    Parameters
    ----------
    path
        The file. A table has a header line; an ``.npz`` file has the arrays ``given`` and perhaps
        ``clean`` and ``ids`` (without which the order tells whose they are).
    path_column
        Column with the samples' paths or names; by default the first of `PATH_COLUMNS` that the
        table has. Without one the rows must be in the order of the samples.
    label_column
        Column with the given labels; by default the first of `LABEL_COLUMNS`.
    clean_column
        Column with the true labels, for reports only; by default `CLEAN_COLUMN` if it exists.

    Raises
    ------
    DataError
        The file cannot be read, a column is missing, or a label is.
    """
    place = Path(path).expanduser()
    if place.suffix == ".npz":
        arrays = read_npz(place, ["given", "clean", "ids"], required=["given"])
        columns = {
            name: tuple(map(str, values.ravel().tolist())) for name, values in arrays.items()
        }
        if len({len(column) for column in columns.values()}) != 1:
            raise DataError(f"the arrays of {place} differ in length: save the labels again")
        for name in columns.keys() - {"ids"}:
            if missing := sum(map(is_missing, columns[name])):
                raise DataError(
                    f"{missing} of the labels in {place}, array {name}, are missing: fill them "
                    "in, or remove the samples"
                )
        return LabelTable(str(place), columns.get("ids"), columns["given"], columns.get("clean"))
    if not place.is_file():
        raise DataError(f"there is no file {place}: check the path of the labels")
    if not place.name.endswith(_TABLES):
        raise DataError(f"{place} is no table of labels: give one of {', '.join(_TABLES)}, .npz")
    with _table(place) as (header, rows):
        names = _column(place, header, path_column, PATH_COLUMNS, "--path-column", optional=True)
        given = _column(place, header, label_column, LABEL_COLUMNS, "--label-column")
        clean = _column(
            place, header, clean_column, (CLEAN_COLUMN,), "--clean-column", optional=True
        )
        read: dict[int, list[str]] = {
            column: [] for column in (names, given, clean) if column is not None
        }
        for number, row in enumerate(rows, start=2):
            if not row:
                continue  # an empty line
            for column, values in read.items():
                cell = row[column].strip() if column < len(row) else ""
                if not cell or (column != names and is_missing(cell)):
                    raise DataError(
                        f"{place} has no {header[column]} in line {number}"
                        f"{cell and f' (it says {cell})'}: fill it in, or remove the line"
                    )
                values.append(cell)
    assert given is not None
    if not read[given]:
        raise DataError(f"{place} holds no labels below its header")
    return LabelTable(
        f"{place.name}, column {header[given]}",
        None if names is None else tuple(read[names]),
        tuple(read[given]),
        None if clean is None else tuple(read[clean]),
    )


def is_missing(label: str) -> bool:
    """Whether a text is what programs write in place of a label that is not there."""
    return label.strip().lower() in _MISSING


@contextmanager
def _table(place: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """Open a table; every failure to read it becomes a DataError."""
    delimiter = "\t" if ".tsv" in place.name else ","
    try:
        with _open_text(place) as file:
            rows = csv.reader(file, delimiter=delimiter)
            header = [name.strip() for name in next(rows, [])]
            if not header:
                raise DataError(f"{place} is empty: give a table with a header line")
            yield header, rows
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"cannot read the labels in {place}: {error}") from error


def _open_text(place: Path, mode: Literal["rt", "wt"] = "rt") -> TextIO:
    # utf-8-sig: spreadsheets put a mark at the front that would become part of a name
    encoding = "utf-8-sig" if mode == "rt" else "utf-8"
    if place.suffix == ".gz":
        return gzip.open(place, mode, newline="", encoding=encoding)
    return place.open(mode, newline="", encoding=encoding)


def _column(
    place: Path,
    header: Sequence[str],
    wanted: str | None,
    defaults: Sequence[str],
    option: str,
    *,
    optional: bool = False,
) -> int | None:
    if wanted is None:
        found = next((name for name in defaults if name in header), None)
        if found is None and not optional:
            raise DataError(
                f"{place} has no column {' or '.join(defaults)}, only {', '.join(header)}: "
                f"name one with {option}"
            )
        return None if found is None else header.index(found)
    if wanted not in header:
        raise DataError(
            f"{place} has no column {wanted!r}, only {', '.join(header)}: name one with {option}"
        )
    return header.index(wanted)


def match_rows(table: LabelTable, ids: Sequence[str], where: str) -> NDArray[np.int64]:
    """Find the training sample of each row of the table.

    A row may name a sample by its whole id, by its id without the leading ``train/``, or by its
    file name where that is unique.

    Parameters
    ----------
    table
        Labels.
    ids
        Names of all training samples.
    where
        What holds these samples, for error messages.

    Returns
    -------
    ndarray
        Position in `ids` for each row, int64.

    Raises
    ------
    DataError
        A row without a sample (the first five are named), two rows for one sample, or another
        number of rows where the order has to tell.
    """
    if table.names is None:
        if len(table.given) != len(ids):
            raise DataError(
                f"the labels ({table.source}) are {len(table.given)} and the training samples of "
                f"{where} {len(ids)}: give a label for each, or a column with their names"
            )
        return np.arange(len(ids))
    position = _positions(table.names, ids)
    missing = [name for name in table.names if name not in position]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(table.names)} rows of the labels ({table.source}) name "
            f"samples that {where} has not, such as {', '.join(missing[:5])}: "
            f"its samples are named like {ids[0]}"
        )
    rows = np.array([position[name] for name in table.names], dtype=np.int64)
    unique, first = np.unique(rows, return_index=True)
    if len(unique) != len(rows):
        twice = next(i for i in range(len(rows)) if i not in set(first.tolist()))
        raise DataError(
            f"the labels ({table.source}) name the sample {table.names[twice]} twice: "
            "give one row for each sample"
        )
    return rows


def _positions(names: Sequence[str], ids: Sequence[str]) -> dict[str, int]:
    """Map names to positions in the first way in which all of them are known."""
    ways: list[list[str]] = [
        list(ids),
        [name.removeprefix("train/") for name in ids],
        [name.rpartition("/")[2] for name in ids],
    ]
    best: dict[str, int] = {}
    for keys in ways:
        known = {key: position for position, key in enumerate(keys)}
        if len(known) < len(keys):
            continue  # not unique
        found = {name: known[key] for name in names if (key := _plain(name)) in known}
        if len(found) == len(set(names)):
            return found
        best = max(best, found, key=len)
    return best


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def table_classes(tables: Iterable[Sequence[str]], class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the class names that labels of a table refer to.

    Parameters
    ----------
    tables
        Columns of labels.
    class_names
        Names that the data have; empty where only the table knows.

    Returns
    -------
    tuple of str
        `class_names` if there are some, else all labels in order, numbers by their value.
    """
    if class_names:
        return tuple(class_names)
    found = sorted({label for column in tables for label in column})
    if all(label.isdecimal() for label in found):
        found.sort(key=int)
    return tuple(found)


def encode_labels(
    labels: Sequence[str], class_names: Sequence[str], source: str
) -> NDArray[np.int64]:
    """Turn names of classes, or their numbers 0 .. C-1, into numbers.

    Raises
    ------
    DataError
        A label is neither a class name nor the number of a class.
    """
    names = {name: number for number, name in enumerate(class_names)}
    numbers = {str(number): number for number in range(len(class_names))}
    known = set(labels)
    position = numbers if len(known & numbers.keys()) > len(known & names.keys()) else names
    wrong = next((label for label in labels if label not in position), None)
    if wrong is not None:
        shown = ", ".join(class_names[:10]) + (", …" if len(class_names) > 10 else "")
        raise DataError(
            f"the labels ({source}) hold {wrong!r}, which is no class: the classes are {shown}, "
            f"or their numbers 0 to {len(class_names) - 1}"
        )
    return np.array([position[label] for label in labels], dtype=np.int64)


def check_labels_path(path: str | Path) -> Path:
    """Return where labels are to be saved; an error, before hours of work, if they cannot be.

    Raises
    ------
    DataError
        If the ending is another one, or the folder does not exist.
    OSError
        If nothing can be written there.
    """
    place = Path(path)
    if not place.name.endswith((".csv", ".csv.gz", ".npz")):
        raise DataError(f"labels cannot be saved to {place}: name a .csv, .csv.gz or .npz file")
    if not place.absolute().parent.is_dir():
        raise DataError(f"labels cannot be saved to {place}: its folder does not exist")
    check_writable(place)
    return place


def save_labels(path: str | Path, data: NoisyData) -> None:
    """Save the given labels of a data set, and the true ones where they are known.

    Includes the samples of a validation part that was cut from the training data, so that
    ``labels=path`` restores all that was drawn.

    Parameters
    ----------
    path
        ``.csv`` or ``.csv.gz`` with the columns id, label and clean; or ``.npz`` with the arrays
        ids, given and clean.
    data
        The data.

    Raises
    ------
    DataError
        The name says no format, or the folder does not exist.
    """
    place = check_labels_path(path)
    samples = data.labelled_samples()
    if place.suffix == ".npz":
        arrays = {"ids": np.array(samples.ids), "given": samples.given}
        if samples.clean is not None:
            arrays["clean"] = samples.clean
        np.savez_compressed(place, allow_pickle=False, **arrays)
        return
    names = np.array(data.class_names)
    columns = {"id": np.array(samples.ids), "label": names[samples.given]}
    if samples.clean is not None:
        columns["clean"] = names[samples.clean]
    with _open_text(place, "wt") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
