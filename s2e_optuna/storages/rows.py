"""Optuna's tables, read and written a table at a time.

Optuna's mapped classes need two statements or more for each value, and an object for each row. A
trial of a schedule search has some 50 rows, and every worker reads every trial, so this is most of
what a shared study costs. Here one statement reads trials, one reads all that belongs to them, and
one a table writes. The tables are Optuna's own: other programs read and write the same study.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.dialects import mysql, postgresql, sqlite

Rows = list[dict[str, Any]]

OWNER_ATTR = "worker"
"""User attribute of a trial: the worker that runs it, ``host:pid:token``."""

_STUDIES: Any = models.StudyModel.__table__
_TRIALS: Any = models.TrialModel.__table__
_PARAMS: Any = models.TrialParamModel.__table__
_VALUES: Any = models.TrialValueModel.__table__
_REPORTS: Any = models.TrialIntermediateValueModel.__table__
_USER_ATTRS: Any = models.TrialUserAttributeModel.__table__
_SYSTEM_ATTRS: Any = models.TrialSystemAttributeModel.__table__
_HEARTBEATS: Any = models.TrialHeartbeatModel.__table__

_CHUNK = 1000  # trials in one statement: databases limit the number of variables

_decode_distribution = functools.lru_cache(maxsize=4096)(json_to_distribution)


# -------------------------------------------------------------------- reading


def read_trials(
    connection: sqlalchemy.Connection, study_id: int, after: int, also: Iterable[int]
) -> list[FrozenTrial]:
    """Read a study's trials whose id is above ``after``, and those named in ``also``.

    Returns
    -------
    list of FrozenTrial
        By id, which is by number.

    Raises
    ------
    KeyError
        If there is no such study.
    """
    of_study = _TRIALS.c.study_id == study_id
    rows = list(connection.execute(_select_trials(of_study & (_TRIALS.c.trial_id > after))))
    for chunk in _chunks(sorted({i for i in also if i <= after})):
        rows += connection.execute(_select_trials(of_study & _TRIALS.c.trial_id.in_(chunk)))
    if not rows:
        query = sqlalchemy.select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study_id)
        if connection.execute(query).first() is None:
            raise KeyError(models.NOT_FOUND_MSG)
    return _with_contents(connection, sorted(rows, key=lambda row: int(row.trial_id)))


def read_trial(connection: sqlalchemy.Connection, trial_id: int) -> FrozenTrial:
    """Read one trial; KeyError if there is none."""
    rows = connection.execute(_select_trials(_TRIALS.c.trial_id == trial_id)).all()
    if not rows:
        raise KeyError(models.NOT_FOUND_MSG)
    return _with_contents(connection, rows)[0]


def _select_trials(condition: Any) -> Any:
    c = _TRIALS.c
    query = sqlalchemy.select(c.trial_id, c.number, c.state, c.datetime_start, c.datetime_complete)
    return query.where(condition)


def _with_contents(
    connection: sqlalchemy.Connection, rows: Sequence[sqlalchemy.Row[Any]]
) -> list[FrozenTrial]:
    """Add parameters, values, reports and attributes, read after the trials' states.

    In this order a trial that was read as finished is complete, also where the two statements do
    not see the same moment.
    """
    found = {
        int(row.trial_id): FrozenTrial(
            number=row.number,
            state=row.state,
            value=None,
            datetime_start=_local_time(row.datetime_start),
            datetime_complete=_local_time(row.datetime_complete),
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=int(row.trial_id),
        )
        for row in rows
    }
    for chunk in _chunks(list(found)):
        contents = connection.execute(_CONTENTS, {"ids": chunk}).all()
        values: dict[int, dict[int, float]] = {}
        for kind, trial_id, _, name, place, number, text in sorted(
            contents, key=lambda row: (row[0], row[2])
        ):
            trial = found[int(trial_id)]
            if kind == _PARAM:
                distribution = _decode_distribution(text)
                trial._distributions[name] = distribution
                trial._params[name] = distribution.to_external_repr(number)
            elif kind == _USER_ATTR:
                trial._user_attrs[name] = json.loads(text)
            elif kind == _SYSTEM_ATTR:
                trial._system_attrs[name] = json.loads(text)
            elif kind == _REPORT:
                trial.intermediate_values[int(place)] = _number(number, text)
            else:
                values.setdefault(int(trial_id), {})[int(place)] = _number(number, text)
        for trial_id, by_objective in values.items():
            found[trial_id]._values = [by_objective[i] for i in sorted(by_objective)]
    return list(found.values())


_PARAM, _USER_ATTR, _SYSTEM_ATTR, _REPORT, _VALUE = range(5)
_UNUSED = {"name": "''", "place": "0", "number": "0.0"}  # not NULL, which has no type


def _contents() -> Any:
    """All rows that belong to some trials, in one statement."""
    unused: dict[str, Any] = {
        name: sqlalchemy.literal_column(value) for name, value in _UNUSED.items()
    }

    def part(kind: int, table: Any, text: Any, **columns: Any) -> Any:
        ids: Any = sqlalchemy.bindparam("ids", expanding=True)
        row_id = next(iter(table.primary_key.columns)).label("row_id")
        return sqlalchemy.select(
            sqlalchemy.literal_column(str(kind)).label("kind"),
            table.c.trial_id,
            row_id,
            *(columns.get(name, unused[name]).label(name) for name in _UNUSED),
            sqlalchemy.cast(text, sqlalchemy.Text()).label("text"),  # enumerations are none
        ).where(table.c.trial_id.in_(ids))

    user, system, reports = _USER_ATTRS.c, _SYSTEM_ATTRS.c, _REPORTS.c
    return sqlalchemy.union_all(
        part(
            _PARAM,
            _PARAMS,
            name=_PARAMS.c.param_name,
            number=_PARAMS.c.param_value,
            text=_PARAMS.c.distribution_json,
        ),
        part(_USER_ATTR, _USER_ATTRS, name=user.key, text=user.value_json),
        part(_SYSTEM_ATTR, _SYSTEM_ATTRS, name=system.key, text=system.value_json),
        part(
            _REPORT,
            _REPORTS,
            place=reports.step,
            number=reports.intermediate_value,
            text=reports.intermediate_value_type,
        ),
        part(
            _VALUE,
            _VALUES,
            place=_VALUES.c.objective,
            number=_VALUES.c.value,
            text=_VALUES.c.value_type,
        ),
    )


_CONTENTS = _contents()


def _number(stored: float | None, kind: str) -> float:
    if stored is not None:
        return float(stored)
    return {"INF_POS": float("inf"), "INF_NEG": float("-inf"), "NAN": float("nan")}[kind]


def _local_time(stored: datetime | None) -> datetime | None:
    # Optuna stores times of trials in UTC, without a zone.
    if stored is None:
        return None
    return stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[i : i + _CHUNK] for i in range(0, len(ids), _CHUNK))


def with_heartbeat(connection: sqlalchemy.Connection, trial_ids: Sequence[int]) -> set[int]:
    """Which of the trials have ever sent a heartbeat."""
    found: set[int] = set()
    for chunk in _chunks(trial_ids):
        query = sqlalchemy.select(_HEARTBEATS.c.trial_id).where(_HEARTBEATS.c.trial_id.in_(chunk))
        found.update(int(row.trial_id) for row in connection.execute(query))
    return found


# -------------------------------------------------------------------- writing


def create_running_trial(
    connection: sqlalchemy.Connection, study_id: int, owner: str
) -> FrozenTrial:
    """Create a trial that names its worker from birth; KeyError if there is no such study.

    The study's row is locked, as in Optuna, so that numbers have no gaps and are seen in order.
    """
    lock = sqlalchemy.select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == study_id)
    if connection.execute(lock.with_for_update()).first() is None:
        raise KeyError(models.NOT_FOUND_MSG)
    # Optuna counts the trials; under the lock the last one's number says the same at once.
    query = sqlalchemy.select(_TRIALS.c.number).where(_TRIALS.c.study_id == study_id)
    last = connection.execute(query.order_by(_TRIALS.c.trial_id.desc()).limit(1)).scalar()
    started = datetime.now(UTC)
    row = {
        "number": 0 if last is None else last + 1,
        "study_id": study_id,
        "state": TrialState.RUNNING,
        "datetime_start": started.replace(tzinfo=None),
    }
    result = connection.execute(sqlalchemy.insert(_TRIALS), row)
    trial_id = int(result.inserted_primary_key[0])  # type: ignore[index]
    owned = {"trial_id": trial_id, "key": OWNER_ATTR, "value_json": json.dumps(owner)}
    connection.execute(sqlalchemy.insert(_USER_ATTRS), owned)
    return FrozenTrial(
        number=row["number"],  # type: ignore[arg-type]
        state=TrialState.RUNNING,
        value=None,
        datetime_start=started.astimezone().replace(tzinfo=None),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={OWNER_ATTR: owner},
        system_attrs={},
        intermediate_values={},
        trial_id=trial_id,
    )


def lock_unfinished(connection: sqlalchemy.Connection, trial_ids: Sequence[int]) -> set[int]:
    """Lock trials, and return those of them that have not finished; KeyError if one is missing."""
    query = (
        sqlalchemy.select(_TRIALS.c.trial_id, _TRIALS.c.state)
        .where(_TRIALS.c.trial_id.in_(trial_ids))
        .order_by(_TRIALS.c.trial_id)
        .with_for_update()
    )
    found = connection.execute(query).all()
    if len(found) != len(trial_ids):
        raise KeyError(models.NOT_FOUND_MSG)
    return {int(trial_id) for trial_id, state in found if not state.is_finished()}


class Batch:
    """Rows to write, by table; one statement writes all rows of a table.

    Calls that are not simply rows (`take` returns False) go through Optuna's own methods.
    """

    def __init__(self) -> None:
        self._params: Rows = []
        # By unique key, so that the last of several writes counts.
        self._user_attrs: dict[tuple[int, str], dict[str, Any]] = {}
        self._system_attrs: dict[tuple[int, str], dict[str, Any]] = {}
        self._reports: dict[tuple[int, int], dict[str, Any]] = {}
        self._values: dict[tuple[int, int], dict[str, Any]] = {}
        self._finished: dict[TrialState, list[int]] = {}

    def take(self, name: str, args: tuple[Any, ...]) -> bool:
        """Turn a call of a storage's method into rows, if it is that."""
        if name == "_set_trial_param":
            return self._take_param(*args)
        if name in ("set_trial_user_attr", "set_trial_system_attr"):
            trial_id, key, value = args
            attrs = self._user_attrs if name == "set_trial_user_attr" else self._system_attrs
            row = {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
            attrs[trial_id, key] = row
            return True
        if name == "set_trial_intermediate_value":
            trial_id, step, value = args
            model = models.TrialIntermediateValueModel
            stored, kind = model.intermediate_value_to_stored_repr(value)
            self._reports[trial_id, step] = {
                "trial_id": trial_id,
                "step": step,
                "intermediate_value": stored,
                "intermediate_value_type": kind,
            }
            return True
        if name == "set_trial_state_values" and args[1].is_finished():
            self._take_end(*args)
            return True
        return False

    def _take_param(
        self,
        trial_id: int,
        name: str,
        value: float,
        distribution: BaseDistribution,
        previous: BaseDistribution | None,
    ) -> bool:
        if previous is None:
            return False  # Optuna's method looks for one in the database
        check_distribution_compatibility(previous, distribution)
        self._params.append(
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": value,
                "distribution_json": distribution_to_json(distribution),
            }
        )
        return True

    def _take_end(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> None:
        for objective, value in enumerate(values or ()):
            stored, kind = models.TrialValueModel.value_to_stored_repr(value)
            self._values[trial_id, objective] = {
                "trial_id": trial_id,
                "objective": objective,
                "value": stored,
                "value_type": kind,
            }
        self._finished.setdefault(state, []).append(trial_id)

    def insert(self, connection: sqlalchemy.Connection) -> None:
        """Write all rows but the trials' states; attributes and the like replace older ones."""
        if self._params:
            connection.execute(sqlalchemy.insert(_PARAMS), self._params)
        for table, key, rows in (
            (_USER_ATTRS, "key", self._user_attrs),
            (_SYSTEM_ATTRS, "key", self._system_attrs),
            (_REPORTS, "step", self._reports),
            (_VALUES, "objective", self._values),
        ):
            if rows:
                _upsert(connection, table, key, list(rows.values()))

    def finish(self, connection: sqlalchemy.Connection) -> None:
        """Write the states of trials that end."""
        now = datetime.now(UTC).replace(tzinfo=None)
        for state, trial_ids in self._finished.items():
            connection.execute(
                sqlalchemy.update(_TRIALS)
                .where(_TRIALS.c.trial_id.in_(trial_ids))
                .values(state=state, datetime_complete=now)
            )


def _upsert(connection: sqlalchemy.Connection, table: Any, key: str, rows: Rows) -> None:
    """Insert rows; replace those with the same trial and key."""
    changed = [name for name in rows[0] if name not in ("trial_id", key)]
    dialect = connection.dialect.name
    statement: Any
    if dialect in ("sqlite", "postgresql"):
        module: Any = sqlite if dialect == "sqlite" else postgresql
        statement = module.insert(table)
        statement = statement.on_conflict_do_update(
            index_elements=["trial_id", key],
            set_={name: statement.excluded[name] for name in changed},
        )
    elif dialect in ("mysql", "mariadb"):
        statement = mysql.insert(table)
        statement = statement.on_duplicate_key_update(
            {name: statement.inserted[name] for name in changed}
        )
    else:
        places = [(row["trial_id"], row[key]) for row in rows]
        old = sqlalchemy.tuple_(table.c.trial_id, table.c[key]).in_(places)
        connection.execute(sqlalchemy.delete(table).where(old))
        statement = sqlalchemy.insert(table)
    connection.execute(statement, rows)
