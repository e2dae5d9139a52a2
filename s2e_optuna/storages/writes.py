"""Trials, written to Optuna's tables: a table at a time, and many trials in one transaction."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.dialects import mysql, postgresql, sqlite

from s2e_optuna.storages.rows import NOT_FOUND, OWNER_ATTR, local_time
from s2e_optuna.storages.tables import (
    PARAMS,
    REPORTS,
    STUDIES,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    VALUES,
)

Row = dict[str, Any]

_KEYS = {
    PARAMS: "param_name",
    USER_ATTRS: "key",
    SYSTEM_ATTRS: "key",
    REPORTS: "step",
    VALUES: "objective",
}
"""Table to the column that is unique for each trial."""


class Batch:
    """Writes to running trials, collected: one statement for each table.

    It may be written again after a connection was lost: nothing is stored twice. Trials are named
    by their ids in the storage. What each method sets is said in `optuna.storages.BaseStorage`.
    """

    def __init__(self) -> None:
        # By trial and unique key, so that the last of several writes counts.
        self._rows: dict[sqlalchemy.Table, dict[tuple[int, Any], Row]] = {t: {} for t in _KEYS}
        self._unchecked: list[tuple[int, str, BaseDistribution]] = []
        self._ends: dict[int, TrialState] = {}

    def set_param(
        self,
        trial_id: int,
        name: str,
        value: float,
        distribution: BaseDistribution,
        previous: BaseDistribution | None,
    ) -> None:
        """Set a parameter.

        Parameters
        ----------
        trial_id
            The trial's id in the storage.
        name, value
            Of the parameter; the value is Optuna's internal one.
        distribution
            Its distribution.
        previous
            What it was in an earlier trial of the study; None looks for one in the database.

        Raises
        ------
        ValueError
            If the two distributions do not go together.
        """
        if previous is None:
            self._unchecked.append((trial_id, name, distribution))
        else:
            check_distribution_compatibility(previous, distribution)
        self._put(
            PARAMS,
            trial_id,
            name,
            param_value=value,
            distribution_json=distribution_to_json(distribution),
        )

    def set_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute."""
        self._put(USER_ATTRS, trial_id, key, value_json=json.dumps(value))

    def set_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute."""
        self._put(SYSTEM_ATTRS, trial_id, key, value_json=json.dumps(value))

    def report(self, trial_id: int, step: int, value: float) -> None:
        """Set an intermediate value."""
        stored, kind = _stored(value)
        self._put(REPORTS, trial_id, step, intermediate_value=stored, intermediate_value_type=kind)

    def set_values(self, trial_id: int, values: Sequence[float] | None) -> None:
        """Set the values of the objectives."""
        for objective, value in enumerate(values or ()):
            stored, kind = (value, "FINITE") if math.isnan(value) else _stored(value)
            self._put(VALUES, trial_id, objective, value=stored, value_type=kind)

    def end(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> None:
        """Finish a trial."""
        self.set_values(trial_id, values)
        self._ends[trial_id] = state

    def fill(self, trial_id: int, trial: FrozenTrial) -> None:
        """Set all that a trial holds, but for its state and its times."""
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            internal = distribution.to_internal_repr(value)
            self.set_param(trial_id, name, internal, distribution, None)
        for key, attr in trial.user_attrs.items():
            self.set_user_attr(trial_id, key, attr)
        for key, attr in trial.system_attrs.items():
            self.set_system_attr(trial_id, key, attr)
        for step, report in trial.intermediate_values.items():
            self.report(trial_id, step, report)
        self.set_values(trial_id, trial.values)

    def _put(self, table: sqlalchemy.Table, trial_id: int, key: Any, **content: Any) -> None:
        row = {"trial_id": trial_id, _KEYS[table]: key, **content}
        self._rows[table][trial_id, key] = row

    @property
    def trial_ids(self) -> set[int]:
        """Ids of the trials that it writes to."""
        return {i for rows in self._rows.values() for i, _ in rows} | self._ends.keys()

    def write(self, connection: sqlalchemy.Connection, *, again: bool = False) -> set[int]:
        """Write to those trials that have not finished.

        Parameters
        ----------
        connection
            In a transaction.
        again
            Whether it was tried before, and nobody knows whether that came through.

        Returns
        -------
        set of int
            Ids of trials that were left out, because they have been finished otherwise.

        Raises
        ------
        KeyError
            If there is no such trial.
        ValueError
            If a parameter had a distribution that does not go together with the new one.
        """
        states = lock_trials(connection, self.trial_ids)
        running = {i for i, state in states.items() if not state.is_finished()}
        self.insert(connection, running)
        now = datetime.now(UTC).replace(tzinfo=None)
        for state in set(self._ends.values()):
            ended = [i for i, end in self._ends.items() if end == state and i in running]
            if ended:
                update = sqlalchemy.update(TRIALS).where(TRIALS.c.trial_id.in_(ended))
                connection.execute(update.values(state=state, datetime_complete=now))
        came_through = {i for i, state in states.items() if again and self._ends.get(i) == state}
        return states.keys() - running - came_through

    def insert(self, connection: sqlalchemy.Connection, trial_ids: set[int]) -> None:
        """Write the rows of some trials, in place of older ones."""
        for trial_id, name, distribution in self._unchecked:
            if trial_id in trial_ids:
                _check_distribution(connection, trial_id, name, distribution)
        for table, rows in self._rows.items():
            chosen = [row for (trial_id, _), row in rows.items() if trial_id in trial_ids]
            if chosen:
                _upsert(connection, table, chosen)


def insert_trial(
    connection: sqlalchemy.Connection,
    study_id: int,
    template: FrozenTrial | None = None,
    owner: str | None = None,
) -> FrozenTrial:
    """Create a trial.

    The study's row is locked, as in Optuna, so that numbers have no gaps and are seen in order.

    Parameters
    ----------
    connection
        In a transaction.
    study_id
        The study's id in the storage.
    template
        What the trial holds; by default it starts to run now, and holds nothing.
    owner
        The worker that a trial without a template names from birth.

    Returns
    -------
    FrozenTrial
        The trial.

    Raises
    ------
    KeyError
        If there is no such study.
    """
    lock = sqlalchemy.select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id)
    if connection.execute(lock.with_for_update()).first() is None:
        raise KeyError(NOT_FOUND)
    # Optuna counts the trials; under the lock the last one's number says the same at once.
    query = sqlalchemy.select(TRIALS.c.number).where(TRIALS.c.study_id == study_id)
    last = connection.execute(query.order_by(TRIALS.c.trial_id.desc()).limit(1)).scalar()
    if template is None:
        trial = create_trial(
            state=TrialState.RUNNING, user_attrs={} if owner is None else {OWNER_ATTR: owner}
        )
        trial.datetime_start = local_time(datetime.now(UTC))
    else:
        trial = copy.deepcopy(template)
    trial.number = 0 if last is None else last + 1
    row = {
        "number": trial.number,
        "study_id": study_id,
        "state": trial.state,
        "datetime_start": _utc(trial.datetime_start),
        "datetime_complete": _utc(trial.datetime_complete),
    }
    result = connection.execute(sqlalchemy.insert(TRIALS), row)
    trial._trial_id = int(result.inserted_primary_key[0])  # type: ignore[index]  # never empty
    batch = Batch()
    batch.fill(trial._trial_id, trial)
    batch.insert(connection, {trial._trial_id})
    return trial


def start_trial(
    connection: sqlalchemy.Connection, trial_id: int, owner: str | None, *, again: bool = False
) -> bool:
    """Start a waiting trial.

    Parameters
    ----------
    connection
        In a transaction.
    trial_id
        The trial's id in the storage.
    owner
        The worker that starts it, if trials are to name theirs.
    again
        Whether it was tried before, and nobody knows whether that came through.

    Returns
    -------
    bool
        False if another worker was faster.

    Raises
    ------
    KeyError
        If there is no such trial.
    UpdateFinishedTrialError
        If it has finished.
    """
    state = lock_trials(connection, [trial_id])[trial_id]
    if state.is_finished():
        raise UpdateFinishedTrialError(f"The trial with id {trial_id} has finished already.")
    if state != TrialState.WAITING:
        return again and state == TrialState.RUNNING and _is_owned(connection, trial_id, owner)
    update = sqlalchemy.update(TRIALS).where(TRIALS.c.trial_id == trial_id)
    now = datetime.now(UTC).replace(tzinfo=None)
    connection.execute(update.values(state=TrialState.RUNNING, datetime_start=now))
    if owner is not None:
        batch = Batch()
        batch.set_user_attr(trial_id, OWNER_ATTR, owner)
        batch.insert(connection, {trial_id})
    return True


def _is_owned(connection: sqlalchemy.Connection, trial_id: int, owner: str | None) -> bool:
    c = USER_ATTRS.c
    query = sqlalchemy.select(c.value_json).where(c.trial_id == trial_id, c.key == OWNER_ATTR)
    found = connection.execute(query).scalar()
    return owner is not None and found is not None and json.loads(found) == owner


def lock_trials(
    connection: sqlalchemy.Connection, trial_ids: set[int] | Sequence[int]
) -> dict[int, TrialState]:
    """Lock trials, and return their states; KeyError if one is missing."""
    query = (
        sqlalchemy.select(TRIALS.c.trial_id, TRIALS.c.state)
        .where(TRIALS.c.trial_id.in_(sorted(trial_ids)))
        .order_by(TRIALS.c.trial_id)
        .with_for_update()
    )
    found = {int(trial_id): state for trial_id, state in connection.execute(query)}
    if len(found) != len(trial_ids):
        raise KeyError(NOT_FOUND)
    return found


def _check_distribution(
    connection: sqlalchemy.Connection, trial_id: int, name: str, distribution: BaseDistribution
) -> None:
    """Compare a distribution with that of the study's other trials, as Optuna does."""
    study = sqlalchemy.select(TRIALS.c.study_id).where(TRIALS.c.trial_id == trial_id)
    query = (
        sqlalchemy.select(PARAMS.c.distribution_json)
        .join(TRIALS, TRIALS.c.trial_id == PARAMS.c.trial_id)
        .where(TRIALS.c.study_id == study.scalar_subquery(), PARAMS.c.param_name == name)
        .limit(1)
    )
    found = connection.execute(query).scalar()
    if found is not None:
        check_distribution_compatibility(json_to_distribution(found), distribution)


