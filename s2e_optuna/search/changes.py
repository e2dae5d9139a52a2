"""Whether data are those that a study was begun with."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from s2e_optuna.data.fingerprint import FINGERPRINT_FILE, Fingerprint, differences
from s2e_optuna.errors import ConfigError
from s2e_optuna.stored_names import DATA_ATTR

if TYPE_CHECKING:
    from s2e_optuna.search.config import SearchConfig

_logger = logging.getLogger(__name__)

WARM_TRIALS = 4
"""Schedules of an earlier study that a new one begins with."""


def check_data(study: optuna.Study, config: SearchConfig, now: Fingerprint) -> None:
    """Refuse to go on where data have changed, unless that is asked for; note them otherwise.

    Parameters
    ----------
    study
        The search's study. One of an earlier version notes no data: it goes on.
    config
        The search; what it has left in its folder says which samples have changed.
    now
        The data as they are.

    Raises
    ------
    ConfigError
        Labels or images are not those that the study's trials were trained on.
    """
    stored = study.user_attrs.get(DATA_ATTR)
    if stored is None:
        study.set_user_attr(DATA_ATTR, dict(now.summary))
        return
    before = Fingerprint.load(config.folder / FINGERPRINT_FILE)
    if before is None or before.digest != stored["digest"]:
        before = Fingerprint(stored)
    changed = differences(before, now)
    if changed is None:
        return
    if not config.anyway:
        raise ConfigError(
            f"the data have changed since the study {config.study_name!r} was begun ({changed}): "
            f"give a new name with --study NAME, and --warm-from {config.study_name} to begin "
            "with its best schedules, or --anyway to go on with it."
        )
    _logger.warning(
        "The data have changed since the study %s was begun (%s); it goes on with them.",
        *(config.study_name, changed),
    )
    study.set_user_attr(DATA_ATTR, dict(now.summary))


def begin_warm(study: optuna.Study, name: str) -> None:
    """Let a new study begin with the best schedules of another one in its storage.

    Parameters
    ----------
    study
        A study without trials.
    name
        The other one.

    Raises
    ------
    ConfigError
        If there is no such study, or it has no complete trial.
    """
    try:
        earlier = optuna.load_study(study_name=name, storage=study._storage)
    except KeyError as error:
        raise ConfigError(
            f"there is no study {name!r} to begin with: check --warm-from."
        ) from error
    done = earlier.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        raise ConfigError(f"the study {name!r} has no complete trial to begin with.")
    for trial in sorted(done, key=lambda one: (one.value, one.number))[:WARM_TRIALS]:
        study.enqueue_trial(trial.params)
