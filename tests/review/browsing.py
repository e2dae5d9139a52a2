"""A browser without a screen, for pages of this machine."""

import io
from typing import Any
from urllib.parse import urlencode
from wsgiref.util import setup_testing_defaults

from s2e_optuna.review.local_page import LocalPage

HOST = "127.0.0.1:8000"


class Browser:
    """Sends requests to a page as a browser on this machine would."""

    def __init__(self, page: LocalPage) -> None:
        self.page = page

    def ask(
        self, path: str = "", body: bytes | None = None, at: str | None = None, **headers: str
    ) -> tuple[str, dict[str, str], bytes]:
        path, _, query = path.partition("?")
        environ: dict[str, Any] = {
            "PATH_INFO": f"/{self.page.path}{path}" if at is None else at,
            "QUERY_STRING": query,
            "REQUEST_METHOD": "GET" if body is None else "POST",
            "HTTP_HOST": HOST,
            "SERVER_PORT": "8000",
            "CONTENT_LENGTH": str(len(body or b"")),
            "wsgi.input": io.BytesIO(body or b""),
            **headers,
        }
        setup_testing_defaults(environ)
        got: list[Any] = []
        content = b"".join(self.page(environ, lambda *answer: got.extend(answer)))
        return got[0], dict(got[1]), content

    def text(self, path: str = "") -> str:
        return self.ask(path)[2].decode()

    def post(self, path: str, **form: object) -> tuple[str, dict[str, str], bytes]:
        return self.ask(path, urlencode(form).encode(), HTTP_ORIGIN=f"http://{HOST}")
