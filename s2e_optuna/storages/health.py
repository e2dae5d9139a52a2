"""Whether a database can be worked with, tried out: what ``s2e doctor`` says of a storage."""

from __future__ import annotations

import sqlalchemy
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from s2e_optuna.storages.failures import reason
from s2e_optuna.storages.tables import STUDIES, TRIALS

_NAME = "s2e-doctor"


def damage(engine: sqlalchemy.Engine) -> str | None:
    """Look for damage in a file of SQLite; return what was found.

    Reads the whole file. Servers look after their own files.
    """
    if engine.dialect.name != "sqlite":
        return None
    try:
        with engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    except SQLAlchemyError as error:
        return reason(error)
    return None if found == "ok" else str(found).strip().splitlines()[-1]


def refusal(engine: sqlalchemy.Engine, *, tables: bool) -> str | None:
    """Try to begin a study, or to make a table where there are none, and take it back.

    Parameters
    ----------
    engine
        The database.
    tables
        Whether it has Optuna's tables.

    Returns
    -------
    str or None
        What the database says against it.
    """
    if not tables and engine.dialect.name != "postgresql":
        return None  # others do not take back a table
    try:
        with engine.connect() as connection:
            transaction = connection.begin()
            try:
                _try(connection, tables)
            finally:
                transaction.rollback()
    except SQLAlchemyError as error:
        return reason(error)
    return None


def _try(connection: sqlalchemy.Connection, tables: bool) -> None:
    if not tables:
        column = sqlalchemy.Column("x", sqlalchemy.Integer)
        sqlalchemy.Table(_NAME, sqlalchemy.MetaData(), column).create(connection)
        return
    made = connection.execute(sqlalchemy.insert(STUDIES), {"study_name": _NAME})
    assert made.inserted_primary_key is not None
    trial = {"number": 0, "study_id": made.inserted_primary_key[0], "state": TrialState.RUNNING}
    connection.execute(sqlalchemy.insert(TRIALS), trial)
