"""What a study tells of its search: read, compared, and carried out by workers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from s2e_optuna.data import DataSpec
from s2e_optuna.errors import ConfigError
from s2e_optuna.objective import MINUTES, CoTeachingObjective
from s2e_optuna.options import earlier_settings, flat_fields, option_of, replaced
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.stored_names import CONFIG_ATTR, TARGET_ATTR
from s2e_optuna.training import TrainConfig

_logger = logging.getLogger(__name__)


def objective_of(
    stored: Mapping[str, Any], device: str, artifacts: Path | None = None
) -> CoTeachingObjective:
    """Make the objective that a study's stored configuration describes.

    Parameters
    ----------
    stored
        See `read_stored`.
    device
        What to train on.
    artifacts
        Folder for pictures of trials, if another one than the search has stored. If neither is
        there, which is usual on another machine, a warning says so and there are no pictures.
    """
    return CoTeachingObjective(
        DataSpec.from_settings(stored),
        training=TrainConfig.from_settings(stored, device=device),
        method=stored["method"],
        space=stored["space"],
        report_every=stored.get("report_every"),
        artifacts=_usable_artifacts(artifacts or stored.get("artifacts")),
        checkpoints=stored.get("checkpoints"),
        checkpoint_minutes=stored.get("checkpoint_minutes", MINUTES),
        leave_early=stored.get("leave_early", False),
        search=stored.get("search"),
    )


def _usable_artifacts(folder: str | Path | None) -> Path | None:
    if folder is None or (path := Path(folder)).is_dir():
        return None if folder is None else path
    _logger.warning(
        "The artifact folder %s is not on this machine: trials of this worker will have no "
        "pictures in the dashboard. Mount it here, or name it with --artifacts.",
        path,
    )
    return None


def read_stored(study: optuna.Study) -> dict[str, Any]:
    """Read the configuration of a study that a search has made.

    Raises
    ------
    ConfigError
        If the study was made by something else.
    """
    attrs = study.user_attrs
    if CONFIG_ATTR not in attrs or TARGET_ATTR not in attrs:
        raise ConfigError(
            f"the study {study.study_name!r} was not made by s2e search: choose another study."
        )
    return dict(attrs[CONFIG_ATTR])


def adopted(stored: Mapping[str, Any], config: SearchConfig) -> SearchConfig:
    """Return a search with what a study keeps from its beginning (`Option.adopted`); say so.

    Parameters
    ----------
    stored
        See `read_stored`.
    config
        What is asked for now.
    """
    wanted, before = config.settings(), {**earlier_settings(SearchConfig), **stored}
    kept = [one.name for _, one in flat_fields(SearchConfig) if option_of(one).adopted]
    changes = {name: before[name] for name in kept if before[name] != wanted[name]}
    for name, value in changes.items():
        _logger.warning(
            "The study %s was begun with %s=%s and goes on so, not with %s.",
            *(config.study_name, name, value, wanted[name]),
        )
    return replaced(config, changes)


def check_same(stored: Mapping[str, Any], config: SearchConfig) -> None:
    """Refuse to go on with a study whose trials did something else (`ConfigError`)."""
    wanted = config.settings()
    before = {**earlier_settings(SearchConfig), **stored}
    different = [name for name in wanted if before.get(name) != wanted[name]]
    if different:
        told = "; ".join(
            f"{name} is {before.get(name)!r}, not {wanted[name]!r}" for name in different
        )
        raise ConfigError(
            f"the study {config.study_name!r} exists with other settings ({told}): "
            "choose another name with --study, or the same settings to go on with it."
        )


def check_direction(study: optuna.Study) -> None:
    """Refuse studies that do not minimise one value (`ConfigError`)."""
    if len(study.directions) > 1:
        raise ConfigError(
            f"the study {study.study_name!r} has {len(study.directions)} objectives, "
            "a search has one: choose another name with --study."
        )
    if study.direction != optuna.study.StudyDirection.MINIMIZE:
        raise ConfigError(
            f"the study {study.study_name!r} maximises, a search minimises the error: "
            "choose another name with --study."
        )
