"""Optuna's relational storage with settings that stand many processes.

What is added to `optuna.storages.RDBStorage`, and why:

- SQLite: write-ahead log, ``synchronous=NORMAL``, a busy timeout and ``BEGIN IMMEDIATE``. With
  stock settings a transaction that reads first and writes later fails when another process wrote
  in between; two workers may even start the same waiting trial.
- Servers: a lost connection is tried again with back-off, so that a restart of the server in the
  middle of a search costs no trial.
- Batches: what is written inside ``with storage.batch():`` goes out as one transaction. A
  schedule has 19 parameters, and a transaction for each of them is most of a trial's overhead.
- Reads: two statements bring whatever is new about all trials (`rows`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from s2e_optuna.storages import rows

BUSY_TIMEOUT = 60.0
"""Seconds that a SQLite statement waits for another process's transaction."""

PATIENCE = 180.0
"""Seconds for which a lost server is tried again."""

_READS = "s2e_only_reads"  # option of a connection that takes no lock for writing in SQLite

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_Call = tuple[str, tuple[Any, ...]]


def _leave_transactions_alone(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver opens no transactions of its own


def _write_ahead(connection: sqlite3.Connection, _record: object) -> None:
    # Only a file that is no write-ahead log yet is changed: that needs the file for itself.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
        deadline = time.monotonic() + BUSY_TIMEOUT
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:  # this statement ignores the busy timeout
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.01, 0.1))
    connection.execute("PRAGMA synchronous=NORMAL")


