"""Optuna's relational storage with settings that stand many processes.

What is added to `optuna.storages.RDBStorage`, and why:

- SQLite: write-ahead log, ``synchronous=NORMAL``, a busy timeout and ``BEGIN IMMEDIATE``. With
  stock settings a transaction that reads first and writes later fails when another process wrote
  in between; two workers may even start the same waiting trial.
- Servers: a lost connection is tried again with back-off, so that a restart of the server in the
  middle of a search costs no trial.
- Batches: what is written inside ``with storage.batch():`` goes out as one transaction. A
  schedule has 19 parameters, and a transaction for each of them is most of a trial's overhead.
- Owners: trials that one of our workers starts name that worker from birth (in the transaction
  that creates them), so that nobody has to guess which trials a dead worker left behind.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

OWNER_ATTR = "worker"
"""User attribute of a trial: the worker that runs it, ``host:pid:token``."""

BUSY_TIMEOUT = 60.0
"""Seconds that a SQLite statement waits for another process's transaction."""

PATIENCE = 180.0
"""Seconds for which a lost server is tried again."""

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_Call = tuple[str, tuple[Any, ...]]


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver opens no transactions of its own
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


def _check_unfinished(connection: sqlalchemy.Connection, trial_ids: Sequence[int]) -> None:
    trials = models.TrialModel.__table__.c
    query = (
        sqlalchemy.select(trials.trial_id, trials.state)
        .where(trials.trial_id.in_(trial_ids))
        .order_by(trials.trial_id)
        .with_for_update()
    )
    found = connection.execute(query).all()
    if len(found) != len(trial_ids):
        raise KeyError(models.NOT_FOUND_MSG)
    for trial_id, state in found:
        if state.is_finished():
            raise UpdateFinishedTrialError(f"Trial with id {trial_id} is finished already.")


