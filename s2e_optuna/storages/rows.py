"""Trials, read from Optuna's tables.

Optuna's mapped classes need two statements or more for each value, and an object for each row. A
trial of a schedule search has some 50 rows, and every worker reads every trial, so this is most of
what a shared study costs. Here one statement reads trials, and one reads all that belongs to them.
(`writes` writes them.) The tables are Optuna's own: other programs read and write the same study.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial

from s2e_optuna.storages.tables import (
    HEARTBEATS,
    PARAMS,
    REPORTS,
    STUDIES,
    STUDY_ATTRS,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    VALUES,
)

OWNER_ATTR = "worker"
"""User attribute of a trial: the worker that runs it, ``host:pid:token``."""

NOT_FOUND = "Record does not exist."

_CHUNK = 1000  # trials in one statement: databases limit the number of variables

_decode_distribution = functools.lru_cache(maxsize=4096)(json_to_distribution)


def read_study_attrs(connection: sqlalchemy.Connection, study_id: int) -> dict[str, Any]:
    """Read a study's user attributes; KeyError if there is no such study."""
    c = STUDY_ATTRS.c
    query = sqlalchemy.select(c.key, c.value_json).where(c.study_id == study_id)
    found = {row.key: json.loads(row.value_json) for row in connection.execute(query)}
    if not found:
        _check_study(connection, study_id)
    return found


def _check_study(connection: sqlalchemy.Connection, study_id: int) -> None:
    query = sqlalchemy.select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id)
    if connection.execute(query).first() is None:
        raise KeyError(NOT_FOUND)


def read_trials(
    connection: sqlalchemy.Connection, study_id: int, after: int, also: Iterable[int]
) -> list[FrozenTrial]:
    """Read a study's trials whose id is above ``after``, and those named in ``also``.

    Parameters
    ----------
    connection
        In a transaction that sees one moment.
    study_id
        The study's id in the storage.
    after
        Ids of trials above this one are read; -1 reads all.
    also
        Ids of further trials.

    Returns
    -------
    list of FrozenTrial
        By id, which is by number.

    Raises
    ------
    KeyError
        If there is no such study.
    """
    of_study = TRIALS.c.study_id == study_id
    rows = list(connection.execute(_select_trials(of_study & (TRIALS.c.trial_id > after))))
    for chunk in _chunks(sorted({i for i in also if i <= after})):
        rows += connection.execute(_select_trials(of_study & TRIALS.c.trial_id.in_(chunk)))
    if not rows:
        _check_study(connection, study_id)
    return _with_contents(connection, sorted(rows, key=lambda row: int(row.trial_id)))


def read_trial(connection: sqlalchemy.Connection, trial_id: int) -> FrozenTrial:
    """Read one trial; KeyError if there is none."""
    rows = connection.execute(_select_trials(TRIALS.c.trial_id == trial_id)).all()
    if not rows:
        raise KeyError(NOT_FOUND)
    return _with_contents(connection, rows)[0]


def _select_trials(condition: Any) -> Any:
    c = TRIALS.c
    query = sqlalchemy.select(c.trial_id, c.number, c.state, c.datetime_start, c.datetime_complete)
    return query.where(condition)


def _with_contents(
    connection: sqlalchemy.Connection, rows: Sequence[sqlalchemy.Row[Any]]
) -> list[FrozenTrial]:
    """Add parameters, values, reports and attributes, read after the trials' states.

    In this order a trial that was read as finished is complete, also where the two statements do
    not see the same moment.
    """
    found: dict[int, dict[str, Any]] = {
        int(row.trial_id): {
            "number": int(row.number),
            "trial_id": int(row.trial_id),
            "state": row.state,
            "value": None,
            "datetime_start": local_time(row.datetime_start),
            "datetime_complete": local_time(row.datetime_complete),
            "params": {},
            "distributions": {},
            "user_attrs": {},
            "system_attrs": {},
            "intermediate_values": {},
        }
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
                trial["distributions"][name] = distribution
                trial["params"][name] = distribution.to_external_repr(number)
            elif kind == _USER_ATTR:
                trial["user_attrs"][name] = json.loads(text)
            elif kind == _SYSTEM_ATTR:
                trial["system_attrs"][name] = json.loads(text)
            elif kind == _REPORT:
                trial["intermediate_values"][int(place)] = _number(number, text)
            else:
                values.setdefault(int(trial_id), {})[int(place)] = _number(number, text)
        for trial_id, by_objective in values.items():
            found[trial_id]["values"] = [by_objective[i] for i in sorted(by_objective)]
    return [FrozenTrial(**content) for content in found.values()]


_PARAM, _USER_ATTR, _SYSTEM_ATTR, _REPORT, _VALUE = range(5)
_UNUSED = {"name": "''", "place": "0", "number": "0.0"}  # not NULL, which has no type


def _contents() -> Any:
    """All rows that belong to some trials, in one statement."""
    unused: dict[str, Any] = {
        name: sqlalchemy.literal_column(value) for name, value in _UNUSED.items()
    }

    def part(kind: int, table: sqlalchemy.Table, text: Any, **columns: Any) -> Any:
        ids: Any = sqlalchemy.bindparam("ids", expanding=True)
        row_id = next(iter(table.primary_key.columns)).label("row_id")
        return sqlalchemy.select(
            sqlalchemy.literal_column(str(kind)).label("kind"),
            table.c.trial_id,
            row_id,
            *(columns.get(name, unused[name]).label(name) for name in _UNUSED),
            sqlalchemy.cast(text, sqlalchemy.Text()).label("text"),  # enumerations are none
        ).where(table.c.trial_id.in_(ids))

    user, system, params, reports, values = (
        table.c for table in (USER_ATTRS, SYSTEM_ATTRS, PARAMS, REPORTS, VALUES)
    )
    return sqlalchemy.union_all(
        part(
            _PARAM,
            PARAMS,
            params.distribution_json,
            name=params.param_name,
            number=params.param_value,
        ),
        part(_USER_ATTR, USER_ATTRS, user.value_json, name=user.key),
        part(_SYSTEM_ATTR, SYSTEM_ATTRS, system.value_json, name=system.key),
        part(
            _REPORT,
            REPORTS,
            reports.intermediate_value_type,
            place=reports.step,
            number=reports.intermediate_value,
        ),
        part(_VALUE, VALUES, values.value_type, place=values.objective, number=values.value),
    )


_CONTENTS = _contents()


def _number(stored: float | None, kind: str) -> float:
    if stored is not None:
        return float(stored)
    return {"INF_POS": math.inf, "INF_NEG": -math.inf}.get(kind, math.nan)


def local_time(stored: datetime | None) -> datetime | None:
    """Return a stored time as Optuna's trials hold it: here, without a zone."""
    if stored is None:
        return None
    return stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[i : i + _CHUNK] for i in range(0, len(ids), _CHUNK))


def with_heartbeat(connection: sqlalchemy.Connection, trial_ids: Sequence[int]) -> set[int]:
    """Which of the trials have ever sent a heartbeat."""
    found: set[int] = set()
    for chunk in _chunks(trial_ids):
        query = sqlalchemy.select(HEARTBEATS.c.trial_id).where(HEARTBEATS.c.trial_id.in_(chunk))
        found.update(int(row.trial_id) for row in connection.execute(query))
    return found
