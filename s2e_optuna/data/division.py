"""Which samples train, validate and test, and their labels: by folders, tables and columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.class_numbers import encode_labels, is_missing, without_fractions
from s2e_optuna.data.label_tables import MOST_UNKNOWN, TiedLabels
from s2e_optuna.data.reading import FEW
from s2e_optuna.data.split import PART_WORDS, holdout_size
from s2e_optuna.data.words import count, in_order
from s2e_optuna.errors import DataError

NONE = -1
"""In place of the number of a class: there is no label."""

_CORRECTIONS = 5
"""So many true labels, all of them other ones than were given, are no random draw."""

_SURE, _ENOUGH = 3.0, 100
"""Labels in the right order agree more often than by chance, by so many standard deviations. Of
fewer samples nobody can tell."""

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Found:
    """What is known about samples before a table is read.

    Attributes
    ----------
    parts
        ``"train"``, ``"val"`` or ``"test"`` of each [N].
    labels
        Its class, or -1; int64 [N].
    class_names
        Names of the classes; empty where nobody knows them.
    fixed
        Whether labels of other parts, which no table replaces, have these classes, too.
    """

    parts: NDArray[np.str_]
    labels: Labels
    class_names: tuple[str, ...]
    fixed: bool


@dataclass(frozen=True, eq=False)
class Division:
    """Samples of each part, with their labels.

    Attributes
    ----------
    rows
        Positions of the samples of ``"train"`` and, where there are, ``"val"`` and ``"test"``.
    labels
        Their classes.
    clean
        True classes of the training samples, where all are known.
    class_names
        Names of the classes.
    words
        How all this was found, in sentences.
    checked
        True classes of the few training samples that count as checked, -1 for the others; None
        where there are none.
    """

    rows: dict[str, Labels]
    labels: dict[str, Labels]
    clean: Labels | None
    class_names: tuple[str, ...]
    words: tuple[str, ...]
    checked: Labels | None = None

    @property
    def checked_options(self) -> dict[str, Any]:
        """Further keyword arguments of `assemble`."""
        if self.checked is None:
            return {}
        rows = np.flatnonzero(self.checked != NONE).tolist()
        return {"validation": "noisy", "known": {row: int(self.checked[row]) for row in rows}}

    def without(self, left_out: Collection[int], words: str) -> Division:
        """Leave out samples at these positions, and say why."""
        kept = {part: ~np.isin(rows, list(left_out)) for part, rows in self.rows.items()}
        return replace(
            self,
            rows={part: rows[kept[part]] for part, rows in self.rows.items() if kept[part].any()},
            labels={part: self.labels[part][kept[part]] for part in self.rows},
            clean=None if self.clean is None else self.clean[kept["train"]],
            checked=None if self.checked is None else self.checked[kept["train"]],
            words=(*self.words, words),
        )


def divide(
    found: Found,
    table: TiedLabels | None = None,
    lists: Mapping[str, TiedLabels] | None = None,
    validation: str = "auto",
) -> Division:
    """Divide samples into parts.

    Parameters
    ----------
    found
        The samples.
    table
        Their given labels; the training part is what it lists.
    lists
        Labels of validation and test samples, which are then no longer trained on.
    validation
        Training samples of which few have a true label: with ``"auto"`` these validate, but very
        few count as checked ones; with ``"noisy"`` they do only that, with ``"clean"`` they
        validate however few they are.

    Raises
    ------
    DataError
        A label is no class, no training sample has one, or the order of the labels is wrong.
    """
    lists = lists or {}
    tables = [tied for tied in (table, *lists.values()) if tied is not None]
    names, own, words = _classes(found, tables)
    words += [sentence for tied in tables for sentence in tied.words]
    rows: dict[str, Labels] = {}
    labels: dict[str, Labels] = {}
    for part, tied in lists.items():
        given, _ = _encoded(tied, names)
        rows[part], labels[part] = _known(tied.positions, given)
    given, clean = own, None
    positions, parts = np.arange(len(own)), found.parts
    if table is not None:
        given, clean = _encoded(table, names)
        positions, parts = table.positions, found.parts[table.positions]
        if table.by_order and clean is not None:
            _check_order(table, clean, own[positions])
        if table.part is not None:
            parts = np.array(table.part)
    listed = np.concatenate([*rows.values(), np.empty(0, np.int64)])
    in_training = (parts == "train") & ~np.isin(positions, listed)
    if (moved := int((parts == "train").sum() - in_training.sum())) > 0:
        words.append(f"{count(moved, 'sample')} of the other lists left out of the training part")
    best = given if clean is None else np.where(clean == NONE, given, clean)
    if table is not None:
        needed = np.where(in_training, given, best)
        if missing := int((needed == NONE).sum()):
            words.append(f"{count(missing, 'row')} left out without a label")
    in_training &= given != NONE
    if not in_training.any():
        where = "the training part" if table is None else f"the labels ({table.source})"
        raise DataError(f"no training sample has a label in {where}: fill them in")
    train, train_labels = positions[in_training], given[in_training]
    for part in ("val", "test"):
        if part in rows:
            continue
        by_table = (parts == part) & ~np.isin(positions, listed)
        if table is None or table.part is None or not by_table.any():
            free = (found.parts == part) & (own != NONE)
            free &= ~np.isin(np.arange(len(own)), np.concatenate([train, listed]))
            if free.any():
                words += _disagreement(part, best, own[positions], by_table)
                rows[part], labels[part] = np.flatnonzero(free), own[free]
                continue
        if table is not None and by_table.any():
            rows[part], labels[part] = _known(positions[by_table], best[by_table])
    true, few = None, None
    if clean is not None:
        true = clean[in_training]
        checked = true != NONE
        share = checked.mean()
        if share == 0.0:
            true = None
        elif share < 1.0 and share >= 1.0 - MOST_UNKNOWN:
            words.append(f"{count(int((~checked).sum()), 'row')} left out without a true label")
            train, train_labels, true = train[checked], train_labels[checked], true[checked]
        elif (
            share <= 0.5
            and "val" not in rows
            and validation != "clean"
            and _are_few(train_labels, true)
        ):
            words.append(
                f"{count(int(checked.sum()), 'sample')} with a true label count as checked, as if "
                "drawn at random, in a part cut from the training data that validates: with "
                "--validation clean they alone validate"
            )
            few, true = true, None
        elif share <= 0.5 and "val" not in rows and validation != "noisy":
            rows["val"], labels["val"] = train[checked], true[checked]
            words.append(
                f"{count(len(rows['val']), 'sample')} with a true label validate, the other "
                f"{int((~checked).sum()):,} train"
            )
            train, train_labels, true = train[~checked], train_labels[~checked], None
        elif share < 1.0:
            words.append(
                f"true labels are known for {int(checked.sum()):,} of {len(train):,} training "
                "samples only, and not used"
            )
            true = None
    rows = {"train": train, **{part: found for part, found in rows.items() if len(found)}}
    labels["train"] = train_labels
    words += _unlabelled(found.parts, own, rows)
    parted = {part: labels[part] for part in rows}
    return Division(rows, parted, true, names, tuple(words), few)


def _are_few(given: Labels, true: Labels) -> bool:
    """Whether true labels are so few that they do best as checked ones, and may be a draw.

    Ten to a hundred choose schedules better in this way on four or five of six tasks, and on their
    mean (`studies/results/bench_checked`).
    """
    known = true != NONE
    number = int(known.sum())
    corrections = number >= _CORRECTIONS and bool((given[known] != true[known]).all())
    return number < FEW and number <= holdout_size(len(true)) and not corrections


def _classes(found: Found, tables: list[TiedLabels]) -> tuple[tuple[str, ...], Labels, list[str]]:
    """Return the classes, the samples' own labels as far as these have them, and what to say."""
    if not tables:
        return found.class_names, found.labels, []
    said = {
        label
        for tied in tables
        for column in (tied.given, tied.clean or ())
        for label in without_fractions(column)
        if label in found.class_names or not is_missing(label, in_table=True)
    }
    known = set(found.class_names)
    numbers = {str(number) for number in range(len(found.class_names))}
    if known and (found.fixed or said & known or said <= numbers):
        return found.class_names, found.labels, []
    words = []
    if known:
        words = ["classes are those of the labels, for no folder or label of the data is one"]
    return in_order(said), np.full_like(found.labels, NONE), words


