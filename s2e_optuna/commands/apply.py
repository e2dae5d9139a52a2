"""``s2e apply``: what a person has decided about labels becomes labels to search with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_optuna.commands.origin import Origin, origin_of
from s2e_optuna.commands.requests import ListedData
from s2e_optuna.data.spec import ROLE_COLUMNS
from s2e_optuna.data.words import count
from s2e_optuna.errors import InputError
from s2e_optuna.review.cards import Cards, list_path, read_cards
from s2e_optuna.review.corrected import (
    GIVEN,
    PERSON,
    POSTERIOR,
    Corrected,
    copy_with_links,
    correct,
    drawn_at_random,
    proposed_labels,
    together,
    write_checked,
    write_labels,
    write_table,
)
from s2e_optuna.review.decisions import Decision, decisions_path, read_decisions
from s2e_optuna.stored_names import CHECKED_FILE, LABELS_FILE, SUSPECTS_FILE

FEW = 5
"""Samples drawn at random below which they say little."""


@dataclass(frozen=True)
class Applied:
    """What was written.

    Attributes
    ----------
    corrected
        The labels.
    files
        Name to path.
    at_random
        Decided samples that are a random draw.
    command
        What to do next; None where that is not known.
    needs_copy
        Whether the data are a table, which takes no other labels than its own.
    is_whole
        Whether samples that are not on the list have their given labels.
    """

    corrected: Corrected
    files: dict[str, Path]
    at_random: int
    command: str | None
    needs_copy: bool
    is_whole: bool

    @property
    def sentences(self) -> list[str]:
        """Say what was done."""
        words = [self.corrected.words]
        if "checked" in self.files:
            words.append(
                f"{count(self.at_random, 'decided sample')} are a random draw, for they begin the "
                "order at random without a gap."
            )
        if self.needs_copy:
            words.append(
                "The labels of a table are a column of it: --copy FILE writes the table with "
                "these, to search with."
            )
        if not self.is_whole:
            words.append(
                "These are the samples of the list alone: with --data the others of the data are "
                "added."
            )
        return words

    def to_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "samples": len(self.corrected.rows),
            "confirmed": self.corrected.confirmed,
            "relabelled": self.corrected.relabelled(PERSON),
            "relabelled_by_posterior": self.corrected.relabelled(POSTERIOR),
            "dropped": self.corrected.dropped,
            "at_random": self.at_random,
            "files": {name: str(path) for name, path in self.files.items()},
            "next": self.command,
        }


def apply_decisions(
    source: Path,
    *,
    to: Path | None = None,
    posterior_above: float | None = None,
    keep_unclear: bool = False,
    copy: Path | None = None,
    data: ListedData | None = None,
) -> Applied:
    """Write corrected labels, and what else follows from decisions.

    Parameters
    ----------
    source
        Folder of a search or training, or a list.
    to
        File for the labels; by default ``labels.csv`` beside the list.
    posterior_above, keep_unclear
        See `correct`.
    copy
        New folder with links, or new table, with the corrected labels.
    data
        What the list is about, if it does not lie in the folder of a search or training.

    Raises
    ------
    InputError
        There is no list or no decision, or the copy cannot be made.
    OSError
        A file cannot be written.
    """
    path = list_path(source)
    cards, decisions = read_cards(path), read_decisions(decisions_path(path))
    origin = origin_of(path, data)
    before = {} if origin is None else origin.decided_before
    if not decisions and posterior_above is None:
        raise InputError(
            f"there are no decisions about {path}: make some with s2e review {source}, or take "
            "proposals with --posterior."
        )
    _check_decisions(cards, decisions, path)
    corrected = correct(
        cards, decisions, before, posterior_above=posterior_above, keep_unclear=keep_unclear
    )
    corrected, is_whole = _with_others(corrected, path, origin)
    files = {"labels": to or path.with_name(LABELS_FILE)}
    place = None if origin is None else Path(str(origin.options["data"])).expanduser()
    if copy is not None:
        if place is None:
            raise InputError(f"it is not known what {path} is about: name the data with --data.")
        files["copy"] = copy
        _copy(corrected, place, copy, origin)
    write_labels(corrected, files["labels"])
    decided = together(decisions, before)
    drawn = drawn_at_random(cards.ids, decided)
    known = sum(decided[name].label is not None for name in drawn)
    if known >= FEW:
        files["checked"] = files["labels"].with_name(CHECKED_FILE)
        proposals = proposed_labels(cards, decisions, posterior_above)
        write_checked(drawn, decided, proposals, files["checked"])
    command = None
    is_table = place is not None and _is_table(place)
    if origin is not None and not (is_table and copy is None):
        checked = files.get("checked") if origin.validates_noisy else None
        command = origin.again(files["labels"], checked, copy if is_table else None)
    return Applied(corrected, files, len(drawn), command, is_table and copy is None, is_whole)


def _check_decisions(cards: Cards, decisions: dict[str, Decision], path: Path) -> None:
    if decisions and not decisions.keys() & set(cards.ids):
        raise InputError(
            f"the decisions in {decisions_path(path)} are about other samples than {path}: give "
            "the list that was reviewed."
        )


def _with_others(
    corrected: Corrected, path: Path, origin: Origin | None
) -> tuple[Corrected, bool]:
    """Add the samples that are not on a list; say whether it is known that none is missing."""
    if origin is None:
        return corrected, False
    if path.name == SUSPECTS_FILE and origin.wrote_folder:
        return corrected, True  # searches and trainings list all samples
    whole = path.with_name(SUSPECTS_FILE)
    if origin.wrote_folder and whole.is_file():
        cards = read_cards(whole)
        names, given = cards.ids, [cards.class_names[label] for label in cards.given]
    else:
        data = origin.data.load()
        samples = data.labelled_samples()
        names, given = samples.ids, [data.class_names[label] for label in samples.given]
    known = {row[0] for row in corrected.rows}
    if not known & set(names):
        raise InputError(f"{path} has none of the samples of the data: name these with --data.")
    others = [(n, g, g, GIVEN) for n, g in zip(names, given, strict=True) if n not in known]
    return Corrected((*corrected.rows, *others)), True


def _is_table(data: Path) -> bool:
    """Tell whether labels are a column of the data, so that ``--labels`` is refused."""
    from s2e_optuna.data.arrow_images import holds_images
    from s2e_optuna.data.feature_tables import is_feature_table

    return is_feature_table(data) and not holds_images(data)


def _copy(corrected: Corrected, data: Path, target: Path, origin: Origin | None) -> None:
    """Make the copy that fits the data."""
    from s2e_optuna.data.arrow_images import holds_images
    from s2e_optuna.data.feature_tables import is_feature_table, named_rows

    if data.is_dir() and not is_feature_table(data):
        copy_with_links(corrected, data, target)
        return
    if not is_feature_table(data) or holds_images(data):
        raise InputError(f"{data} is no folder of images and no table: leave --copy out.")
    if target.exists():
        raise InputError(f"{target} is there already: choose another file for the copy.")
    options = {} if origin is None else origin.options
    named = {name: options.get(name) for name in ROLE_COLUMNS}
    found = named_rows(data, named, options.get("drop_columns") or ())
    write_table(corrected, found, target)
