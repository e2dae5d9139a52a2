"""Which checkpoint belongs to which trials of a study.

A stack writes one file for all of its trials, and its name into each of them. When the worker
dies, the trials are queued again with their attributes, and whoever gets some of them goes on from
the file: with the seed of the stack's first trial, and without the trials that others have got.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial

from s2e_optuna.stored_names import CHECKPOINT_ATTR, folder_name


@dataclass(frozen=True)
class Group:
    """Trials that train as one stack.

    Attributes
    ----------
    positions
        Of the trials among those that were asked for.
    first
        Number of the trial whose seed they train with.
    own
        Number of the first of them.
    resume
        File to go on from; None for trials that begin.
    """

    positions: tuple[int, ...]
    first: int
    own: int
    resume: str | None = None


def groups_of(trials: Sequence[Trial]) -> list[Group]:
    """Group trials by the checkpoint they go on from; all that begin are one group."""
    by_file: dict[tuple[int, str] | None, list[int]] = {}
    for position, trial in enumerate(trials):
        found = trial.user_attrs.get(CHECKPOINT_ATTR)
        key = (int(found["first"]), str(found["file"])) if isinstance(found, dict) else None
        by_file.setdefault(key, []).append(position)
    return [
        Group(tuple(positions), trials[positions[0]].number, trials[positions[0]].number)
        if key is None
        else Group(tuple(positions), key[0], trials[positions[0]].number, key[1])
        for key, positions in by_file.items()
    ]


def study_folder(folder: Path, study_name: str) -> Path:
    """Folder of a study's checkpoints."""
    return folder / folder_name(study_name)


def file_name(group: Group) -> str:
    """Name of the file that a group writes."""
    return f"{group.first}-{group.own}.safetensors"


def marker(trials: Sequence[Trial], group: Group) -> Callable[[], None]:
    """Return a function that tells the trials of their file, the first time it is called."""
    marked = False

    def mark() -> None:
        nonlocal marked
        if marked:
            return
        marked = True
        for trial in trials:
            try:
                trial.set_user_attr(
                    CHECKPOINT_ATTR, {"first": group.first, "file": file_name(group)}
                )
            except UpdateFinishedTrialError:  # somebody took this worker for dead
                continue

    return mark
