"""What every page for one person on this machine has: an address that nobody guesses, and rules.

Only who knows the address can use it: it holds a token. Requests that name another host (as after
a change of a name's address) or come from another page are refused. What data say is escaped, and
nothing runs that is not the page's own.
"""

from __future__ import annotations

import hmac
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_LARGEST_FORM = 10_000
"""Bytes of an answer."""

_TEMPLATES = Environment(loader=PackageLoader("s2e_optuna.review"), autoescape=True)

HTML, TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"


class Refused(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: str, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What a browser asks.

    Attributes
    ----------
    path
        Behind the token and its slash.
    query
        Values of the address.
    form
        Values that were posted; None where nothing was.
    nonce
        What the page's own style and script are marked with.
    """

    path: str
    query: Mapping[str, str]
    form: Mapping[str, str] | None
    nonce: str

    @property
    def values(self) -> Mapping[str, str]:
        """Values that were posted, or else those of the address."""
        return self.query if self.form is None else self.form


@dataclass(frozen=True)
class Response:
    """What is answered."""

    content: str | bytes
    kind: str = HTML
    status: str = "200 OK"
    headers: tuple[tuple[str, str], ...] = field(default=())


def see_other(location: str) -> Response:
    """Lead the browser on, so that loading the page again posts nothing again."""
    return Response("", TEXT, "303 See Other", (("Location", location),))


def render(template: str, nonce: str, **values: object) -> str:
    """Fill a template of this folder; all values are escaped."""
    return _TEMPLATES.get_template(template).render(nonce=nonce, **values)


class LocalPage(ABC):
    """A WSGI application for one person on this machine; its page is at `path`.

    Parameters
    ----------
    command
        What prints the address, for who has it not.

    Attributes
    ----------
    path
        Path of the page, with its token; without a slash at the beginning.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._token = secrets.token_urlsafe(24)
        self.path = f"{self._token}/"

    @abstractmethod
    def respond(self, request: Request) -> Response:
        """Answer a request that is allowed; raise `Refused` where there is no answer."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        nonce = secrets.token_urlsafe(12)
        try:
            response = self.respond(self._allowed(environ, nonce))
        except Refused as refused:
            response = Response(str(refused), TEXT, refused.status)
        content = response.content
        body = content.encode() if isinstance(content, str) else content
        headers = {
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            # The browser names the page's origin with an answer, and tells nobody else of it.
            "Referrer-Policy": "same-origin",
            "Content-Security-Policy": f"default-src 'none'; img-src 'self' data:; style-src "
            f"'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; form-action "
            "'self'; base-uri 'none'; frame-ancestors 'none'",
            "Content-Type": response.kind,
            "Content-Length": str(len(body)),
            **dict(response.headers),
        }
        start_response(response.status, list(headers.items()))
        return [body]

    def _allowed(self, environ: WSGIEnvironment, nonce: str) -> Request:
        host, port = environ.get("HTTP_HOST", ""), environ["SERVER_PORT"]
        if host not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            raise Refused("403 Forbidden", "This page is for this machine alone.")
        if environ.get("HTTP_ORIGIN", f"http://{host}") != f"http://{host}":
            raise Refused("403 Forbidden", "Another page may not ask this one.")
        _, token, path = [*environ.get("PATH_INFO", "").split("/", 2), "", ""][:3]
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            raise Refused("403 Forbidden", f"Use the address that {self._command} has printed.")
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "POST"):
            raise Refused("405 Method Not Allowed", "Only GET and POST are known here.")
        query = _first(environ.get("QUERY_STRING", ""))
        form = _form(environ) if method == "POST" else None
        return Request(path, query, form, nonce)


def whole_number(text: str, least: int, most: int) -> int | None:
    """Read a number of a request; None where it is none between these."""
    if text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most:
        return int(text)
    return None


def class_keys(class_names: Sequence[str]) -> list[str]:
    """Return the key of each class: its number; nothing for numbers of several digits.

    Classes that are called by numbers have these as their keys, not their places.
    """
    called = all(name.isdecimal() for name in class_names)
    keys = class_names if called else [str(place) for place in range(len(class_names))]
    return [key if len(key) == 1 else "" for key in keys]


def _form(environ: WSGIEnvironment) -> Mapping[str, str]:
    length = whole_number(environ.get("CONTENT_LENGTH") or "0", 0, _LARGEST_FORM)
    if length is None:
        raise Refused("413 Content Too Large", "That is no answer.")
    return _first(environ["wsgi.input"].read(length).decode("utf-8", "replace"))


def _first(text: str) -> Mapping[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}
