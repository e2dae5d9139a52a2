"""What a person has answered: a table that only grows, each answer on the disk at once."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
from pathlib import Path
from typing import Self

from s2e_optuna.data.checked import as_pairs
from s2e_optuna.errors import InputError

CANNOT_SAY = ""
"""Label of a sample that was looked at in vain."""


class AnswerFile:
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
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._be_alone()
            size = os.fstat(self._file).st_size
            if size == 0:
                self._write("id", "label")
            elif os.pread(self._file, 1, size - 1) != b"\n":
                os.write(self._file, b"\n")  # an editor has left it out
            self.labels = dict(as_pairs(path))
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

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

    def _be_alone(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another s2e check writes into {self.path}: end it first, or choose another file "
                "with --to."
            ) from error
        except OSError:  # a file system without locks
            return

    def _write(self, *cells: str) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        content = line.getvalue().encode()
        size = os.fstat(self._file).st_size
        try:
            while content:
                content = content[os.write(self._file, content) :]
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):  # the first error is what is said
                os.ftruncate(self._file, size)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
