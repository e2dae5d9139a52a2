"""Samples of a list as arrays: hundreds of thousands of them take some dozen megabytes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.words import in_order
from s2e_optuna.errors import InputError
from s2e_optuna.stored_names import SUSPECTS_FILE

NONE = -1
"""In place of the number of a class: there is none."""

_GIVEN = ("given_label", "given", "label")
_PROPOSED = ("predicted_label", "proposed_label", "proposed", "predicted")
_SCORES = ("wrong_probability", "suspicion", "score")
_LISTED = ("suspicious",)
_HIDDEN = ("given_probability", "predicted_probability", "kept_share", "true_label", "contradicts")
"""Columns of our own lists that a card does not show: what a person sees should not be led."""

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Cards:
    """N samples to look at.

    Attributes
    ----------
    ids
        Their names.
    given, proposed
        Numbers of classes [N]; `NONE` where nothing else than the given label is proposed.
    scores
        How probably the given label is wrong, 0 to 1, float32 [N]; NaN where nobody says.
    are_probabilities
        Whether the scores are probabilities, or only an order.
    listed
        Whether the label is taken for wrong [N].
    class_names
        Names of the classes.
    texts
        What else the list says of each sample; empty where it says nothing more.
    """

    ids: Sequence[str]
    given: Ints
    proposed: Ints
    scores: NDArray[np.float32]
    are_probabilities: bool
    listed: NDArray[np.bool_]
    class_names: tuple[str, ...]
    texts: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_scores(self) -> bool:
        """Whether every sample has a score."""
        return not bool(np.isnan(self.scores).any())


def list_path(source: Path) -> Path:
    """Return the file of a list: of a search's or training's folder, or the file itself.

    Raises
    ------
    InputError
        There is none.
    """
    path = source / SUSPECTS_FILE if source.is_dir() else source
    if not path.is_file():
        raise InputError(
            f"there is no list of suspects {path}: give the folder that s2e search or s2e train "
            "has written (--out), or a table with the columns id and given_label."
        )
    return path


def read_cards(path: Path) -> Cards:
    """Read a list of suspects, of a search, a training or any other program.

    Parameters
    ----------
    path
        CSV with a header. It needs the columns ``id`` and ``given_label`` (or ``label``). Others
        are ``predicted_label`` (or ``proposed_label``), ``wrong_probability`` (or another score
        from 0 to 1: ``suspicion``, ``score``) and ``suspicious`` (yes or no; without it all are).
        What else it has is shown on the card.

    Raises
    ------
    InputError
        It is no such list.
    """
    columns = _read_columns(path)
    ids = columns.pop("id")
    if len(set(ids)) < len(ids):
        raise InputError(f"the list {path} names a sample twice: leave one of the lines out.")
    given, proposed = _take(columns, _GIVEN), _take(columns, _PROPOSED)
    if given is None:
        raise InputError(f"the list {path} has no column given_label: add one.")
    if "" in given:
        raise InputError(
            f"the list {path} has no given label for {ids[given.index('')]}: fill it in."
        )
    names = in_order({*given, *(proposed or ())} - {""})
    numbers = _numbers(given, names)
    suggested = (
        np.full(len(ids), NONE, np.int32) if proposed is None else _numbers(proposed, names)
    )
    suggested[suggested == numbers] = NONE
    scores, are_probabilities = _scores(columns, len(ids), path)
    flags = _take(columns, _LISTED)
    listed = np.ones(len(ids), np.bool_)
    if flags is not None:
        listed = np.array([flag.lower() in ("yes", "true", "1") for flag in flags])
    return Cards(
        ids, numbers, suggested, scores, are_probabilities, listed, names, _texts(columns)
    )


def _read_columns(path: Path) -> dict[str, list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip().lower() for name in next(reader, [])]
            if "id" not in header:
                raise InputError(f"{path} has no column id: it is no list of samples.")
            kept = [place for place, name in enumerate(header) if name not in _HIDDEN]
            found: dict[str, list[str]] = {header[place]: [] for place in kept}
            lists = [(place, found[header[place]]) for place in kept]
            for line in reader:
                if line:
                    for place, column in lists:
                        column.append(line[place])
    except OSError as error:
        raise InputError(f"the list {path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error, IndexError) as error:
        raise InputError(
            f"{path} is no table with commas in UTF-8, as many cells in each line: save it as one."
        ) from error
    if not found["id"]:
        raise InputError(f"the list {path} is empty: there is nothing to look at.")
    return found


def _take(columns: dict[str, list[str]], names: Sequence[str]) -> list[str] | None:
    """Take the first of some columns out, if there is one."""
    return next((columns.pop(name) for name in names if name in columns), None)


def _numbers(labels: Sequence[str], names: Sequence[str]) -> Ints:
    place = {name: number for number, name in enumerate(names)} | {"": NONE}
    return np.fromiter((place[label] for label in labels), np.int32, len(labels))


def _scores(
    columns: dict[str, list[str]], size: int, path: Path
) -> tuple[NDArray[np.float32], bool]:
    chosen, are_probabilities = None, False
    for name in _SCORES:
        texts = columns.pop(name, None)
        if chosen is None and texts is not None and all(texts):
            chosen, are_probabilities = (name, texts), name == "wrong_probability"
    if chosen is None:
        return np.full(size, np.nan, np.float32), False
    try:
        values = np.array(chosen[1], np.float32)
    except ValueError as error:
        raise InputError(f"the column {chosen[0]} of {path} holds no numbers.") from error
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError(
            f"the column {chosen[0]} of {path} goes beyond 0 and 1: give probabilities of a wrong "
            "label, or leave it out."
        )
    return values, are_probabilities


def _texts(columns: dict[str, list[str]]) -> list[str]:
    """Write what is left of each row; of a single column its cells."""
    if not columns:
        return []
    if len(columns) == 1:
        return next(iter(columns.values()))
    rows = zip(*columns.values(), strict=True)
    return [", ".join(f"{n}: {c}" for n, c in zip(columns, row, strict=True)) for row in rows]
