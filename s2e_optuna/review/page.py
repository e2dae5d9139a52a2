"""The page on which a person checks labels: one card at a time, plain HTML and one script.

Pictures go by the numbers of their cards. Who may use it is in `s2e_optuna.review.local_page`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from s2e_optuna.data import NoisyData
from s2e_optuna.review.answers import CANNOT_SAY, AnswerFile
from s2e_optuna.review.drawn import Card, words_of_row
from s2e_optuna.review.local_page import (
    LocalPage,
    Refused,
    Request,
    Response,
    class_keys,
    render,
    see_other,
    whole_number,
)
from s2e_optuna.review.pictures import png_of_array, png_of_file


class Page(LocalPage):
    """A WSGI application that asks about cards; its page is at `path`.

    Parameters
    ----------
    cards
        What was drawn.
    data
        Where it was drawn from.
    answers
        Where the answers go.
    outcome
        Says what the answers mean.
    command
        What to do next.
    """

    def __init__(
        self,
        cards: Sequence[Card],
        data: NoisyData,
        answers: AnswerFile,
        outcome: Callable[[], str],
        command: str,
    ) -> None:
        super().__init__("s2e check")
        self._cards, self._data, self._answers = cards, data, answers
        self._outcome, self._next = outcome, command
        self._lock = threading.Lock()

    def respond(self, request: Request) -> Response:
        """Answer a request that is allowed."""
        if request.form is not None and request.path == "answer":
            return self._take(request.form, request.nonce)
        if request.form is not None:
            raise Refused("405 Method Not Allowed", "Only GET is known here.")
        if request.path == "":
            asked = request.query.get("card")
            return self._show(None if asked is None else self._number(asked), request.nonce)
        if request.path.startswith("picture/"):
            card = self._cards[self._number(request.path.removeprefix("picture/")) - 1]
            try:
                return Response(self._picture(card), "image/png")
            except OSError as error:
                raise Refused("404 Not Found", "The picture cannot be read.") from error
        raise Refused("404 Not Found", "There is no such page.")

    def _picture(self, card: Card) -> bytes:
        if card.file is not None:
            return png_of_file(card.file)
        return png_of_array(self._data.x_val[card.row].numpy())

    def _number(self, text: str) -> int:
        if (number := whole_number(text, 1, len(self._cards))) is None:
            raise Refused("404 Not Found", "There is no such card.")
        return number

    def _take(self, form: Mapping[str, str], nonce: str) -> Response:
        number = self._number(form.get("card", ""))
        names, label = self._data.class_names, form.get("label", "")
        place = whole_number(label, 0, len(names) - 1)
        if (named := form.get("class", "").strip()) in names:
            chosen = named
        elif label == "?":
            chosen = CANNOT_SAY
        elif place is not None:
            chosen = names[place]
        else:
            return self._show(number, nonce, f"{named or label} is no class.")
        card = self._cards[number - 1]
        try:
            with self._lock:
                self._answers.add(card.id, chosen)
        except OSError as error:
            raise Refused(
                "507 Insufficient Storage",
                f"The answer is not written ({error.strerror}): go back, and give it again.",
            ) from error
        after = number < len(self._cards) and self._cards[number].id in self._answers.labels
        return see_other(f"?card={number + 1}" if after else "./")

    def _show(self, number: int | None, nonce: str, error: str = "") -> Response:
        answered = self._answers.labels
        if number is None:
            left = (n for n, one in enumerate(self._cards, start=1) if one.id not in answered)
            number = next(left, None)
        card = None if number is None else self._cards[number - 1]
        names = self._data.class_names
        content = render(
            "check.html",
            nonce,
            card=card,
            number=number,
            total=len(self._cards),
            given=None if card is None else names.index(card.given),
            row=None if card is None else words_of_row(self._data, card),
            answered=None if card is None else answered.get(card.id),
            class_names=names,
            keys=class_keys(names),
            error=error,
            outcome=self._outcome(),
            command=self._next,
        )
        return Response(content, status="422 Unprocessable Content" if error else "200 OK")
