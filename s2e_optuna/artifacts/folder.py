"""Where artifacts lie."""

from __future__ import annotations

from pathlib import Path

_FILE_SCHEMES = {"sqlite", "journal", "embedded-postgres"}


def stored_file(url: str) -> Path | None:
    """Return the file or folder behind a storage URL; None for servers and SQLite in memory."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.split("+")[0] not in _FILE_SCHEMES:
        return None
    name = rest.partition("?")[0].removeprefix("/")
    return Path(name).expanduser() if name and name != ":memory:" else None


def artifact_folder(url: str) -> Path:
    """Return the folder for the artifacts of a storage's studies: ``artifacts`` beside its file.

    For servers it is ``storage/artifacts`` if there is a folder ``storage`` here, else
    ``s2e-artifacts``. Nothing is made.

    Examples
    --------
    >>> artifact_folder("sqlite:////var/lib/s2e/s2e.db").as_posix()
    '/var/lib/s2e/artifacts'
    """
    file = stored_file(url)
    if file is not None:
        return file.parent / "artifacts"
    storage = Path("storage")
    return storage / "artifacts" if storage.is_dir() else Path("s2e-artifacts")
