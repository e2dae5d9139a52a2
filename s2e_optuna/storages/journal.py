"""Journals for many workers: what `open_storage` returns for ``journal:///file.log``.

What is added to `optuna.storages.JournalStorage`, and why:

- Owners and leases: journals have no heartbeats, so that the trials of a dead worker would run for
  ever (`leased`, `leases`).
- An append that a full disk or a kill has cut short is taken back before the next one. Otherwise
  the two lines run into each other, and nobody can read the journal any more.
- The lock is the operating system's, which ends with its owner.
- A line that is damaged is named.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileSymlinkLock

from s2e_optuna.storages.failures import StorageError
from s2e_optuna.storages.leased import LeasedStorage

if sys.platform != "win32":
    import fcntl

_BLOCK = 1 << 16

_logger = logging.getLogger(__name__)


class SharedJournal(LeasedStorage, JournalStorage):
    """A journal file for many processes; see the text at the top of this file.

    Parameters
    ----------
    file
        The journal.

    Raises
    ------
    StorageError
        If a line of it is no operation of Optuna.
    """

    def __init__(self, file: SharedJournalFile) -> None:
        try:
            super().__init__(file)
        except (OSError, StorageError):
            raise
        except Exception as error:  # whatever Optuna stumbles over in a line that is not its own
            raise file.damage(error) from error


class _SystemLock:
    """A lock of the operating system, which a killed process gives up by itself.

    Optuna's is a file: when its owner is killed, all others wait for half a minute. Where the
    file system knows no such locks, Optuna's is used.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fallback = JournalFileSymlinkLock(path)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it inside the ``with`` block."""
        descriptor = self._take()
        if descriptor is None:
            self._fallback.acquire()
        try:
            yield
        finally:
            if descriptor is None:
                self._fallback.release()
            else:
                os.close(descriptor)

    def _take(self) -> int | None:
        if sys.platform == "win32":
            return None
        try:
            descriptor = os.open(f"{self._path}.flock", os.O_CREAT | os.O_RDWR, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            return None
        return descriptor


class SharedJournalFile(BaseJournalBackend):
    """A journal file that never keeps a part of a line, and is locked by the system.

    Parameters
    ----------
    path
        The file; it is made if missing.

    Raises
    ------
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = _SystemLock(path)
        self._line = 0  # the one that was handed out last, from 1 on
        self._reading = threading.Lock()
        self._starts = [0]  # where lines begin in the file, as far as they have been read
        open(path, "ab").close()

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedJournalFile, (self._path,)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Read operations from one on, those in complete lines.

        Raises
        ------
        StorageError
            If a line is no operation.
        """
        number = min(log_number_from, len(self._starts) - 1)
        with open(self._path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            position = file.seek(self._starts[number])
            for line in file:
                position += len(line)
                # Somebody is writing it, or was killed while writing it.
                if position > size or not line.endswith(b"\n"):
                    return
                with self._reading:
                    if number + 1 == len(self._starts):
                        self._starts.append(position)
                number += 1
                if number <= log_number_from:
                    continue
                self._line = number
                try:
                    log = json.loads(line)
                except ValueError as error:
                    raise self.damage(error) from error
                yield log

    def damage(self, error: Exception) -> StorageError:
        """Make the error that says that Optuna cannot use the line that was read last."""
        return StorageError(
            f"line {self._line} of the journal {self._path} is no operation of Optuna "
            f"({type(error).__name__}): take it out of a copy of the journal, and open that."
        )

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, all of them or none."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._lock.held(), open(self._path, "r+b", buffering=0) as file:
            end = _end_of_lines(file)
            if file.seek(0, os.SEEK_END) != end:
                _logger.warning("The journal ended in a part of a line, which is taken back.")
                file.truncate(end)
            file.seek(end)
            try:
                _write(file, lines.encode())
                os.fsync(file.fileno())
            except OSError as error:
                file.truncate(end)
                raise OSError(error.errno, error.strerror, self._path) from error


def _end_of_lines(file: Any) -> int:
    """Position after the last line that is complete."""
    size = position = file.seek(0, os.SEEK_END)
    while position > 0:
        length = min(position, 1 if position == size else _BLOCK)
        position -= length
        file.seek(position)
        if (found := file.read(length).rfind(b"\n")) >= 0:
            return int(position + found + 1)
    return 0


def _write(file: Any, content: bytes) -> None:
    written = 0
    while written < len(content):  # a disk that gets full takes a part first
        written += file.write(content[written:])
