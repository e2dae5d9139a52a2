"""What goes wrong with storages, and how it is said: in one sentence, without passwords."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from s2e_optuna.errors import first_line

# SQLite and SQLite's journals; PostgreSQL; MySQL.
_DAMAGED = re.compile(
    r"malformed|not a database|invalid page|index .* corrupt|is marked as crashed"
)
_REFUSED = re.compile(r"permission denied|readonly database|command denied|read-only transaction")


# What will not be otherwise in a minute: PostgreSQL, MySQL.
_WRONG = re.compile(
    r"authentication failed|does not exist|no pg_hba.conf entry|Access denied|Unknown database"
)


class StorageError(ValueError):
    """A storage that cannot be used; the message is one sentence, without passwords."""


class NoTablesError(StorageError):
    """A database that holds no tables of Optuna."""


class StorageFailedError(StorageInternalError, RuntimeError):
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


def cause_of(error: BaseException) -> BaseException:
    """Return what a storage has failed of: Optuna's own text is a guess, and often a wrong one."""
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def reason(error: BaseException, password: object = None) -> str:
    """Return the first line of an error's text, without SQLAlchemy's decoration and passwords."""
    text = first_line(error)
    if password:
        text = text.replace(str(password), "***")
    return mask_password(text)


def explain(error: BaseException) -> str:
    """Say in one line, without passwords, why a storage failed."""
    cause = cause_of(error)
    return f"{type(cause).__name__}: {reason(cause)}"


def is_lost(error: BaseException, dialect: str) -> bool:
    """Whether a call that failed may come through later.

    Parameters
    ----------
    error
        What was raised.
    dialect
        SQLAlchemy's name of the kind of database.
    """
    cause = cause_of(error)
    if not isinstance(cause, DBAPIError):
        return False
    text = str(cause.orig)
    if dialect == "sqlite":
        # A process that was stopped in the middle of a transaction holds up all others.
        return "database is locked" in text
    if any(pattern.search(text) for pattern in (_DAMAGED, _REFUSED, _WRONG)):
        return False
    return cause.connection_invalidated or isinstance(cause, OperationalError | InterfaceError)


def failed(error: BaseException) -> StorageFailedError:
    """Make the error of a storage that failed in the middle of the work."""
    if isinstance(error, StorageFailedError):
        return error
    said = explain(error)
    if _DAMAGED.search(said):
        return damaged(error)
    if _REFUSED.search(said):
        return StorageFailedError(
            f"the storage may only be read ({said}). Open it as a user that may write to it."
        )
    return StorageFailedError(
        f"the storage failed ({said}). Nothing that it has stored is lost: start again once it "
        "works."
    )


def damaged(error: BaseException) -> StorageFailedError:
    """Make the error of a storage that holds what cannot be read."""
    return StorageFailedError(
        f"the storage is damaged ({explain(error)}). Make a copy of it, and save from the copy "
        "what can be read; for a file of SQLite: sqlite3 COPY .recover | sqlite3 NEW."
    )


@contextlib.contextmanager
def failing_in_a_sentence() -> Iterator[None]:
    """Turn what databases, files and proxies raise when they fail into `StorageFailedError`."""
    try:
        yield
    except Exception as error:
        of_proxy = type(error).__module__.startswith("grpc")
        if not (of_proxy or isinstance(error, StorageInternalError | SQLAlchemyError | OSError)):
            raise
        raise failed(error) from cause_of(error)
