"""Optuna's relational storage with settings that stand many processes.

What is added to `optuna.storages.RDBStorage`, and why:

- SQLite: settings that stand many processes (`sqlite`).
- Servers: a lost connection is tried again with back-off, so that a restart of the server in the
  middle of a search costs no trial.
- Batches: what is written inside ``with storage.batch():`` goes out as one transaction. A
  schedule has 19 parameters, and a transaction for each of them is most of a trial's overhead.
- Trials are read and written by few statements of our own (`rows`, `writes`). Studies are
  Optuna's business.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import threading
import time
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import (
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from s2e_optuna.storages import rows, sqlite
from s2e_optuna.storages.failures import cause_of, damaged, failed, is_lost
from s2e_optuna.storages.private import MisfitError, ObservedRDBStorage, without_templates
from s2e_optuna.storages.retry import retry
from s2e_optuna.storages.tables import ALEMBIC, SCHEMA
from s2e_optuna.storages.writes import Batch, insert_trial, start_trial

_READS = "s2e_only_reads"  # option of a connection that takes no lock for writing in SQLite

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class SharedRDBStorage(ObservedRDBStorage):
    """`optuna.storages.RDBStorage` for many processes; see the text at the top of this file.

    Parameters
    ----------
    url, engine_kwargs
        See `optuna.storages.RDBStorage`.
    prepare
        Without it no tables are made, a SQLite file keeps its journal mode, and no transaction
        takes a lock before it writes.
    **kw
        See `optuna.storages.RDBStorage`.

    Raises
    ------
    MisfitError
        If this Optuna is not as it is used here.
    """

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
        self._made = {"url": url, "engine_kwargs": engine_kwargs, "prepare": prepare, **kw}
        self._local = threading.local()
        self.lost_at = None
        self._prepare = prepare
        # Not yet immediate: the constructor opens connections while it reads on another.
        self._begin_statement = "BEGIN"
        try:
            super().__init__(
                without_templates(url),
                dict(engine_kwargs or {}),
                skip_table_creation=not prepare,
                **kw,
            )
            self._check_schema()
            self._checkpoint()
        except BaseException:
            if "engine" in self.__dict__:
                self.engine.dispose()  # it keeps connections, and nobody else could close them
            raise
        if prepare:
            # Never where nothing is prepared: a file may be one that can only be read.
            self._begin_statement = "BEGIN IMMEDIATE"

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_again, (self._made,)

    def _observe(self, engine: sqlalchemy.Engine) -> None:
        sqlite.listen(engine, self._begin, prepare=self._prepare)

    def _begin(self, connection: sqlalchemy.Connection) -> str:
        reads = connection.get_execution_options().get(_READS, False)
        return "BEGIN" if reads else self._begin_statement

    def _check_schema(self) -> None:
        # Optuna has checked that the tables are those of its own version.
        with self.engine.connect() as connection:
            found = connection.execute(sqlalchemy.select(ALEMBIC.c.version_num)).scalar()
        if found != SCHEMA:
            raise MisfitError(f"version {found} of Optuna's tables")

    def _checkpoint(self) -> None:
        if self._prepare and self.engine.dialect.name == "sqlite":
            sqlite.checkpoint(self.engine)

    # ---------------------------------------------------------------- lost connections

    def _patiently(self, call: Callable[[], _Result]) -> _Result:
        """Call, and call again with back-off while the server cannot be reached."""
        try:
            return retry(call, self._again)
        except (StorageInternalError, SQLAlchemyError) as error:
            raise failed(error) from cause_of(error)

    def _again(self, error: Exception, pause: float) -> bool:
        if not is_lost(error, self.engine.dialect.name):
            return False
        self.lost_at = time.monotonic()
        what = type(cause_of(error)).__name__
        _logger.warning("The database does not answer (%s); trying again in %.1f s.", what, pause)
        return True

    def connections_left(self) -> int | None:
        """How many more connections the server allows; None where nobody knows."""
        if self.engine.dialect.name != "postgresql":
            return None
        query = (
            "SELECT current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
            " - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
        )
        left = self._read(lambda connection: connection.exec_driver_sql(query).scalar())
        return None if left is None else max(0, int(left))

    # ---------------------------------------------------------------- batches

    @contextlib.contextmanager
    def batch(self) -> Iterator[set[int]]:
        """Collect this thread's writes to trials; write them in one transaction at the end.

        Nothing is written if the block raises. Writes to trials that another process has finished
        meanwhile (marked as failed, say) are left out and logged; after the block their ids are
        in the set that it is given.
        """
        left_out: set[int] = set()
        if self._batch is not None:  # already inside a batch
            yield left_out
            return
        batch = self._local.batch = Batch()
        try:
            yield left_out
        finally:
            self._local.batch = None
        left_out |= self._write(batch)
        if left_out:
            _logger.info("Trials with ids %s are finished already.", sorted(left_out))

    @property
    def _batch(self) -> Batch | None:
        return getattr(self._local, "batch", None)

    def _write(self, batch: Batch) -> set[int]:
        """Write, and return the ids of trials that were left out."""
        if not batch.trial_ids:
            return set()
        attempts = itertools.count()

        def attempt() -> set[int]:
            again = next(attempts) > 0
            with self.engine.begin() as connection:
                return batch.write(connection, again=again)

        return self._patiently(attempt)

    def _put(self, put: Callable[[Batch], None]) -> None:
        """Write at the end of the batch, or at once."""
        if self._batch is not None:
            put(self._batch)
            return
        batch = Batch()
        put(batch)
        for trial_id in self._write(batch):
            raise UpdateFinishedTrialError(
                f"The trial with id {trial_id} has finished already and cannot be changed."
            )

    # ---------------------------------------------------------------- reads

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlalchemy.Connection]:
        """All that is read inside is of one moment: a tag is not seen before what it speaks of."""
        options: dict[str, Any] = {_READS: True}
        # SQLite's and MySQL's transactions see one moment as they are. This costs no statement.
        if self.engine.dialect.name == "postgresql":
            options["isolation_level"] = "REPEATABLE READ"
        with self.engine.connect() as connection:
            connection.execution_options(**options)
            yield connection

    def _read(self, read: Callable[[sqlalchemy.Connection], _Result]) -> _Result:
        def attempt() -> _Result:
            with self._reading() as connection:
                return read(connection)

        try:
            return self._patiently(attempt)
        except (ValueError, TypeError, LookupError) as error:
            if error.args == (rows.NOT_FOUND,):
                raise
            raise damaged(error) from error  # what was read is nothing that Optuna has written

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """See `optuna.storages.BaseStorage`."""
        return self._read(lambda connection: rows.read_study_attrs(connection, study_id))

    def read_trials(
        self, study_id: int, after: int = -1, also: Sequence[int] = ()
    ) -> list[FrozenTrial]:
        """See `rows.read_trials`."""
        return self._read(lambda connection: rows.read_trials(connection, study_id, after, also))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """See `optuna.storages.BaseStorage`."""
        trials = self.read_trials(study_id)
        return trials if states is None else [trial for trial in trials if trial.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `optuna.storages.BaseStorage`."""
        return self._read(lambda connection: rows.read_trial(connection, trial_id))

    def with_heartbeat(self, trial_ids: Sequence[int]) -> set[int]:
        """Which of the trials have ever sent a heartbeat."""
        return self._read(lambda connection: rows.with_heartbeat(connection, trial_ids))

    def stale_trial_ids(self, study_id: int) -> list[int]:
        """Ids of running trials whose last heartbeat is older than the grace period."""
        return self._patiently(lambda: self._get_stale_trial_ids(study_id))

    # ---------------------------------------------------------------- writes

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `optuna.storages.BaseStorage`."""
        return self.create_trial(study_id, template_trial)._trial_id

    def create_trial(
        self, study_id: int, template: FrozenTrial | None = None, owner: str | None = None
    ) -> FrozenTrial:
        """See `writes.insert_trial`.

        One that is created twice, because the first answer was lost, has an owner and no
        heartbeat: it is found and marked as failed like a dead worker's.
        """

        def attempt() -> FrozenTrial:
            with self.engine.begin() as connection:
                return insert_trial(connection, study_id, template, owner)

        return self._patiently(attempt)

    def start_waiting_trial(self, trial_id: int, owner: str | None) -> bool:
        """Start a waiting trial for a worker; False if another one was faster."""
        attempts = itertools.count()

        def attempt() -> bool:
            again = next(attempts) > 0
            with self.engine.begin() as connection:
                return start_trial(connection, trial_id, owner, again=again)

        return self._patiently(attempt)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `optuna.storages.BaseStorage`."""
        if state == TrialState.RUNNING:
            return self.start_waiting_trial(trial_id, None)
        if not state.is_finished():
            set_state = functools.partial(RDBStorage.set_trial_state_values, self)
            return self._patiently(lambda: set_state(trial_id, state, values))
        self._put(lambda batch: batch.end(trial_id, state, values))
        return True

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous: BaseDistribution | None = None,
    ) -> None:
        """See `optuna.storages.BaseStorage`; the distribution in earlier trials may be given."""
        args = (trial_id, param_name, param_value_internal, distribution, previous)
        self._put(lambda batch: batch.set_param(*args))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `optuna.storages.BaseStorage`."""
        self._put(lambda batch: batch.set_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `optuna.storages.BaseStorage`."""
        self._put(lambda batch: batch.set_system_attr(trial_id, key, value))

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """See `optuna.storages.BaseStorage`."""
        self._put(lambda batch: batch.report(trial_id, step, intermediate_value))

    def create_new_study(self, directions: Sequence[Any], study_name: str | None = None) -> int:
        """See `optuna.storages.BaseStorage`."""
        create = functools.partial(RDBStorage.create_new_study, self)
        study_id = self._patiently(lambda: create(directions, study_name))
        self._checkpoint()
        return study_id


def _opened_again(made: dict[str, Any]) -> SharedRDBStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SharedRDBStorage(**made)


def _patient(name: str) -> Any:
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def call(self: SharedRDBStorage, *args: Any, **kwargs: Any) -> Any:
        return self._patiently(lambda: method(self, *args, **kwargs))

    return call


# Public methods that may simply be called again.
for _name in (
    "get_all_studies",
    "get_study_directions",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_system_attrs",
    "record_heartbeat",
    "set_study_system_attr",
    "set_study_user_attr",
):
    setattr(SharedRDBStorage, _name, _patient(_name))
