"""Where artifacts lie."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

_FILE_SCHEMES = {"sqlite", "journal", "embedded-postgres"}


def stored_file(url: str) -> Path | None:
    """Return the file or folder behind a storage URL; None for servers and SQLite in memory."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.split("+")[0] not in _FILE_SCHEMES:
        return None
    name, _, query = rest.partition("?")
    name = name.removeprefix("/")
    if name.startswith("file:"):  # an address of SQLite's own
        name = "" if "mode=memory" in query.split("&") else unquote(urlsplit(name).path)
        return Path(name) if name not in ("", ":memory:") else None
    return Path(name).expanduser() if name not in ("", ":memory:") else None


def is_in_memory(url: str) -> bool:
    """Whether a storage URL names a SQLite database in memory, which ends with its process."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme.split("+")[0] == "sqlite" and stored_file(url) is None


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


def default_storage() -> str:
    """Return the storage URL for someone who names none: a file in ``storage/`` or here."""
    return "sqlite:///storage/s2e.db" if Path("storage").is_dir() else "sqlite:///s2e.db"
