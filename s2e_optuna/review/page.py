"""The page on which a person checks labels: one card at a time, plain HTML and one script.

Only who knows the address can use it: it holds a token. Requests that name another host (as after
a change of a name's address) or come from another page are refused. What the data say is escaped,
and pictures go by the numbers of their cards, drawn anew, so no file is served as it is.
"""

from __future__ import annotations

import hmac
import io
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray
from PIL import Image, ImageOps

from s2e_optuna.data import NoisyData
from s2e_optuna.review.answers import CANNOT_SAY, AnswerFile
from s2e_optuna.review.drawn import Card, numbers_of_row

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_TEMPLATE = Environment(autoescape=True).from_string(
    Path(__file__).with_name("page.html").read_text(encoding="utf-8")
)

_LARGEST_PICTURE = 1000
"""Pixels of a picture's longer side; larger ones are made smaller."""

_LARGEST_FORM = 10_000
"""Bytes of an answer."""


class _Refused(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: str, words: str) -> None:
        super().__init__(words)
        self.status = status


class Page:
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

    Attributes
    ----------
    path
        Path of the page, with its token; without a slash at the beginning.
    """

    def __init__(
        self,
        cards: Sequence[Card],
        data: NoisyData,
        answers: AnswerFile,
        outcome: Callable[[], str],
        command: str,
    ) -> None:
        self._cards, self._data, self._answers = cards, data, answers
        self._outcome, self._command = outcome, command
        self._token = secrets.token_urlsafe(24)
        self._lock = threading.Lock()
        self.path = f"{self._token}/"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        nonce = secrets.token_urlsafe(12)
        headers = [
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            # The browser names the page's origin with an answer, and tells nobody else of it.
            ("Referrer-Policy", "same-origin"),
            (
                "Content-Security-Policy",
                f"default-src 'none'; img-src 'self' data:; style-src 'nonce-{nonce}'; script-src "
                f"'nonce-{nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
        ]
        try:
            status, kind, content = self._respond(environ, nonce)
        except _Refused as refused:
            status, kind, content = refused.status, "text/plain; charset=utf-8", str(refused)
        if kind == "location":
            headers.append(("Location", str(content)))
            kind, content = "text/plain; charset=utf-8", ""
        body = content.encode() if isinstance(content, str) else content
        start_response(
            status, [*headers, ("Content-Type", kind), ("Content-Length", str(len(body)))]
        )
        return [body]

    def _respond(self, environ: WSGIEnvironment, nonce: str) -> tuple[str, str, str | bytes]:
        host, port = environ.get("HTTP_HOST", ""), environ["SERVER_PORT"]
        if host not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            raise _Refused("403 Forbidden", "This page is for this machine alone.")
        if environ.get("HTTP_ORIGIN", f"http://{host}") != f"http://{host}":
            raise _Refused("403 Forbidden", "Another page may not ask this one.")
        _, token, rest = [*environ.get("PATH_INFO", "").split("/", 2), "", ""][:3]
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            raise _Refused("403 Forbidden", "Use the address that s2e check has printed.")
        method = environ["REQUEST_METHOD"]
        if method == "POST" and rest == "answer":
            return self._take(environ, nonce)
        if method != "GET":
            raise _Refused("405 Method Not Allowed", "Only GET is known here.")
        if rest == "":
            asked = parse_qs(environ.get("QUERY_STRING", "")).get("card")
            return self._show(None if asked is None else self._number(asked[0]), nonce)
        if rest.startswith("picture/"):
            card = self._cards[self._number(rest.removeprefix("picture/")) - 1]
            try:
                return "200 OK", "image/png", _png(card, self._data)
            except OSError as error:
                raise _Refused("404 Not Found", "The picture cannot be read.") from error
        raise _Refused("404 Not Found", "There is no such page.")

    def _number(self, text: str) -> int:
        if text.isascii() and text.isdecimal() and len(text) < 10:
            number = int(text)
            if 1 <= number <= len(self._cards):
                return number
        raise _Refused("404 Not Found", "There is no such card.")

    def _take(self, environ: WSGIEnvironment, nonce: str) -> tuple[str, str, str | bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdecimal() and int(length) <= _LARGEST_FORM):
            raise _Refused("413 Content Too Large", "That is no answer.")
        text = environ["wsgi.input"].read(int(length)).decode("utf-8", "replace")
        form = {name: values[0] for name, values in parse_qs(text).items()}
        number = self._number(form.get("card", ""))
        names, label = self._data.class_names, form.get("label", "")
        if (named := form.get("class", "").strip()) in names:
            chosen = named
        elif label == "?":
            chosen = CANNOT_SAY
        elif label.isascii() and label.isdecimal() and len(label) < 10 and int(label) < len(names):
            chosen = names[int(label)]
        else:
            return self._show(number, nonce, f"{named or label} is no class.")
        card = self._cards[number - 1]
        try:
            with self._lock:
                self._answers.add(card.id, chosen)
        except OSError as error:
            raise _Refused(
                "507 Insufficient Storage",
                f"The answer is not written ({error.strerror}): go back, and give it again.",
            ) from error
        after = number < len(self._cards) and self._cards[number].id in self._answers.labels
        return "303 See Other", "location", f"?card={number + 1}" if after else "./"

    def _show(
        self, number: int | None, nonce: str, error: str = ""
    ) -> tuple[str, str, str | bytes]:
        answered = self._answers.labels
        if number is None:
            left = (n for n, one in enumerate(self._cards, start=1) if one.id not in answered)
            number = next(left, None)
        card = None if number is None else self._cards[number - 1]
        names = self._data.class_names
        content = _TEMPLATE.render(
            nonce=nonce,
            card=card,
            number=number,
            total=len(self._cards),
            given=None if card is None else names.index(card.given),
            row=None if card is None else numbers_of_row(self._data, card),
            answered=None if card is None else answered.get(card.id),
            class_names=names,
            keys=_keys(names),
            error=error,
            outcome=self._outcome(),
            command=self._command,
        )
        return (
            ("422 Unprocessable Content" if error else "200 OK"),
            ("text/html; charset=utf-8"),
            content,
        )


def _keys(class_names: Sequence[str]) -> list[str]:
    """Return the key of each class: its number; nothing for numbers of several digits.

    Classes that are called by numbers have these as their keys, not their places.
    """
    called = all(name.isdecimal() for name in class_names)
    keys = class_names if called else [str(place) for place in range(len(class_names))]
    return [key if len(key) == 1 else "" for key in keys]


def _png(card: Card, data: NoisyData) -> bytes:
    """Return the picture of a card as PNG, turned as its camera says."""
    if card.file is None:
        made = Image.fromarray(_bytes_of(data.x_val[card.row].numpy()))
    else:
        with Image.open(card.file) as opened:
            made = ImageOps.exif_transpose(opened).convert("RGBA")
    made.thumbnail((_LARGEST_PICTURE, _LARGEST_PICTURE))
    file = io.BytesIO()
    made.save(file, "PNG")
    return file.getvalue()


def _bytes_of(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return an image [C, H, W] on any scale as bytes [H, W], in colour [H, W, 3]."""
    values = image.astype(np.float64)
    values = values.transpose(1, 2, 0) if len(values) == 3 else values.mean(0)
    if image.dtype != np.uint8:
        low, high = float(values.min()), float(values.max())
        values = (values - low) / ((high - low) or 1.0) * 255.0
    return np.rint(values).astype(np.uint8)
