"""A file that only grows, to which one process at a time adds; what was added is on the disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Self

from s2e_optuna.errors import InputError


class AppendedFile:
    """A file to add to; a context manager.

    Parameters
    ----------
    path
        The file; it is made, with its folder, if it is missing.
    taken
        What is said where another process adds to it.

    Raises
    ------
    InputError
        Another process adds to it.
    OSError
        It cannot be written.
    """

    def __init__(self, path: Path, taken: str) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._be_alone(taken)
            if is_new:
                _sync_name(path.parent)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others add to the file."""
        os.close(self._file)

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file).st_size

    def append(self, content: bytes) -> None:
        """Add to the file; when this returns, it is on the disk.

        Raises
        ------
        OSError
            It could not be written; then nothing of it is in the file.
        """
        size = self.size
        try:
            while content:
                content = content[os.write(self._file, content) :]
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):  # the first error is what is said
                os.ftruncate(self._file, size)
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def cut(self, size: int) -> None:
        """Drop what is behind the first bytes."""
        os.ftruncate(self._file, size)

    def _be_alone(self, taken: str) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(taken) from error
        except OSError:  # a file system without locks
            return


def _sync_name(folder: Path) -> None:
    """Put the name of a new file on the disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every file system can
            os.fsync(handle)
    finally:
        os.close(handle)
