"""What a person has answered: a table that only grows, each answer on the disk at once."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from s2e_optuna.data.checked import as_pairs
from s2e_optuna.review.appended import AppendedFile

CANNOT_SAY = ""
"""Label of a sample that was looked at in vain."""


class AnswerFile(AppendedFile):
    """A CSV file (``id, label``), to which one process at a time adds; a context manager.

    Parameters
    ----------
    path
        The file; it is made, with its folder, if it is missing.

    Raises
    ------
    InputError
        Another process adds to it, or it is another kind of file.
    OSError
        It cannot be written.

    Attributes
    ----------
    labels
        Samples that were answered, with their labels; `CANNOT_SAY` for those in vain.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            f"another s2e check writes into {path}: end it first, or choose another file with "
            "--to.",
        )
        try:
            if self.size == 0:
                self._write("id", "label")
            elif not path.read_bytes().endswith(b"\n"):
                self.append(b"\n")  # an editor has left it out
            self.labels = dict(as_pairs(path))
        except BaseException:
            self.close()
            raise

    def add(self, name: str, label: str) -> None:
        """Write an answer; when this returns, it is on the disk.

        Parameters
        ----------
        name
            Name of the sample.
        label
            Name of its class, or `CANNOT_SAY`.

        Raises
        ------
        OSError
            It could not be written; then nothing of it is in the file.
        """
        self._write(name, label)
        self.labels[name] = label

    def _write(self, *cells: str) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        self.append(line.getvalue().encode())
