"""Given labels from a table or from a file that an earlier run has saved."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.class_numbers import is_missing
from s2e_optuna.data.label_arrays import ARRAY_FILES, Arrays
from s2e_optuna.data.label_columns import Columns, Wanted, choose_columns
from s2e_optuna.data.matching import SEVERAL, UNKNOWN, Samples
from s2e_optuna.data.split import PART_WORDS, parts_in
from s2e_optuna.data.text_tables import TABLES, TextTable, is_table, read_text_table
from s2e_optuna.data.words import count, some
from s2e_optuna.errors import DataError
from s2e_optuna.writable import check_writable

if TYPE_CHECKING:
    from s2e_optuna.data.noisy_data import NoisyData

MOST_UNKNOWN = 0.05
"""Share of rows that may name samples which are not there: they are counted and left out."""


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
        Labels in the data, and true ones where the file has them; empty where one is missing.
    part
        ``"train"``, ``"val"`` or ``"test"`` of each row, where the file says it.
    naming
        Which column names the samples, in words.
    spare
        Label of the first line, which is a header if the number of rows does not say otherwise.
    """

    source: str
    names: tuple[str, ...] | None
    given: tuple[str, ...]
    clean: tuple[str, ...] | None
    part: tuple[str, ...] | None = None
    naming: str = ""
    spare: str | None = None


@dataclass(frozen=True, eq=False)
class TiedLabels:
    """Labels of samples that were found, one row a sample.

    Attributes
    ----------
    source
        File, and column, in words.
    positions
        Of the samples, in ascending order; int64 [R].
    given, clean
        Labels in the data, and true ones where the file has them; an empty text where one is
        missing.
    part
        ``"train"``, ``"val"`` or ``"test"`` of each, where the file says it.
    words
        How they were read, in sentences.
    by_order
        Whether nothing but their order says whose they are.
    """

    source: str
    positions: NDArray[np.int64]
    given: tuple[str, ...]
    clean: tuple[str, ...] | None
    part: tuple[str, ...] | None
    words: tuple[str, ...]
    by_order: bool = False


def read_labels(
    path: str | Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    clean_column: str | None = None,
    split_column: str | None = None,
    samples: Samples | None = None,
) -> LabelTable:
    """Read labels from a table of text (also ``.gz``) or from a file of arrays.

    Parameters
    ----------
    path
        The file. A table has commas, semicolons, tabs, bars or spaces between its columns, with
        a header line or without; an ``.npz`` file has the arrays ``given`` and perhaps ``clean``
        and ``ids`` (without which the order tells whose they are). ``.npy`` and ``.pt`` files
        hold a dictionary of arrays, such as those of CIFAR-N; columns are its names.
    path_column
        Column with the samples' paths or names; by default the one whose values name samples.
        Without one the rows must be in the order of the samples.
    label_column
        Column with the given labels; by default the first of `LABEL_COLUMNS`, or the only one
        that is left, or a column for each class with a single 1 in each row.
    clean_column
        Column with the true labels; by default the first of `CLEAN_COLUMNS`, if there is one.
    split_column
        Column with the part of each sample; by default one that says so.
    samples
        What the rows may name. Without it columns are known by their names alone.

    Raises
    ------
    DataError
        The file cannot be read, or a column is missing.
    """
    place = Path(path).expanduser()
    wanted = Wanted(path_column, label_column, clean_column, split_column)
    if place.suffix in ARRAY_FILES:
        return _from_arrays(place, wanted)
    if not place.is_file():
        raise DataError(f"there is no file {place}: check the path of the labels")
    if not is_table(place):
        kinds = ", ".join((*TABLES, *ARRAY_FILES))
        raise DataError(f"{place} is no table of labels: give one of {kinds}")
    table = read_text_table(place)
    return _label_table(table, choose_columns(table, samples, wanted))