def _stored(value: float) -> tuple[float | None, str]:
    """Return a number and its kind: not every database stores all of them."""
    if math.isfinite(value):
        return value, "FINITE"
    return None, "NAN" if math.isnan(value) else "INF_POS" if value > 0 else "INF_NEG"


def _utc(here: datetime | None) -> datetime | None:
    return None if here is None else here.astimezone(UTC).replace(tzinfo=None)


@lru_cache(maxsize=64)
def _upsert_statement(table: sqlalchemy.Table, dialect: str, columns: tuple[str, ...]) -> Any:
    """Statement that inserts rows in place of those with the same trial and key.

    Kept, because to build it takes SQLAlchemy longer than SQLite to run it. None for a database
    that has no such statement.
    """
    key = _KEYS[table]
    changed = [name for name in columns if name not in ("trial_id", key)]
    if dialect in ("sqlite", "postgresql"):
        module: Any = sqlite if dialect == "sqlite" else postgresql
        statement = module.insert(table)
        return statement.on_conflict_do_update(
            index_elements=["trial_id", key],
            set_={name: statement.excluded[name] for name in changed},
        )
    if dialect in ("mysql", "mariadb"):
        statement = mysql.insert(table)
        return statement.on_duplicate_key_update(
            {name: statement.inserted[name] for name in changed}
        )
    return None


def _upsert(connection: sqlalchemy.Connection, table: sqlalchemy.Table, rows: list[Row]) -> None:
    """Insert rows; replace those with the same trial and key."""
    statement = _upsert_statement(table, connection.dialect.name, tuple(rows[0]))
    if statement is None:
        key = _KEYS[table]
        places = [(row["trial_id"], row[key]) for row in rows]
        old = sqlalchemy.tuple_(table.c.trial_id, table.c[key]).in_(places)
        connection.execute(sqlalchemy.delete(table).where(old))
        statement = sqlalchemy.insert(table)
    connection.execute(statement, rows)
