"""Optuna's tables, for statements of our own.

Its mapped classes are private. Its schema is not: every database carries the version of it, and
`rdb` compares that with `SCHEMA` before it relies on what stands here.
"""

from __future__ import annotations

from typing import Any

from optuna.trial import TrialState
from sqlalchemy import (
    Column,
    DateTime,
    Enum,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA = "v3.2.0.a"
"""Version of Optuna's schema that these tables are those of."""

_NAME = String(512)
_NUMBER = Float(precision=53)

METADATA = MetaData()


def _table(name: str, key: str, *columns: Column[Any], unique: str | None = None) -> Table:
    constraints = () if unique is None else (UniqueConstraint("trial_id", unique),)
    return Table(name, METADATA, Column(key, Integer, primary_key=True), *columns, *constraints)


def _of_trial() -> Column[Any]:
    return Column("trial_id", Integer)


ALEMBIC = Table("alembic_version", METADATA, Column("version_num", String(32), primary_key=True))
STUDIES = _table("studies", "study_id", Column("study_name", _NAME))
STUDY_ATTRS = _table(
    "study_user_attributes",
    "study_user_attribute_id",
    Column("study_id", Integer),
    Column("key", _NAME),
    Column("value_json", Text),
)
TRIALS = _table(
    "trials",
    "trial_id",
    Column("number", Integer),
    Column("study_id", Integer),
    Column("state", Enum(TrialState)),
    Column("datetime_start", DateTime),  # in UTC, without a zone
    Column("datetime_complete", DateTime),
)
PARAMS = _table(
    "trial_params",
    "param_id",
    _of_trial(),
    Column("param_name", _NAME),
    Column("param_value", _NUMBER),
    Column("distribution_json", Text),
    unique="param_name",
)
VALUES = _table(
    "trial_values",
    "trial_value_id",
    _of_trial(),
    Column("objective", Integer),
    Column("value", _NUMBER),
    Column("value_type", Enum("FINITE", "INF_POS", "INF_NEG", name="trialvaluetype")),
    unique="objective",
)
REPORTS = _table(
    "trial_intermediate_values",
    "trial_intermediate_value_id",
    _of_trial(),
    Column("step", Integer),
    Column("intermediate_value", _NUMBER),
    Column(
        "intermediate_value_type",
        Enum("FINITE", "INF_POS", "INF_NEG", "NAN", name="trialintermediatevaluetype"),
    ),
    unique="step",
)
USER_ATTRS = _table(
    "trial_user_attributes",
    "trial_user_attribute_id",
    _of_trial(),
    Column("key", _NAME),
    Column("value_json", Text),
    unique="key",
)
SYSTEM_ATTRS = _table(
    "trial_system_attributes",
    "trial_system_attribute_id",
    _of_trial(),
    Column("key", _NAME),
    Column("value_json", Text),
    unique="key",
)
HEARTBEATS = _table(
    "trial_heartbeats", "trial_heartbeat_id", _of_trial(), Column("heartbeat", DateTime)
)
