"""What a storage URL means: which file or folder, and where artifacts lie.

Nothing else in the package takes such a URL apart.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

_FILE_SCHEMES = {"sqlite", "journal", "embedded-postgres"}

# Options of Python's sqlite3; further ones are SQLite's own, for an address (uri=true) only.
_SQLITE_OPTIONS = {
    *("cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout"),
    "uri",
}


def stored_file(url: str) -> Path | None:
    """Return the file or folder behind a storage URL; None for servers and SQLite in memory.

    It is the one that is opened, whatever stands in the URL: SQLAlchemy says what a URL of SQLite
    names, and SQLite what an address (``file:``) does. In the others there is no escape.

    Raises
    ------
    StorageError
        If a URL of SQLite names a host, or has options that SQLite does not know.

    Examples
    --------
    >>> stored_file("sqlite:////var/lib/s2e/s2e.db").as_posix()
    '/var/lib/s2e/s2e.db'
    """
    scheme, separator, rest = url.partition("://")
    kind = scheme.split("+")[0]
    if not separator or kind not in _FILE_SCHEMES:
        return None
    name = _sqlite_name(url) if kind == "sqlite" else os.path.expanduser(rest.removeprefix("/"))
    return Path(name) if name else None


def _sqlite_name(url: str) -> str:
    """Name of SQLite's file; empty for a database in memory."""
    import sqlalchemy

    from s2e_optuna.storages.failures import StorageError

    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
        raise StorageError(f"{url!r} is no URL of SQLite: give sqlite:///file.db.") from error
    if parsed.host or parsed.port or parsed.username:
        raise StorageError(f"{url!r} names a host: a file of SQLite needs three slashes.")
    name, address = parsed.database or "", _is_true(parsed.query.get("uri"))
    _check_options(url, address=address)
    if not (address and name.startswith("file:")):
        return "" if name == ":memory:" else os.path.expanduser(name)
    path, _, own = name.removeprefix("file:").partition("?")
    if "mode=memory" in own.split("&") or parsed.query.get("mode") == "memory":
        return ""
    if path.startswith("//"):  # a host, which may only be this one
        path = "/" + path[2:].partition("/")[2]
    path = unquote(path.partition("#")[0])
    return "" if path == ":memory:" else path


def _is_true(word: object) -> bool:
    return str(word).strip().lower() in ("true", "yes", "on", "y", "t", "1")


def _check_options(url: str, *, address: bool) -> None:
    from s2e_optuna.storages.failures import StorageError

    _, _, options = url.partition("?")
    for option in filter(None, options.split("&")):
        name, equals, _ = option.partition("=")
        if not equals or not (address or name in _SQLITE_OPTIONS):
            raise StorageError(
                f"{option!r} is no option of SQLite: in {url!r} options begin at the question "
                "mark. Use a file whose name has none."
            )


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
