"""Results: whether they can be written, asked before hours of work; and written as a whole."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from s2e_optuna.errors import ConfigError

_logger = logging.getLogger(__name__)


def check_writable(path: str | Path) -> None:
    """Try to write to a file or into a folder, which need not exist yet; nothing is left behind.

    Permissions alone would not tell: file systems may be read-only, and servers have their own
    rules.

    Raises
    ------
    OSError
        What the system says against it; its ``filename`` is the path.
    """
    place = Path(path).absolute()
    try:
        found = next(part for part in (place, *place.parents) if part.exists())
        if found == place and not place.is_dir():
            place.open("ab").close()
        else:
            with TemporaryFile(dir=found):
                pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Write a file inside the ``with`` block under another name beside it, which then is its own.

    A full disk, or an end in the middle, leaves no part of a file, and an older file as it was.

    Parameters
    ----------
    path
        The file. One that is no plain file (a link, a device) is written to as it is.

    Yields
    ------
    Path
        Where to write; it has the same ending.

    Raises
    ------
    OSError
        What the system says against it; its ``filename`` is the path.
    """
    target = Path(path)
    special = target.is_symlink() or (target.exists() and not target.is_file())
    partial = target if special else target.with_name(f".{os.getpid()}-{target.name}")
    try:
        yield partial
        if not special:
            partial.replace(target)
    except Exception as error:
        if not special:
            partial.unlink(missing_ok=True)
        number = error.errno if isinstance(error, OSError) else _system_error(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _system_error(error: Exception) -> int | None:
    """Return the system's number of an error of a library written in Rust (safetensors)."""
    found = re.search(r"os error (\d+)|code: (\d+)", str(error))
    return int(found[1] or found[2]) if found else None


def check_folder(path: str | Path) -> None:
    """Raise an error if results cannot be written into a folder, which need not exist yet.

    Raises
    ------
    ConfigError
        If it, or what it is to be made in, is a file; if its name is no UTF-8.
    OSError
        What the system says against writing there.
    """
    place = Path(path).absolute()
    name = os.fsencode(path)
    shown = name.decode("utf-8", "backslashreplace")
    if shown.encode() != name:  # the report names it, and JSON
        raise ConfigError(f"results cannot be written to {shown}: the name is no UTF-8.")
    found = next(part for part in (place, *place.parents) if part.exists())
    if not found.is_dir():
        raise ConfigError(f"results cannot be written to {path}: {found} is a file, no folder.")
    check_writable(path)


@contextlib.contextmanager
def own_folder(path: str | Path) -> Iterator[None]:
    """Write into a folder of results alone: who comes second waits, and says so.

    Two searches with one folder would mix their files. The lock is the system's, of the folder
    itself: it ends with the process, however that ends, and leaves no file. Where a file system
    knows no locks, nobody waits.

    Parameters
    ----------
    path
        The folder; it is made if it is missing.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # no locks here, as on some network file systems
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _logger.warning(
                    "Another search or training writes into %s: waiting until it has ended.", path
                )
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