def _encoded(tied: TiedLabels, names: tuple[str, ...]) -> tuple[Labels, Labels | None]:
    """Return numbers of given and true classes; -1 where a label is missing."""
    texts = [*tied.given, *(tied.clean or ())]  # together: numbers or names, as most of them are
    known = set(names)
    present = np.array([t in known or not is_missing(t, in_table=True) for t in texts], np.bool_)
    there = [text for text, is_there in zip(texts, present, strict=True) if is_there]
    if not set(there) <= known:
        there = list(without_fractions(there))
    numbers = np.full(len(texts), NONE, dtype=np.int64)
    numbers[present] = encode_labels(there, names, tied.source)
    given, clean = numbers[: len(tied.given)], numbers[len(tied.given) :]
    return given, None if tied.clean is None else clean


def _known(positions: Labels, labels: Labels) -> tuple[Labels, Labels]:
    there = labels != NONE
    return positions[there], labels[there]


def _check_order(table: TiedLabels, clean: Labels, own: Labels) -> None:
    """Refuse true labels whose order is not that of the samples: they agree by chance only."""
    both = (clean != NONE) & (own != NONE)
    if both.sum() < _ENOUGH:
        return
    one, other, size = clean[both], own[both], int(both.sum())
    classes = 1 + int(max(one.max(), other.max()))
    counts = np.bincount(one, minlength=classes) * np.bincount(other, minlength=classes)
    chance = counts.sum() / size**2
    agree = float((one == other).mean())
    if agree < chance + _SURE * np.sqrt(chance * (1.0 - chance) / size):
        raise DataError(
            f"the true labels ({table.source}) agree with those of the data in {agree:.0%} of "
            "the samples, as in another order: give a file whose order is that of the data, or "
            "a column that names the samples"
        )


def _disagreement(part: str, best: Labels, own: Labels, rows: NDArray[np.bool_]) -> list[str]:
    differ = int((rows & (best != own) & (best != NONE)).sum())
    if not differ:
        return []
    return [
        f"{count(differ, 'label')} of the {PART_WORDS[part]} part differ from their folders, "
        "which are taken"
    ]


def _unlabelled(parts: NDArray[np.str_], own: Labels, rows: Mapping[str, Labels]) -> list[str]:
    """Say how many samples of the other parts are left out for want of a label."""
    used = np.concatenate(list(rows.values()))
    rest = np.ones(len(parts), dtype=np.bool_)
    rest[used] = False
    found = []
    for part in ("val", "test"):
        if number := int((rest & (parts == part) & (own == NONE)).sum()):
            found.append(
                f"{count(number, 'image')} of the {PART_WORDS[part]} part left out: without labels"
            )
    return found
