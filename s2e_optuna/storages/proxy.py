"""A gRPC proxy in front of a database: what ``s2e proxy`` runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from optuna.storages import BaseStorage, run_grpc_proxy_server

from s2e_optuna.storages.failures import StorageError
from s2e_optuna.storages.open import open_storage
from s2e_optuna.storages.private import ADD_SERVICER, SERVICER, MisfitError, find

THREADS = 16
"""Calls that are answered at once; not above the connections that `open_storage` allows."""


def run_proxy(
    url: str,
    *,
    host: str = "127.0.0.1",
    port: int = 13000,
    on_ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Answer `optuna.storages.GrpcStorageProxy` until interrupted.

    Parameters
    ----------
    url
        A database for `open_storage`.
    host, port
        Where to listen; port 0 takes a free one.
    on_ready
        Called with the port once it listens.

    Raises
    ------
    StorageError
        If the database cannot be opened, is a journal or a proxy, the port is taken, or gRPC is
        not installed.
    """
    if url.startswith(("journal://", "grpc://")):
        raise StorageError("a proxy stands in front of a database, not of a journal or a proxy.")
    try:
        import grpc
    except ImportError as error:
        raise StorageError("a proxy needs gRPC: pip install grpcio protobuf.") from error
    storage = open_storage(url)
    try:
        service, add = find(SERVICER), find(ADD_SERVICER)
    except MisfitError:
        _run_stock(storage, host, port, on_ready)
        return
    server = grpc.server(
        ThreadPoolExecutor(THREADS),
        options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
    )
    add(service(storage), server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise StorageError(f"cannot listen on {host}:{port}: {error}") from error
    server.start()
    on_ready(bound)
    try:
        server.wait_for_termination()
    finally:
        server.stop(grace=1.0)


def _run_stock(
    storage: BaseStorage, host: str, port: int, on_ready: Callable[[int], None]
) -> None:
    """Run Optuna's own server, which does not say when it listens."""
    if port == 0:
        raise StorageError("with this version of Optuna a proxy needs a port: give --port.")
    on_ready(port)
    try:
        run_grpc_proxy_server(
            storage, host=host, port=port, thread_pool=ThreadPoolExecutor(THREADS)
        )
    except RuntimeError as error:
        raise StorageError(f"cannot listen on {host}:{port}: {error}") from error
