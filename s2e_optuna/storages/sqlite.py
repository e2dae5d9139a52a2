"""Settings of SQLite that stand many processes, on public events of SQLAlchemy.

Write-ahead log, ``synchronous=NORMAL``, and ``BEGIN IMMEDIATE``. With stock settings a transaction
that reads first and writes later fails when another process wrote in between; two workers may even
start the same waiting trial.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable

import sqlalchemy
from sqlalchemy import event

from s2e_optuna.storages.retry import BUSY_TIMEOUT, retry


def listen(
    engine: sqlalchemy.Engine, begin: Callable[[sqlalchemy.Connection], str], *, prepare: bool
) -> None:
    """Set each connection up as it is opened; nothing happens to other databases.

    Parameters
    ----------
    engine
        Where to; no connection of it may be open.
    begin
        What a transaction begins with.
    prepare
        Make a file a write-ahead log, for good.
    """
    if engine.dialect.name != "sqlite":
        return
    event.listen(engine, "connect", _leave_transactions_alone)
    if prepare:
        event.listen(engine, "connect", _write_ahead)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin(connection)))


def _leave_transactions_alone(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver opens no transactions of its own


def _write_ahead(connection: sqlite3.Connection, _record: object) -> None:
    # Only a file that is no write-ahead log yet is changed: that needs the file for itself.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
        retry(
            lambda: connection.execute("PRAGMA journal_mode=WAL"),
            lambda error, _: "locked" in str(error),  # this statement ignores the busy timeout
            patience=BUSY_TIMEOUT,
            first=0.01,
            longest=0.1,
        )
    connection.execute("PRAGMA synchronous=NORMAL")


def checkpoint(engine: sqlalchemy.Engine) -> None:
    """Bring the write-ahead log into the file itself, as far as nobody is in the way.

    Who copies the file alone then finds there what has been written.
    """
    with contextlib.closing(engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
