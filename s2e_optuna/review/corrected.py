"""From decisions to labels that a search takes, to checked labels, and to a corrected folder."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.split import part_of
from s2e_optuna.data.words import count
from s2e_optuna.errors import InputError
from s2e_optuna.review.cards import NONE, Cards
from s2e_optuna.review.decisions import Decision
from s2e_optuna.review.evidence import shift, shifted
from s2e_optuna.writable import whole_file

if TYPE_CHECKING:
    from s2e_optuna.data.feature_tables import NamedRows

GIVEN, PERSON, POSTERIOR = "given", "person", "posterior"
"""Who decided about a label: nobody, so it is the given one; a person; or the posterior alone."""

_COLUMNS = ("id", "label", "given_label", "decided_by")


@dataclass(frozen=True)
class Corrected:
    """Labels after a review.

    Attributes
    ----------
    rows
        Name of each sample, its label (empty if it is dropped), the given label, who decided.
    """

    rows: tuple[tuple[str, str, str, str], ...]

    def relabelled(self, by: str) -> int:
        """Count labels that somebody has changed."""
        return sum(one[3] == by and one[1] not in ("", one[2]) for one in self.rows)

    @property
    def dropped(self) -> int:
        """Samples that nobody could tell."""
        return sum(not one[1] for one in self.rows)

    @property
    def confirmed(self) -> int:
        """Labels that a person has found right."""
        return sum(one[3] == PERSON and one[1] == one[2] for one in self.rows)

    @property
    def words(self) -> str:
        """Say in a sentence what was done."""
        person, posterior = self.relabelled(PERSON), self.relabelled(POSTERIOR)
        kept = len(self.rows) - person - posterior - self.dropped
        by = f", {posterior:,} by the posterior" if posterior else ""
        return (
            f"Of {count(len(self.rows), 'label')} {kept:,} kept ({self.confirmed:,} of them "
            f"confirmed), {person:,} relabelled by a person{by}, {self.dropped:,} dropped."
        )


def decided_before(labels: Path) -> dict[str, Decision]:
    """Return what persons have decided in an earlier review, by the labels that came of it.

    Parameters
    ----------
    labels
        A table of labels; one that `write_labels` has not written tells nothing.
    """
    try:
        with labels.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != _COLUMNS:
                return {}
            return {
                row["id"]: Decision(row["id"], row["given_label"], row["label"])
                for row in reader
                if row["decided_by"] == PERSON and row["label"]
            }
    except (OSError, UnicodeDecodeError, csv.Error):  # no such file any more, or none of ours
        return {}


def together(
    decisions: Mapping[str, Decision], before: Mapping[str, Decision]
) -> dict[str, Decision]:
    """Put decisions of earlier reviews beside those of this one; the label of the data stays.

    Parameters
    ----------
    decisions, before
        Of this review, which count more, and of earlier ones.
    """
    changed = {
        name: replace(one, given=before[name].given) if name in before else one
        for name, one in decisions.items()
    }
    return {**before, **changed}


def correct(
    cards: Cards,
    decisions: Mapping[str, Decision],
    before: Mapping[str, Decision] = MappingProxyType({}),
    *,
    posterior_above: float | None = None,
    keep_unclear: bool = False,
) -> Corrected:
    """Apply decisions to a list.

    Parameters
    ----------
    cards
        The list.
    decisions
        The last decision about each sample.
    before
        Decisions of earlier reviews, which hold where there is none of this one.
    posterior_above
        Take the proposal, too, where nobody has decided and a label that is listed is wrong with
        more than this probability, as the decisions have calibrated it; None takes none.
    keep_unclear
        Keep the given label where the person could not say; else the sample is dropped.

    Raises
    ------
    InputError
        The list has no probabilities to go by.
    """
    proposals = proposed_labels(cards, decisions, posterior_above)
    names, rows, decided = cards.class_names, [], together(decisions, before)
    for name, number in zip(cards.ids, cards.given.tolist(), strict=True):
        one = decided.get(name)
        label, by, given = names[number], GIVEN, names[number]
        if name in before:
            given = before[name].given  # the list has the corrected one
        if one is not None:
            unclear = given if keep_unclear else ""
            label, by = (unclear if one.label is None else one.label), PERSON
        elif name in proposals:
            label, by = proposals[name], POSTERIOR
        rows.append((name, label, given, by))
    return Corrected(tuple(rows))


def proposed_labels(
    cards: Cards, decisions: Mapping[str, Decision], posterior_above: float | None
) -> dict[str, str]:
    """Return the labels that the posterior gives where no person has looked, by name.

    Parameters
    ----------
    cards, decisions, posterior_above
        See `correct`.

    Raises
    ------
    InputError
        The list has no probabilities to go by.
    """
    if posterior_above is None:
        return {}
    if not cards.has_scores:
        raise InputError(
            "the list has no probabilities of wrong labels: leave --posterior out, or give a list "
            "with the column wrong_probability."
        )
    sure = calibrated(cards, decisions) > posterior_above
    rows = np.flatnonzero(cards.listed & (cards.proposed != NONE) & sure).tolist()
    return {cards.ids[row]: cards.class_names[cards.proposed[row]] for row in rows}


def calibrated(cards: Cards, decisions: Mapping[str, Decision]) -> NDArray[np.float64]:
    """Return how probably each label is wrong, as decisions have calibrated it [N].

    They are clean labels: see `s2e_optuna.review.evidence`. NaN where the list has no scores.
    """
    if not cards.has_scores:
        return cards.scores.astype(np.float64)
    known = [
        (cards.scores[row], one.label != cards.class_names[cards.given[row]])
        for row, name in enumerate(cards.ids)
        if (one := decisions.get(name)) is not None and one.label is not None
    ]
    return shifted(cards.scores, shift([p for p, _ in known], [wrong for _, wrong in known]))


def random_order(ids: Sequence[str]) -> NDArray[np.int64]:
    """Return positions in an order that has nothing to do with the samples, always the same one.

    It goes by a hash of their names, so samples that come or go leave the others' order as it is.
    """
    keys = [int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest()) for one in ids]
    return np.argsort(np.array(keys, np.uint64), kind="stable")


def drawn_at_random(ids: Sequence[str], decided: Iterable[str]) -> list[str]:
    """Return the decided samples that are a random draw: the unbroken beginning of the order.

    How each came to be decided does not matter: all that the order says up to there are. What was
    decided beyond the first gap was chosen by somebody, and is left out.

    Parameters
    ----------
    ids
        All samples of the list.
    decided
        Those that a person has looked at.
    """
    known, found = set(decided), []
    for row in random_order(ids):
        if ids[row] not in known:
            break
        found.append(ids[row])
    return found


def write_labels(corrected: Corrected, path: Path) -> None:
    """Write labels as CSV: ``id, label, given_label, decided_by``. Dropped ones have no label."""
    _write(path, _COLUMNS, corrected.rows)


def write_checked(
    names: Sequence[str],
    decisions: Mapping[str, Decision],
    proposals: Mapping[str, str],
    path: Path,
) -> None:
    """Write checked labels as CSV: ``id, label, given_label``, for ``--checked``.

    Parameters
    ----------
    names
        Which samples.
    decisions
        What was decided about them, and which label was looked at.
    proposals
        What the posterior has decided about others, and would have about these: they stand for
        the others, so it is their given label.
    path
        The file.
    """
    chosen = [decisions[name] for name in names]
    rows = [(one.id, one.label or "", proposals.get(one.id, one.given)) for one in chosen]
    _write(path, _COLUMNS[:3], rows)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def copy_with_links(corrected: Corrected, data: Path, target: Path) -> int:
    """Make a folder of images with the corrected labels: a folder a class, links for files.

    Validation and test parts are linked as they are.

    Parameters
    ----------
    corrected
        The labels.
    data
        Folder of the images; names of samples are paths below it.
    target
        The new folder.

    Returns
    -------
    int
        Samples linked.

    Raises
    ------
    InputError
        The target is there already, the data are no such folder, a sample is not in it, or a
        class or part cannot be a folder.
    """
    if not data.is_dir():
        raise InputError(f"{data} is no folder of images, so there is nothing to link: use --to.")
    if target.exists():
        raise InputError(f"{target} is there already: choose another folder for the copy.")
    root, links = data.resolve(), {}
    for name, label, _, _ in corrected.rows:
        if label:
            source = root / name
            inside = os.path.normpath(source).startswith(f"{root}{os.sep}")
            if not inside or not source.is_file():
                raise InputError(f"{data} has no image {name}: give the folder of the list.")
            _check_class(label)
            place = Path("train", label, source.name)
            if place in links:
                place = place.with_name("_".join(Path(name).parts))
            links[place] = source
    parts = [path for path in sorted(root.iterdir()) if path.is_dir() and _other(path, links)]
    links |= {Path(path.name): path for path in parts}
    for place, source in links.items():
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        (target / place).symlink_to(source)
    return len(links) - len(parts)


def write_table(corrected: Corrected, table: NamedRows, target: Path) -> None:
    """Write a table again with the corrected labels in its column; dropped samples are left out.

    Parameters
    ----------
    corrected
        The labels.
    table
        The rows by the samples' names; those that the list does not name stay as they are.
    target
        The new file.

    Raises
    ------
    InputError
        The table has none of the samples.
    """
    labels = {name: label for name, label, _, _ in corrected.rows}
    if not labels.keys() & table.rows.keys():
        raise InputError("the table has none of the list's samples: give the table of the list.")
    rows = [
        (*cells[: table.label], labels.get(name, cells[table.label]), *cells[table.label + 1 :])
        for name, cells in table.rows.items()
        if labels.get(name) != ""
    ]
    _write(target, table.header, rows)


def _check_class(label: str) -> None:
    if label in (".", "..") or "/" in label or "\0" in label:
        raise InputError(f"the class {label!r} cannot be a folder: leave the copy out.")


def _other(folder: Path, links: Mapping[Path, Path]) -> bool:
    """Whether a folder of the data is a validation or test part, of which no sample is listed."""
    return part_of(folder.name) in ("val", "test") and not any(
        folder in source.parents for source in links.values()
    )
