"""A review: cards in some order, what was decided about them, and which one comes next."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.review.cards import NONE, Cards
from s2e_optuna.review.corrected import random_order
from s2e_optuna.review.decisions import Decision, DecisionFile
from s2e_optuna.review.evidence import Floats, rest_words, seen_words, shift, shifted

PROBABILITY, TEACHING, AT_RANDOM = "probability", "teaching", "random"
ORDERS = {
    PROBABILITY: "the most probably wrong first",
    TEACHING: "first what teaches most, the most uncertain",
    AT_RANDOM: "at random, from all labels",
}
"""Orders of the cards, in words."""

LEASE = 120.0
"""Seconds for which a card that one browser shows is not offered to another."""

_OPEN, _RIGHT, _WRONG, _UNCLEAR, _BEFORE = range(5)


class Conflict(Exception):
    """Somebody else has decided about the card meanwhile."""


@dataclass(frozen=True)
class View:
    """Which cards are shown.

    Attributes
    ----------
    given, proposed
        Only those with these classes, as numbers; None for all.
    order
        One of `ORDERS`. At random all labels are shown, else those that are taken for wrong.
    """

    given: int | None = None
    proposed: int | None = None
    order: str = PROBABILITY


@dataclass(frozen=True)
class Shown:
    """A card, as it is shown.

    Attributes
    ----------
    row
        Its place in the list.
    id
        Name of the sample.
    given, proposed
        Numbers of classes; None where nothing is proposed.
    chance
        How probably the given label is wrong, as decisions have calibrated it; None where nobody
        says.
    seen
        Decisions about it so far: who decides has to have seen them all.
    decided
        Whether there is one.
    label
        The label that was decided; None where nobody could say.
    """

    row: int
    id: str
    given: int
    proposed: int | None
    chance: float | None
    seen: int
    decided: bool
    label: str | None


class Review:
    """Cards and decisions; may be used from many threads.

    Parameters
    ----------
    cards
        The samples.
    file
        Where decisions go, and those of before.
    before
        Decisions of earlier reviews, whose labels the list has: these cards are not shown again.
    """

    def __init__(
        self,
        cards: Cards,
        file: DecisionFile,
        before: Mapping[str, Decision] = MappingProxyType({}),
    ) -> None:
        self.cards = cards
        self.class_names = cards.class_names
        self._file = file
        self._lock = threading.RLock()
        self._states: NDArray[np.int8] = np.zeros(len(cards), np.int8)
        self._labels: dict[int, str | None] = {}
        self._revisions = np.zeros(len(cards), np.int32)
        self._leases: dict[int, tuple[str, float]] = {}
        self._trails: dict[str, list[int]] = {}
        self._b: float | None = 0.0
        self._random: NDArray[np.int64] | None = None
        self._by_score = np.arange(len(cards))
        if cards.has_scores:
            self._by_score = np.argsort(-cards.scores, kind="stable")
        self._states[[row for row, name in enumerate(cards.ids) if name in before]] = _BEFORE
        rows = {name: row for row, name in enumerate(cards.ids)} if file.decisions else {}
        for one in file.decisions:
            if (row := rows.get(one.id)) is not None:  # another list may have had other samples
                self._note(row, one.label)

    def learn_classes(self, names: Sequence[str]) -> None:
        """Add classes that no label of the list has."""
        with self._lock:
            more = [name for name in names if name not in self.class_names]
            self.class_names = (*self.class_names, *more)

    def decide(self, row: int, label: str | None, seen: int, client: str) -> None:
        """Decide about a card; on the disk when this returns.

        Parameters
        ----------
        row
            The card.
        label
            Its true label; None where nobody can say.
        seen
            How many decisions about this card whoever decides has seen.
        client
            Who decides.

        Raises
        ------
        Conflict
            There is one more.
        OSError
            It could not be written, and is not decided.
        """
        with self._lock:
            if seen != self._revisions[row]:
                raise Conflict
            given = self.class_names[self.cards.given[row]]
            self._file.add(Decision(self.cards.ids[row], given, label))
            self._note(row, label)
            trail = self._trails.setdefault(client, [])
            if row in trail:
                trail.remove(row)
            trail.append(row)

    def next_card(self, view: View, client: str) -> int | None:
        """Return the next card of a view that no other browser shows; None where none is left.

        Parameters
        ----------
        view
            Which cards.
        client
            Who asks: two browsers get different cards, as far as there are enough.
        """
        with self._lock:
            open_rows = self._open_rows(view)
            if not len(open_rows):
                return None
            now = time.monotonic()
            self._leases = {
                row: lease
                for row, lease in self._leases.items()
                if lease[0] != client and lease[1] > now
            }
            free = (int(row) for row in open_rows if int(row) not in self._leases)
            row = next(free, int(open_rows[0]))
            self._leases.setdefault(row, (client, now + LEASE))
            return row

    def upcoming(self, view: View, row: int | None) -> int | None:
        """Return a card that will probably come next, to load its picture."""
        with self._lock:
            return next((int(one) for one in self._open_rows(view)[:2] if one != row), None)

    def before(self, row: int | None, client: str) -> int | None:
        """Return the card that a browser has decided before this one; None for the first."""
        with self._lock:
            trail = self._trails.get(client, [])
            place = trail.index(row) if row in trail else len(trail)
            return trail[place - 1] if place else None

    def card(self, row: int) -> Shown:
        """Return what is known of a card."""
        with self._lock:
            cards, score = self.cards, self.cards.scores[row]
            return Shown(
                row=row,
                id=cards.ids[row],
                given=int(cards.given[row]),
                proposed=None if cards.proposed[row] == NONE else int(cards.proposed[row]),
                chance=None if np.isnan(score) else float(self._chances(np.array([row]))[0]),
                seen=int(self._revisions[row]),
                decided=bool(self._states[row] != _OPEN),
                label=self._labels.get(row),
            )

    def progress(self, view: View) -> list[str]:
        """Say what was found so far, what that says of the rest, and whether to go on."""
        with self._lock:
            rows = self._rows(view)
            states = self._states[rows]
            wrong, right = (
                int(np.isin(states, codes).sum()) for codes in ((_WRONG,), (_RIGHT, _BEFORE))
            )
            decided, unclear = wrong + right, int((states == _UNCLEAR).sum())
            words = [f"{decided + unclear:,} of {len(rows):,} decided."]
            if view.order == AT_RANDOM and view.given is None and view.proposed is None:
                words += self._of_random_draw(rows)
            elif decided:
                words.append(seen_words(wrong, decided))
            if unclear:
                words.append(f"{unclear:,} could not be told.")
            open_rows = rows[states == _OPEN]
            if len(open_rows) and self.cards.has_scores and view.order != AT_RANDOM:
                words.append(rest_words(self._chances(open_rows), decided))
            return words

    def pairs(self, view: View) -> dict[tuple[int, int], tuple[int, int]]:
        """Count cards by given and proposed class: those left and all, whatever these are now.

        Parameters
        ----------
        view
            Only its order counts.
        """
        with self._lock:
            cards, size = self.cards, len(self.class_names)
            chosen = self._wanted(View(order=view.order)) & (cards.proposed != NONE)
            codes = cards.given.astype(np.int64) * size + cards.proposed
            total = np.bincount(codes[chosen], minlength=size * size)
            left = np.bincount(codes[chosen & (self._states == _OPEN)], minlength=size * size)
            found = np.flatnonzero(total)
            return {
                (int(code) // size, int(code) % size): (int(left[code]), int(total[code]))
                for code in found
            }

    def trusted(self) -> tuple[NDArray[np.bool_], dict[int, str]]:
        """Return which labels are trusted [N], and what persons have decided of those.

        These are labels that a person has decided, and the less doubtful half of those that are
        not taken for wrong.
        """
        with self._lock:
            checked = np.isin(self._states, (_RIGHT, _WRONG, _BEFORE))
            believed = ~self.cards.listed & (self._states == _OPEN)
            if believed.any() and self.cards.has_scores:
                believed &= self.cards.scores <= np.median(self.cards.scores[~self.cards.listed])
            labels = {row: label for row, label in self._labels.items() if label is not None}
            return checked | believed, labels

    def _note(self, row: int, label: str | None) -> None:
        given = self.class_names[self.cards.given[row]]
        self._states[row] = (
            _UNCLEAR if label is None else _RIGHT if label == given else _WRONG
        )  # fmt: skip
        self._labels[row] = label
        self._revisions[row] += 1
        self._leases.pop(row, None)
        self._b = None

    def _chances(self, rows: NDArray[np.int64]) -> Floats:
        if self._b is None:
            known = np.flatnonzero((self._states == _RIGHT) | (self._states == _WRONG))
            self._b = 0.0
            if self.cards.has_scores:
                self._b = shift(self.cards.scores[known], self._states[known] == _WRONG)
        return shifted(self.cards.scores[rows], self._b)

    def _wanted(self, view: View) -> NDArray[np.bool_]:
        cards = self.cards
        everything = view.order == AT_RANDOM
        wanted = np.ones(len(cards), np.bool_)
        if not everything:
            wanted = cards.listed & (self._states != _BEFORE)
        if view.given is not None:
            wanted &= cards.given == view.given
        if view.proposed is not None:
            wanted &= cards.proposed == view.proposed
        return wanted

    def _rows(self, view: View) -> NDArray[np.int64]:
        order = self._by_score
        if view.order == AT_RANDOM:
            if self._random is None:
                self._random = random_order(self.cards.ids)
            order = self._random
        elif view.order == TEACHING and self.cards.has_scores:
            doubt = np.abs(self._chances(order) - 0.5)
            order = order[np.argsort(doubt, kind="stable")]
        return np.asarray(order[self._wanted(view)[order]])

    def _open_rows(self, view: View) -> NDArray[np.int64]:
        rows = self._rows(view)
        return np.asarray(rows[self._states[rows] == _OPEN])

    def _of_random_draw(self, rows: NDArray[np.int64]) -> list[str]:
        """Say how many of all labels are wrong, by the unbroken beginning of the order."""
        gaps = np.flatnonzero(self._states[rows] == _OPEN)
        drawn = self._states[rows[: gaps[0] if len(gaps) else len(rows)]]
        wrong, right = int((drawn == _WRONG).sum()), int(np.isin(drawn, (_RIGHT, _BEFORE)).sum())
        return [seen_words(wrong, wrong + right, " of all labels are")] if wrong + right else []