class SharedRDBStorage(RDBStorage):
    """`optuna.storages.RDBStorage` for many processes; see the text at the top of this file.

    Parameters are those of `optuna.storages.RDBStorage`, and ``prepare``: without it no
    tables are made, a SQLite file keeps its journal mode, and no transaction takes a lock before
    it writes.
    """

    _local: threading.local
    lost_at: float | None
    """When a connection was last found lost, `time.monotonic` seconds."""

    def __init__(
        self,
        url: str,
        engine_kwargs: dict[str, Any] | None = None,
        *,
        prepare: bool = True,
        **kw: Any,
    ) -> None:
        self._local = threading.local()
        self.lost_at = None
        self._prepare = prepare
        self._begin_statement = "BEGIN"
        try:
            super().__init__(url, engine_kwargs, skip_table_creation=not prepare, **kw)
        except BaseException:
            if "engine" in self.__dict__:
                self.engine.dispose()  # it keeps connections, and nobody else could close them
            raise
        self._take_locks()

    def _take_locks(self) -> None:
        if self._prepare:
            self._begin_statement = "BEGIN IMMEDIATE"

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        del state["_local"]
        state["_begin_statement"] = "BEGIN"
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        self._local = threading.local()
        super().__setstate__(state)
        self._take_locks()

    # The constructor makes the engine and uses it at once. This property is how the listeners
    # are on this engine, and on no other, before the first connection is opened; also after
    # unpickling.
    @property
    def engine(self) -> sqlalchemy.Engine:
        """The SQLAlchemy engine."""
        engine: sqlalchemy.Engine = self.__dict__["engine"]
        return engine

    @engine.setter
    def engine(self, engine: sqlalchemy.Engine) -> None:
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _leave_transactions_alone)
            if self._prepare:
                event.listen(engine, "connect", _write_ahead)
            event.listen(engine, "begin", self._begin)
        self.__dict__["engine"] = engine

    def _begin(self, connection: sqlalchemy.Connection) -> None:
        # Not yet immediate in the constructor: it opens connections while it reads on another. And
        # never where nothing is prepared: a file may be one that can only be read.
        reads = connection.get_execution_options().get(_READS, False)
        connection.exec_driver_sql("BEGIN" if reads else self._begin_statement)

    # ---------------------------------------------------------------- lost connections

    def _is_lost(self, error: BaseException) -> bool:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if not isinstance(cause, DBAPIError):
            return False
        if self.engine.dialect.name == "sqlite":
            # A process that was stopped in the middle of a transaction holds up all others.
            return "database is locked" in str(cause.orig)
        return cause.connection_invalidated or isinstance(cause, OperationalError | InterfaceError)

    def _patiently(self, call: Callable[[], _Result]) -> _Result:
        """Call, and call again with back-off while the server cannot be reached."""
        deadline = time.monotonic() + PATIENCE
        pause = 0.2
        while True:
            try:
                return call()
            except (StorageInternalError, SQLAlchemyError) as error:
                if not self._is_lost(error) or time.monotonic() + pause > deadline:
                    raise
                self.lost_at = time.monotonic()
                _logger.warning(
                    "The database does not answer (%s); trying again in %.1f s.",
                    type(error.__cause__ or error).__name__,
                    pause,
                )
            time.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(2.0 * pause, 5.0)

    def _finish_patiently(
        self, call: Callable[[], bool], trial_id: int, state: TrialState
    ) -> bool:
        attempts = 0

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return call()
            except UpdateFinishedTrialError:
                # A connection lost during the commit leaves open whether it took place.
                if attempts > 1 and self.get_trial(trial_id).state == state:
                    return True
                raise

        return self._patiently(attempt)

    # ---------------------------------------------------------------- batches

    @contextlib.contextmanager
    def batch(self) -> Iterator[set[int]]:
        """Collect this thread's writes to trials; write them in one transaction at the end.

        Nothing is written if the block raises. Writes to trials that another process has finished
        meanwhile (marked as failed, say) are left out and logged; after the block their ids are
        in the set that it is given.
        """
        left_out: set[int] = set()
        if self._calls is not None:  # already inside a batch
            yield left_out
            return
        calls: list[_Call] = []
        self._local.calls = calls
        try:
            yield left_out
        finally:
            self._local.calls = None
        if calls:
            left_out |= self._write(calls)
        if left_out:
            _logger.info("Trials with ids %s are finished already.", sorted(left_out))

    @property
    def _calls(self) -> list[_Call] | None:
        return getattr(self._local, "calls", None)

    def _write(self, calls: list[_Call]) -> set[int]:
        """Write, and return the ids of trials that were left out."""
        try:
            with _translated():
                return self._write_in_one_transaction(calls)
        except StorageInternalError as error:
            if not self._is_lost(error):
                raise
            self.lost_at = time.monotonic()
        # One by one every call can be repeated, whatever part of the batch is already there.
        left_out = set()
        for name, args in calls:
            method = functools.partial(getattr(RDBStorage, name), self, *args)
            try:
                if name == "set_trial_state_values":
                    self._finish_patiently(method, args[0], args[1])
                else:
                    self._patiently(method)
            except UpdateFinishedTrialError:
                left_out.add(args[0])
        return left_out

    def _write_in_one_transaction(self, calls: list[_Call]) -> set[int]:
        trial_ids = {args[0] for _, args in calls}
        with self.engine.connect() as connection, connection.begin():
            open_ids = rows.lock_unfinished(connection, sorted(trial_ids))
            batch = rows.Batch()
            rest = [
                (name, args)
                for name, args in calls
                if args[0] in open_ids and not batch.take(name, args)
            ]
            batch.insert(connection)
            with self._session_on(connection):
                for name, args in rest:
                    getattr(RDBStorage, name)(self, *args)
            batch.finish(connection)
        return trial_ids - open_ids

    @contextlib.contextmanager
    def _session_on(self, connection: sqlalchemy.Connection) -> Iterator[None]:
        """Let Optuna's methods take part in a connection's transaction.

        The session's own commits then do nothing, and its rollbacks undo everything.
        """
        self.scoped_session.remove()
        self.scoped_session(bind=connection, join_transaction_mode="rollback_only")
        try:
            yield
        finally:
            self.scoped_session.remove()

    # ---------------------------------------------------------------- reads

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlalchemy.Connection]:
        """All that is read inside is of one moment: a tag is not seen before what it speaks of."""
        options: dict[str, Any] = {_READS: True}
        # SQLite's and MySQL's transactions see one moment as they are. This costs no statement.
        if self.engine.dialect.name == "postgresql":
            options["isolation_level"] = "REPEATABLE READ"
        with _translated(), self.engine.connect() as connection:
            connection.execution_options(**options)
            yield connection

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        def attempt() -> list[FrozenTrial]:
            with self._reading() as connection:
                return rows.read_trials(
                    connection, study_id, trial_id_greater_than, included_trial_ids
                )

        found = self._patiently(attempt)
        return found if states is None else [trial for trial in found if trial.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `optuna.storages.BaseStorage`."""

        def attempt() -> FrozenTrial:
            with self._reading() as connection:
                return rows.read_trial(connection, trial_id)

        return self._patiently(attempt)

    # ---------------------------------------------------------------- writes

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        args = (trial_id, param_name, param_value_internal, distribution, previous_distribution)
        self._put("_set_trial_param", args)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `optuna.storages.BaseStorage`."""
        self._put("set_trial_user_attr", (trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `optuna.storages.BaseStorage`."""
        self._put("set_trial_system_attr", (trial_id, key, value))

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """See `optuna.storages.BaseStorage`."""
        self._put("set_trial_intermediate_value", (trial_id, step, intermediate_value))

    def _put(self, name: str, args: tuple[Any, ...]) -> None:
        if self._calls is not None:
            self._calls.append((name, args))
        else:
            self._patiently(lambda: getattr(RDBStorage, name)(self, *args))

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `optuna.storages.BaseStorage`."""
        if self._calls is not None and state.is_finished():
            self._calls.append(("set_trial_state_values", (trial_id, state, values)))
            return True
        method = functools.partial(RDBStorage.set_trial_state_values, self)
        return self._finish_patiently(lambda: method(trial_id, state, values), trial_id, state)

    def create_owned_trial(self, study_id: int, owner: str) -> FrozenTrial:
        """Create a running trial that names its worker from birth."""

        def attempt() -> FrozenTrial:
            with _translated(), self.engine.connect() as connection, connection.begin():
                return rows.create_running_trial(connection, study_id, owner)

        return self._patiently(attempt)

    def start_waiting_trial(self, trial_id: int, owner: str) -> bool:
        """Start a waiting trial for a worker; False if another one was faster."""

        def attempt() -> bool:
            with (
                self.engine.connect() as connection,
                connection.begin(),
                self._session_on(connection),
            ):
                if not RDBStorage.set_trial_state_values(self, trial_id, TrialState.RUNNING):
                    return False
                RDBStorage.set_trial_user_attr(self, trial_id, rows.OWNER_ATTR, owner)
            return True

        return self._patiently(attempt)

    # ---------------------------------------------------------------- heartbeats

    def with_heartbeat(self, trial_ids: Sequence[int]) -> set[int]:
        """Which of the trials have ever sent a heartbeat."""

        def attempt() -> set[int]:
            with self._reading() as connection:
                return rows.with_heartbeat(connection, trial_ids)

        return self._patiently(attempt)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise SQLAlchemy's errors as Optuna does."""
    try:
        yield
    except SQLAlchemyError as error:
        raise StorageInternalError("The database failed.") from error


def _patient(name: str) -> Any:
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def call(self: SharedRDBStorage, *args: Any, **kwargs: Any) -> Any:
        return self._patiently(lambda: method(self, *args, **kwargs))

    return call


# Methods that may simply be called again. (A trial created twice, because the first answer was
# lost, has an owner and no heartbeat: it is found and marked as failed like a dead worker's.)
for _name in (
    "_create_new_trial",
    "_get_best_trial_id",
    "_get_stale_trial_ids",
    "get_all_studies",
    "get_n_trials",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_system_attrs",
    "get_trial_user_attrs",
    "record_heartbeat",
    "set_study_system_attr",
    "set_study_user_attr",
):
    setattr(SharedRDBStorage, _name, _patient(_name))
