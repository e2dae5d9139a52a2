"""Whether results can be written, asked before hours of work."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile


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