def _from_arrays(place: Path, wanted: Wanted) -> LabelTable:
    arrays = Arrays(place)
    given, clean, ids = arrays.choose(wanted)
    chosen = [name for name in (given, clean, ids) if name is not None]
    columns = arrays.get(chosen)
    for name in (given, clean):
        if name is not None and (missing := sum(map(is_missing, columns[name]))):
            raise DataError(
                f"{missing} of the labels in {place}, array {name}, are missing: fill them "
                "in, or remove the samples"
            )
    if given == "given" and "class_names" in arrays.names:
        # Numbers mean the classes of the data that were saved.
        names = arrays.class_names()
        for name in (given, *([] if clean is None else [clean])):
            columns[name] = tuple(names[int(label)] for label in columns[name])
    return LabelTable(
        f"{place.name}, {given}" if given != "given" else str(place),
        None if ids is None else columns[ids],
        columns[given],
        None if clean is None else columns[clean],
        naming=f"samples named by the array {ids}" if ids else "",
    )


def _label_table(table: TextTable, columns: Columns) -> LabelTable:
    header, start = columns.header, columns.start
    names = clean = part = None
    if columns.path is not None:
        names = table.column(columns.path, start)
    if columns.clean is not None:
        clean = table.column(columns.clean, start)
    if columns.split is not None:
        said = table.column(columns.split, start)
        means = parts_in(header[columns.split], said)
        assert means is not None
        part = tuple(means[value] for value in said)
    if columns.label is not None:
        given = table.column(columns.label, start)
        source = f"{table.path.name}, column {header[columns.label]}"
    else:
        given = _one_hot(table, columns)
        classes = [header[column] for column in columns.one_hot]
        source = f"{table.path.name}, columns {some(classes, 3)}"
    spare = None
    if not columns.sure and start == 1 and columns.label is not None:
        spare = header[columns.label]
    naming = "" if columns.path is None else f"samples named by the column {header[columns.path]}"
    if columns.split is not None:
        naming += f"{naming and ', '}parts by the column {header[columns.split]}"
    return LabelTable(source, names, given, clean, part, naming, spare)


def _one_hot(table: TextTable, columns: Columns) -> tuple[str, ...]:
    """Return the class of each row of a table with a column for each; empty where none is 1."""
    shares = np.array(
        [[float(cell) for cell in table.column(c, columns.start)] for c in columns.one_hot]
    ).T
    classes = [columns.header[column] for column in columns.one_hot]
    if not np.isin(shares, (0.0, 1.0)).all():
        raise DataError(
            f"the columns {some(classes, 3)} of {table.path} hold shares between 0 and 1: give "
            "one class a sample, in a column of its own, and name it with --label-column"
        )
    if (several := int((shares.sum(axis=1) > 1).sum())) > 0:
        raise DataError(
            f"{several} of {len(shares)} rows of {table.path} have several classes at once "
            f"(columns {some(classes, 3)}): give one class a sample, or name one column with "
            "--label-column"
        )
    return tuple(classes[row.argmax()] if row.any() else "" for row in shares)


def tie_labels(table: LabelTable, samples: Samples, where: str, part: str = "train") -> TiedLabels:
    """Find the sample of each row.

    Rows that name no sample are counted and left out, up to `MOST_UNKNOWN` of them; rows that
    repeat others, too.

    Parameters
    ----------
    table
        Labels.
    samples
        What they may name.
    where
        What holds these samples, for messages.
    part
        Part whose samples rows belong to that say nothing else.

    Raises
    ------
    DataError
        Too many rows without a sample (the first five are named), a name that could be two
        samples, two labels for one sample, or another number of rows where the order has to tell.
    """
    if table.names is None:
        return _in_order_of(table, samples, where, part)
    ties = samples.tie(table.names, table.part or [part] * len(table.names))
    if ties.several is not None and (ties.positions == SEVERAL).any():
        name, one, other = ties.several
        raise DataError(
            f"{name} in the labels ({table.source}) may be {one} or {other}: name samples by "
            f"their paths below {where}"
        )
    known = ties.positions != UNKNOWN
    unknown = [name for name, found in zip(table.names, known, strict=True) if not found]
    allowed = 0.0 if samples.numbered else MOST_UNKNOWN
    if len(unknown) > allowed * len(known):
        raise DataError(
            f"{len(unknown)} of {len(known)} rows of the labels ({table.source}) name "
            f"samples that {where} has not, such as {', '.join(unknown[:5])}: "
            f"its samples are named like {samples.ids[0]}"
        )
    if samples.numbered:
        _check_counted_from_zero(table, ties.positions, where)
    words = [f"labels of {table.source}, {table.naming}"]
    rows = np.flatnonzero(known)
    if unknown:
        words.append(
            f"{count(len(unknown), 'row')} of {len(known):,} left out, for {where} has no "
            f"{some(unknown, 3)}"
        )
    rows = rows[np.argsort(ties.positions[rows], kind="stable")]
    rows, repeated = _without_repeats(table, rows, ties.positions, samples)
    if repeated:
        others = "repeats another" if repeated == 1 else "repeat others"
        words.append(f"{count(repeated, 'row')} left out that {others}")
    return _taken(table, rows, ties.positions[rows], words)


