"""Whether results can be written, asked before hours of work."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from s2e_optuna.errors import ConfigError


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


def check_folder(path: str | Path) -> None:
    """Raise an error if results cannot be written into a folder, which need not exist yet.

    Raises
    ------
    ConfigError
        If it, or what it is to be made in, is a file.
    OSError
        What the system says against writing there.
    """
    place = Path(path).absolute()
    found = next(part for part in (place, *place.parents) if part.exists())
    if not found.is_dir():
        raise ConfigError(f"results cannot be written to {path}: {found} is a file, no folder.")
    check_writable(path)
