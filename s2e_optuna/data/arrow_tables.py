"""Tables in parquet and Arrow files: one file, a folder of them, or a saved data set."""

from __future__ import annotations

import os
from pathlib import Path

from s2e_optuna.data.arrow_files import arrow_files, arrow_module, cell_of, describe
from s2e_optuna.data.folder_contents import EXTENSIONS
from s2e_optuna.data.text_tables import TextTable
from s2e_optuna.errors import DataError

SPLIT = "split"
"""Column that says to which part a row belongs, where files are those of several."""


def is_arrow_table(place: Path) -> bool:
    """Whether a folder holds a table in parquet or Arrow files, and no images.

    Raises
    ------
    DataError
        The description of a saved data set cannot be read.
    """
    if not place.is_dir() or not (files := arrow_files(place)):
        return False
    try:
        errors = arrow_module("pyarrow").ArrowException
    except ImportError:
        return not _holds_images(place)  # its reader says what to install
    try:
        if any(describe(file).image is not None for file in files):
            return False
    except (errors, OSError):
        return False
    return not _holds_images(place)


def _holds_images(folder: Path) -> bool:
    return any(
        os.path.splitext(name)[1].lower() in EXTENSIONS
        for _, _, names in os.walk(folder)
        for name in names
    )


def read_arrow(place: Path) -> TextTable:
    """Read a table with the names of its classes; with parts of their own a column says so.

    Parameters
    ----------
    place
        A parquet file, or a folder for which `is_arrow_table` holds.

    Raises
    ------
    DataError
        It cannot be read, or pyarrow is missing.
    """
    try:
        errors = arrow_module("pyarrow").ArrowException
    except ImportError as error:
        what = "holds parquet or Arrow files" if place.is_dir() else "is a parquet file"
        raise DataError(
            f"{place} {what}, which pyarrow reads: install pyarrow, or save the table as a .csv "
            "file"
        ) from error
    files = arrow_files(place)
    several = len({file.part for file in files}) > 1
    rows: list[tuple[str, ...]] = []
    try:
        described = [describe(file) for file in files]
        columns = dict.fromkeys(name for one in described for name in one.every)
        kept = [name for name in columns if not (several and name == SPLIT)]
        for file, about in zip(files, described, strict=True):
            for batch in file.batches():
                cells = [
                    [cell_of(v, about.names.get(name)).strip() for v in batch[name].to_pylist()]
                    if name in about.every
                    else [""] * len(batch)
                    for name in kept
                ]
                parts = [[file.part] * len(batch)] if several else []
                rows += zip(*cells, *parts, strict=True)
    except (errors, OSError, EOFError, KeyError) as error:
        raise DataError(f"cannot read {place}: {error}") from error
    header = (*kept, *([SPLIT] if several else []))
    return TextTable(place, (header, *rows), tuple(range(len(rows) + 1)))
