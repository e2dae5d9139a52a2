"""Ends a running search early, with its results: what ``s2e stop`` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2e_optuna.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


@dataclass(frozen=True)
class Stopped:
    """What a search ends with.

    Attributes
    ----------
    study
        Its name.
    finished
        Trials that have finished: as many as the search has now.
    wanted
        Trials that it was to have.
    """

    study: str
    finished: int
    wanted: int

    def __str__(self) -> str:
        """Say what happens now, and how to go on."""
        return (
            f"The search {self.study} ends with {self.finished:,} trials in place of "
            f"{self.wanted:,}: running ones are handed back, and whoever runs s2e search writes "
            f"the results. If nobody does, s2e search with --trials {self.finished} writes them; "
            "with more trials it goes on."
        )


def stop_search(storage: BaseStorage, study_name: str) -> Stopped:
    """Let a search end now: it has as many trials as have finished, and writes its results.

    Parameters
    ----------
    storage
        Where its study is.
    study_name
        The study.

    Returns
    -------
    Stopped
        With how many trials it ends.

    Raises
    ------
    InputError
        If there is no such search, it has all its trials, or there would be no result.
    """
    import optuna

    from s2e_optuna.search.progress import tally
    from s2e_optuna.stored_names import TARGET_ATTR

    try:
        study = optuna.load_study(study_name=study_name, storage=storage)
    except KeyError as error:
        known = ", ".join(study.study_name for study in storage.get_all_studies()) or "none"
        raise InputError(
            f"there is no study {study_name!r} in this storage; it holds {known}."
        ) from error
    if TARGET_ATTR not in study.user_attrs:
        raise InputError(f"the study {study_name!r} was not made by s2e search.")
    wanted, seen = int(study.user_attrs[TARGET_ATTR]), tally(study.get_trials(deepcopy=False))
    if seen.finished >= wanted:
        raise InputError(f"the search {study_name!r} has all of its {wanted:,} trials.")
    if seen.best_value is None:
        raise InputError(
            f"no trial of {study_name!r} is complete, so there is no result to write: stop the "
            "search with Ctrl-C."
        )
    study.set_user_attr(TARGET_ATTR, seen.finished)
    return Stopped(study_name, seen.finished, wanted)
