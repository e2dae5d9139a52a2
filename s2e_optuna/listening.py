"""A page or dashboard at an address of this machine, until somebody ends it."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from s2e_optuna.errors import InputError, one_sentence

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # an open browser tab does not hold up Ctrl-C


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: the dashboard polls, and a line a request would hide what matters."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(
    app: WSGIApplication,
    *,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
    ended: threading.Event | None = None,
) -> None:
    """Serve an application until interrupted.

    Parameters
    ----------
    app
        What answers requests, several at a time.
    host, port
        Where to listen; port 0 takes a free one.
    on_ready
        Called with the address once it listens.
    ended
        Ends it, too, when it is set.

    Raises
    ------
    InputError
        If nothing can listen there.
    """
    server_class = _IPv6Server if ":" in host else _Server
    try:
        server = make_server(
            host, port, app, server_class=server_class, handler_class=_SilentHandler
        )
    except (OSError, OverflowError) as error:
        raise InputError(
            f"nothing can listen on {host} port {port} ({one_sentence(error)}): "
            "choose another with --port."
        ) from error
    with server:
        name = f"[{host}]" if ":" in host else host
        on_ready(f"http://{name}:{server.server_port}/")
        if ended is not None:
            threading.Thread(target=_end_later, args=(server, ended), daemon=True).start()
        server.serve_forever()


def _end_later(server: WSGIServer, ended: threading.Event) -> None:
    ended.wait()
    server.shutdown()