class _Rows:
    """Rows of a batch, by table; one statement writes all rows of a table.

    The mapped classes of Optuna need two statements or more for each value. Calls that are not
    simply rows (`take` returns False) go through Optuna's own methods.
    """

    def __init__(self) -> None:
        self._params: list[dict[str, Any]] = []
        # By unique key, so that the last of several writes counts.
        self._user_attrs: dict[tuple[int, str], dict[str, Any]] = {}
        self._system_attrs: dict[tuple[int, str], dict[str, Any]] = {}
        self._reports: dict[tuple[int, int], dict[str, Any]] = {}

    def take(self, name: str, args: tuple[Any, ...]) -> bool:
        """Turn a call into a row, if it is one."""
        if name == "_set_trial_param":
            trial_id, key, value, distribution, previous = args
            if previous is None:
                return False  # Optuna's method looks for one in the database
            check_distribution_compatibility(previous, distribution)
            self._params.append(
                {
                    "trial_id": trial_id,
                    "param_name": key,
                    "param_value": value,
                    "distribution_json": distribution_to_json(distribution),
                }
            )
        elif name in ("set_trial_user_attr", "set_trial_system_attr"):
            trial_id, key, value = args
            attrs = self._user_attrs if name == "set_trial_user_attr" else self._system_attrs
            row = {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
            attrs[trial_id, key] = row
        elif name == "set_trial_intermediate_value":
            trial_id, step, value = args
            model = models.TrialIntermediateValueModel
            stored, kind = model.intermediate_value_to_stored_repr(value)
            self._reports[trial_id, step] = {
                "trial_id": trial_id,
                "step": step,
                "intermediate_value": stored,
                "intermediate_value_type": kind,
            }
        else:
            return False
        return True

    def insert(self, connection: sqlalchemy.Connection) -> None:
        """Write all rows; those of attributes and reports replace older ones."""
        if self._params:
            connection.execute(sqlalchemy.insert(models.TrialParamModel.__table__), self._params)
        for model, key, rows in (
            (models.TrialUserAttributeModel, "key", self._user_attrs),
            (models.TrialSystemAttributeModel, "key", self._system_attrs),
            (models.TrialIntermediateValueModel, "step", self._reports),
        ):
            if rows:
                table = model.__table__
                old = sqlalchemy.tuple_(table.c.trial_id, table.c[key]).in_(list(rows))
                connection.execute(sqlalchemy.delete(table).where(old))
                connection.execute(sqlalchemy.insert(table), list(rows.values()))


class SharedRDBStorage(RDBStorage):
    """`optuna.storages.RDBStorage` for many processes; see the text at the top of this file.

    Parameters are those of `optuna.storages.RDBStorage`.
    """

    _local: threading.local
    lost_at: float | None
    """When a connection was last found lost, `time.monotonic` seconds."""

    def __init__(self, url: str, engine_kwargs: dict[str, Any] | None = None, **kw: Any) -> None:
        self._local = threading.local()
        self.lost_at = None
        self._begin_statement = "BEGIN"
        super().__init__(url, engine_kwargs, **kw)
        self._begin_statement = "BEGIN IMMEDIATE"

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        del state["_local"]
        state["_begin_statement"] = "BEGIN"
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        self._local = threading.local()
        super().__setstate__(state)
        self._begin_statement = "BEGIN IMMEDIATE"

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
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", self._begin)
        self.__dict__["engine"] = engine

    def _begin(self, connection: sqlalchemy.Connection) -> None:
        # Not yet immediate in the constructor: it opens connections while it reads on another.
        connection.exec_driver_sql(self._begin_statement)

    # ---------------------------------------------------------------- lost connections

    def _is_lost(self, error: BaseException) -> bool:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if not isinstance(cause, DBAPIError) or self.engine.dialect.name == "sqlite":
            return False
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
                if attempts > 1 and RDBStorage.get_trial(self, trial_id).state == state:
                    return True
                raise

        return self._patiently(attempt)

    # ---------------------------------------------------------------- batches

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Collect this thread's writes to trials; write them in one transaction at the end.

        Nothing is written if the block raises. Writes to trials that another process has finished
        meanwhile (marked as failed, say) are left out and logged.
        """
        if self._calls is not None:  # already inside a batch
            yield
            return
        calls: list[_Call] = []
        self._local.calls = calls
        try:
            yield
        finally:
            self._local.calls = None
        if calls:
            self._write(calls)

    @property
    def _calls(self) -> list[_Call] | None:
        return getattr(self._local, "calls", None)

    def _write(self, calls: list[_Call]) -> None:
        try:
            self._write_in_one_transaction(calls)
            return
        except UpdateFinishedTrialError:
            pass
        except (StorageInternalError, SQLAlchemyError) as error:
            if not self._is_lost(error):
                raise
            self.lost_at = time.monotonic()
        # One by one every call can be repeated, whatever part of the batch is already there.
        for name, args in calls:
            method = functools.partial(getattr(RDBStorage, name), self, *args)
            try:
                if name == "set_trial_state_values":
                    self._finish_patiently(method, args[0], args[1])
                else:
                    self._patiently(method)
            except UpdateFinishedTrialError:
                _logger.info("Trial with id %d is finished already: %s left out.", args[0], name)

    def _write_in_one_transaction(self, calls: list[_Call]) -> None:
        rows = _Rows()
        rest = [(name, args) for name, args in calls if not rows.take(name, args)]
        trial_ids = sorted({args[0] for _, args in calls})
        with self.engine.connect() as connection, connection.begin() as transaction:
            _check_unfinished(connection, trial_ids)
            rows.insert(connection)
            self.scoped_session.remove()
            # The session's own commits then do nothing, and its rollbacks undo everything.
            self.scoped_session(bind=connection, join_transaction_mode="rollback_only")
            try:
                for name, args in rest:
                    getattr(RDBStorage, name)(self, *args)
            finally:
                self.scoped_session.remove()
            if not transaction.is_active:
                raise UpdateFinishedTrialError("The batch was rolled back.")

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

    def start_waiting_trial(self, trial_id: int, owner: str) -> bool:
        """Start a waiting trial for a worker; False if another one was faster."""

        def attempt() -> bool:
            with self.engine.connect() as connection, connection.begin():
                self.scoped_session.remove()
                self.scoped_session(bind=connection, join_transaction_mode="rollback_only")
                try:
                    if not RDBStorage.set_trial_state_values(self, trial_id, TrialState.RUNNING):
                        return False
                    RDBStorage.set_trial_user_attr(self, trial_id, OWNER_ATTR, owner)
                finally:
                    self.scoped_session.remove()
            return True

        return self._patiently(attempt)

    # ---------------------------------------------------------------- heartbeats

    def with_heartbeat(self, trial_ids: Sequence[int]) -> set[int]:
        """Which of the trials have ever sent a heartbeat."""
        if not trial_ids:
            return set()
        beats = sqlalchemy.table("trial_heartbeats", sqlalchemy.column("trial_id"))
        query = sqlalchemy.select(beats.c.trial_id).where(beats.c.trial_id.in_(list(trial_ids)))

        def attempt() -> set[int]:
            with self.engine.connect() as connection:
                return {int(row[0]) for row in connection.execute(query)}

        return self._patiently(attempt)


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
    "_get_trials",
    "get_all_studies",
    "get_n_trials",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "get_trial",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_system_attrs",
    "get_trial_user_attrs",
    "record_heartbeat",
    "set_study_system_attr",
    "set_study_user_attr",
):
    setattr(SharedRDBStorage, _name, _patient(_name))


class SharedStorage(_CachedStorage):
    """A cached `SharedRDBStorage`: what `open_storage` returns for databases.

    Parameters
    ----------
    backend
        The database.

    Attributes
    ----------
    owner : str or None
        If set, trials that are started through this object carry it as the user attribute
        ``worker``.
    """

    _backend: SharedRDBStorage

    def __init__(self, backend: SharedRDBStorage) -> None:
        super().__init__(backend)
        self.owner: str | None = None

    def batch(self) -> contextlib.AbstractContextManager[None]:
        """Write what is set inside the ``with`` block in one transaction, at its end."""
        return self._backend.batch()

    @property
    def lost_at(self) -> float | None:
        """When a connection was last found lost, `time.monotonic` seconds."""
        return self._backend.lost_at

    def with_heartbeat(self, trial_ids: Sequence[int]) -> set[int]:
        """Which of the trials have ever sent a heartbeat."""
        return self._backend.with_heartbeat(trial_ids)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `optuna.storages.BaseStorage`."""
        if template_trial is None and self.owner is not None:
            template_trial = optuna.create_trial(
                state=TrialState.RUNNING, user_attrs={OWNER_ATTR: self.owner}
            )
            template_trial.datetime_start = datetime.now()
        return super().create_new_trial(study_id, template_trial)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `optuna.storages.BaseStorage`."""
        if state == TrialState.RUNNING and self.owner is not None:
            return self._backend.start_waiting_trial(trial_id, self.owner)
        return super().set_trial_state_values(trial_id, state, values)

    def dispose(self) -> None:
        """Close this process's connections."""
        self._backend.scoped_session.remove()
        self._backend.engine.dispose()


def batch_of(storage: BaseStorage) -> contextlib.AbstractContextManager[None]:
    """Batch of a `SharedStorage`; on other storages every write stands alone."""
    return storage.batch() if isinstance(storage, SharedStorage) else contextlib.nullcontext()