def _in_order_of(table: LabelTable, samples: Samples, where: str, part: str) -> TiedLabels:
    positions = samples.of(part)
    if table.spare is not None and len(table.given) + 1 == len(positions):
        # The first line is no header, or a row would be missing.
        table = LabelTable(table.source.partition(",")[0], None, (table.spare, *table.given), None)
    if len(table.given) != len(positions):
        raise DataError(
            f"the labels ({table.source}) are {len(table.given)} and the {PART_WORDS[part]} "
            f"samples of {where} {len(positions)}: give a label for each, or a column with their "
            "names"
        )
    first = some([samples.ids[position] for position in positions[:3]], 2)
    words = [
        f"labels of {table.source}{table.naming and f', {table.naming}'}, in the order of the "
        f"samples ({first}), for no column names them"
    ]
    return replace(_taken(table, np.arange(len(positions)), positions, words), by_order=True)


def _check_counted_from_zero(table: LabelTable, positions: NDArray[np.int64], where: str) -> None:
    """Refuse row numbers 1 .. n: most likely every label is meant for the row before."""
    found = np.unique(positions)
    if len(found) > 1 and found[0] == 1 and found[-1] == len(found):
        raise DataError(
            f"the labels ({table.source}) name the samples of {where} 1 to {len(found)}, but its "
            "samples are counted from 0: number them so, or leave the numbers out"
        )


def _without_repeats(
    table: LabelTable,
    rows: NDArray[np.int64],
    positions: NDArray[np.int64],
    samples: Samples,
) -> tuple[NDArray[np.int64], int]:
    """Leave out rows that say the same of a sample again; refuse those that say otherwise."""
    again = np.flatnonzero(np.diff(positions[rows]) == 0) + 1
    for place in again.tolist():
        one, other = rows[place - 1], rows[place]
        for column, what in ((table.given, ""), (table.clean, "true "), (table.part, "part ")):
            if column is not None and column[one] != column[other]:
                raise DataError(
                    f"the labels ({table.source}) name the sample {samples.ids[positions[one]]} "
                    f"twice, {what}once {column[one] or 'nothing'} and once "
                    f"{column[other] or 'nothing'}: give one row for each sample"
                )
    return np.delete(rows, again), len(again)


def _taken(
    table: LabelTable,
    rows: NDArray[np.int64],
    positions: NDArray[np.int64],
    words: Sequence[str],
) -> TiedLabels:
    def of(column: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if column is None else tuple(column[row] for row in rows)

    given = of(table.given)
    assert given is not None
    return TiedLabels(
        table.source, positions, given, of(table.clean), of(table.part), tuple(words)
    )


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
        arrays["class_names"] = np.array(data.class_names)
        if samples.clean is not None:
            arrays["clean"] = samples.clean
        np.savez_compressed(place, allow_pickle=False, **arrays)
        return
    names = np.array(data.class_names)
    columns = {"id": np.array(samples.ids), "label": names[samples.given]}
    if samples.clean is not None:
        columns["clean"] = names[samples.clean]
    with _open_to_write(place) as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _open_to_write(place: Path) -> TextIO:
    if place.suffix == ".gz":
        return gzip.open(place, "wt", newline="", encoding="utf-8")
    return place.open("w", newline="", encoding="utf-8")
