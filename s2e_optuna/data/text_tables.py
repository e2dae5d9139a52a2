"""Tables of text as people have them: any separator, with or without a header."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from s2e_optuna.errors import DataError

TABLES = (".csv", ".tsv", ".txt", ".lst", ".list", ".csv.gz", ".tsv.gz", ".txt.gz")
"""Names of files that are read as tables of text."""

_SEPARATORS = (",", ";", "\t", "|")

_LOOKED_AT = 200
"""Lines by which the separator is found."""


@dataclass(frozen=True, eq=False)
class TextTable:
    """The cells of a file, without empty lines.

    Attributes
    ----------
    path
        The file.
    rows
        Stripped cells of each line; lines may differ in length.
    lines
        Number of each line in the file, from 1.
    """

    path: Path
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    @property
    def width(self) -> int:
        """Cells of the first line."""
        return len(self.rows[0])

    def column(self, index: int, start: int = 0) -> tuple[str, ...]:
        """Return the cells of a column from a row on; where a line is too short, nothing."""
        return tuple(row[index] if index < len(row) else "" for row in self.rows[start:])


def is_table(path: Path) -> bool:
    """Whether a file is called like a table of text."""
    return path.name.lower().endswith(TABLES)


def read_text_table(path: Path) -> TextTable:
    """Read a table; its separator is found by what most lines have.

    Raises
    ------
    DataError
        The file cannot be read or is empty.
    """
    text = _text(path)
    numbered = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not numbered:
        raise DataError(f"{path} is empty: give a table with a line for each sample")
    separator = _separator(path, [line for _, line in numbered[:_LOOKED_AT]])
    if separator is None:
        cells = [(n, _words(line)) for n, line in numbered]
        widths = {len(row) for _, row in cells}
        if len(widths) > 1:  # paths with spaces: the last word is the label
            cells = [(n, line.strip().rsplit(None, 1)) for n, line in numbered]
    else:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            cells = [(reader.line_num, row) for row in reader if any(c.strip() for c in row)]
        except csv.Error as error:
            raise DataError(f"cannot read the labels in {path}: {error}") from error
    rows = tuple(tuple(cell.strip() for cell in row) for _, row in cells)
    return TextTable(path, rows, tuple(n for n, _ in cells))


def _text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"there is no file {path}: check the path of the labels")
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".gz":
            content = gzip.decompress(content)
        # Spreadsheets put a mark at the front, which would become part of a name.
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"cannot read the labels in {path}: byte {error.start} is no UTF-8, so save the "
            "table as UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read the labels in {path}: {error}") from error


def _separator(path: Path, lines: Sequence[str]) -> str | None:
    """Return what separates cells; None for white space."""
    usual = "\t" if ".tsv" in path.name.lower() else ","
    best, most = usual, 0.0
    for separator in (usual, *(s for s in _SEPARATORS if s != usual)):
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=separator) if row)
        width, number = max(widths.items(), key=lambda pair: (pair[1], pair[0]))
        share = number / widths.total() if width > 1 else 0.0
        if share > most:
            best, most = separator, share
    if most > 0.5:
        return best
    spaced = sum(len(line.split()) > 1 for line in lines)
    named = path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
    return None if spaced >= len(lines) * (1.0 if named else 0.5) else usual


def _words(line: str) -> list[str]:
    return line.split()
