"""The page of ``s2e review``: a card, what is like it, decisions, filters, what was found so far.

Plain HTML, in which a person may use keys; a small script adds keys and loads what is not ready
yet. Pictures go by the places of their samples. Who may use it is in
`s2e_optuna.review.local_page`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from markupsafe import Markup, escape

from s2e_optuna.review.local_page import (
    HTML,
    LocalPage,
    Refused,
    Request,
    Response,
    class_keys,
    render,
    see_other,
    whole_number,
)
from s2e_optuna.review.pictures import LARGEST
from s2e_optuna.review.samples import Samples
from s2e_optuna.review.session import ORDERS, PROBABILITY, Conflict, Review, Shown, View

LARGEST_MATRIX = 20
"""Classes of a matrix that is shown; of more, the most frequent pairs are."""

_MOST_PAIRS = 20
_SMALL = 200  # pixels of a similar sample
_CLIENT = 32  # characters of a browser's name for itself, at most
_KEPT = (("Cache-Control", "private, max-age=3600"),)

_UNKNOWN = "nobody knows what the list is about, so name the data with --data."
_TAKEN = "Somebody has decided about this card meanwhile: look, and decide again if you must."


@dataclass(frozen=True)
class Finished:
    """What was written when the page was asked to.

    Attributes
    ----------
    sentences
        What was done.
    command
        What to do next; None where that is not known.
    """

    sentences: Sequence[str]
    command: str | None = None


@dataclass(frozen=True)
class _Where:
    """Who looks at what: all of it is in the address."""

    view: View
    client: str

    def address(self, **changes: object) -> str:
        view = self.view
        kept = {"c": self.client, "order": view.order, "given": view.given}
        every = {**kept, "proposed": view.proposed, **changes}
        return "./?" + urlencode({k: str(v) for k, v in every.items() if v not in (None, "")})


class CardPage(LocalPage):
    """A WSGI application for a review; its page is at `path`.

    Parameters
    ----------
    review
        Cards and decisions.
    samples
        What is shown of them.
    finish
        Writes what follows from the decisions; raises ValueError or OSError where it cannot.
    """

    def __init__(self, review: Review, samples: Samples, finish: Callable[[], Finished]) -> None:
        super().__init__("s2e review")
        self._review, self._samples, self._finish = review, samples, finish

    def respond(self, request: Request) -> Response:
        """Answer a request that is allowed."""
        kind, _, place = request.path.partition("/")
        if request.form is None and kind in ("picture", "small", "sample", "similar") and place:
            return self._of_sample(kind, place)
        where = self._where(request.values)
        if where is None:
            return see_other(f"./?c={secrets.token_urlsafe(6)}")
        if request.form is None:
            if request.path:
                raise Refused("404 Not Found", "There is no such page.")
            asked = request.query.get("card")
            row = None if asked is None else self._row(asked)
            return self._show(where, row, request.nonce)
        if request.path == "decide":
            return self._decide(where, request.form, request.nonce)
        if request.path == "finish":
            return self._write(where, request.nonce)
        raise Refused("404 Not Found", "There is no such page.")

    def _of_sample(self, kind: str, place: str) -> Response:
        if kind in ("picture", "small"):
            row = whole_number(place, 0, 10**9)
            try:
                if row is None:
                    raise OSError
                content = self._samples.picture(row, _SMALL if kind == "small" else LARGEST)
            except OSError as error:
                raise Refused("404 Not Found", "The picture cannot be read.") from error
            return Response(content, "image/png", headers=_KEPT)
        row = self._row(place)
        return Response(self._sample(row) if kind == "sample" else self._similar(row), HTML)

    def _row(self, text: str) -> int:
        if (row := whole_number(text, 0, len(self._review.cards) - 1)) is None:
            raise Refused("404 Not Found", "There is no such card.")
        return row

    def _where(self, values: Mapping[str, str]) -> _Where | None:
        """Read which cards are looked at; None where the browser has no name yet."""
        client, order = values.get("c", ""), values.get("order", PROBABILITY)
        most = len(self._review.class_names) - 1
        classes: list[int | None] = []
        for name in ("given", "proposed"):
            number = whole_number(values.get(name, ""), 0, most)
            if number is None and values.get(name):
                raise Refused("404 Not Found", "There is no such class.")
            classes.append(number)
        if order not in ORDERS:
            raise Refused("404 Not Found", "There is no such order.")
        if not client or len(client) > _CLIENT:
            return None
        return _Where(View(classes[0], classes[1], order), client)

    def _decide(self, where: _Where, form: Mapping[str, str], nonce: str) -> Response:
        row, names = self._row(form.get("card", "")), self._review.class_names
        named, label = form.get("class", "").strip(), form.get("label", "")
        number = whole_number(label, 0, len(names) - 1)
        seen = whole_number(form.get("seen", ""), 0, 10**9)
        if named in names or number is not None or label == "?":
            chosen = named if named in names else None if number is None else names[number]
        else:
            return self._show(where, row, nonce, f"{named or label} is no class.")
        if seen is None:
            return self._show(where, row, nonce, _TAKEN)
        try:
            self._review.decide(row, chosen, seen, where.client)
        except Conflict:
            return self._show(where, row, nonce, _TAKEN)
        except OSError as error:
            raise Refused(
                "507 Insufficient Storage",
                f"The decision is not written ({error.strerror}): go back, and make it again.",
            ) from error
        return see_other(where.address())

    def _write(self, where: _Where, nonce: str) -> Response:
        try:
            finished = self._finish()
        except (ValueError, OSError) as error:
            finished = Finished([str(error)])
        return self._show(where, None, nonce, finished=finished)

    def _show(
        self,
        where: _Where,
        row: int | None,
        nonce: str,
        error: str = "",
        finished: Finished | None = None,
    ) -> Response:
        review, samples, view = self._review, self._samples, where.view
        ready = samples.is_ready
        if ready:
            review.learn_classes(samples.class_names)
        if row is None:
            row = review.next_card(view, where.client)
        card = None if row is None else review.card(row)
        names = review.class_names
        known = samples.is_known
        content = render(
            "cards.html",
            nonce,
            card=card,
            known=known,
            sample=Markup(self._sample(row)) if row is not None and (ready or not known) else "",
            similar=Markup(self._similar(row)) if row is not None and samples.compares else "",
            names=names,
            keys=class_keys(names),
            chance="" if card is None else _chance(card, review.cards.are_probabilities),
            hidden=_hidden(where, card),
            address=where.address,
            back=review.before(row, where.client),
            upcoming=review.upcoming(view, row) if ready else None,
            progress=review.progress(view),
            orders=ORDERS,
            view=view,
            filtered=view.given is not None or view.proposed is not None,
            error=error,
            finished=finished,
            **self._pairs(where),
        )
        return Response(content, status="422 Unprocessable Content" if error else "200 OK")

    def _sample(self, row: int) -> str:
        """Return what is shown of a sample; waits until it is there."""
        samples, cards = self._samples, self._review.cards
        said = [cards.texts[row]] if cards.texts else []
        error, picture = ("" if said else _UNKNOWN), False
        if samples.is_known:
            error, picture = samples.error, samples.is_picture(row)
            said.insert(0, samples.text(row))
        return render(
            "sample.html",
            "",
            row=row,
            name=cards.ids[row],
            error=error,
            picture=picture,
            small=samples.are_small,
            text=" ".join(filter(None, said)),
        )

    def _similar(self, row: int) -> str:
        """Return what is like a sample; waits until that can be said."""
        review, samples = self._review, self._samples
        trusted, labels = review.trusted()
        found = []
        for one in samples.similar(row, trusted, labels):
            label = one.label
            if label is None:
                label = review.class_names[review.cards.given[one.row]]
            picture = samples.is_picture(one.row)
            text = "" if picture else samples.text(one.row)
            found.append({"row": one.row, "label": label, "picture": picture, "text": text})
        return render("similar.html", "", similar=found, small=samples.are_small)

    def _pairs(self, where: _Where) -> dict[str, object]:
        """Return the matrix by which cards are chosen; of many classes, pairs."""
        names, view = self._review.class_names, where.view
        pairs = self._review.pairs(view)

        def link(given: int, proposed: int) -> str:
            return where.address(given=given, proposed=proposed)

        if len(names) <= LARGEST_MATRIX:
            rows = [
                {
                    "name": name,
                    "cells": [
                        {
                            "name": names[proposed],
                            "left": pairs.get((given, proposed), (0, 0))[0],
                            "link": link(given, proposed) if (given, proposed) in pairs else "",
                            "chosen": (given, proposed) == (view.given, view.proposed),
                        }
                        for proposed in range(len(names))
                    ],
                }
                for given, name in enumerate(names)
            ]
            return {"matrix": {"columns": names, "rows": rows} if pairs else None, "pairs": []}
        most = sorted(pairs.items(), key=lambda pair: -pair[1][1])[:_MOST_PAIRS]
        listed = [
            {
                "given": names[given],
                "proposed": names[proposed],
                "left": left,
                "total": total,
                "link": link(given, proposed),
                "chosen": (given, proposed) == (view.given, view.proposed),
            }
            for (given, proposed), (left, total) in most
        ]
        return {"matrix": None, "pairs": listed}


def _chance(card: Shown, are_probabilities: bool) -> str:
    """Say how doubtful a label is; no rounding makes it a certainty."""
    if card.chance is None:
        return ""
    if not are_probabilities:
        return f"Suspicion {card.chance:.2f}."
    percent = min(max(round(100 * card.chance), 1), 99)
    return f"Wrong with a probability of {percent}%."


def _hidden(where: _Where, card: Shown | None) -> Markup:
    """Return the fields of a form that say who decides about which card."""
    view = where.view
    values: dict[str, object] = {"c": where.client, "order": view.order}
    values |= {"given": view.given, "proposed": view.proposed}
    if card is not None:
        values |= {"card": card.row, "seen": card.seen}
    return Markup("").join(
        Markup('<input type="hidden" name="{}" value="{}">').format(name, escape(str(value)))
        for name, value in values.items()
        if value is not None
    )
