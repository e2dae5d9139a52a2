"""A gRPC proxy in front of a database: what ``s2e proxy`` runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from s2e_optuna.storages.open import StorageError, open_storage

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
        from optuna.storages._grpc import servicer
        from optuna.storages._grpc.auto_generated import api_pb2_grpc
    except ImportError as error:
        raise StorageError("a proxy needs gRPC: pip install grpcio protobuf.") from error
    storage = open_storage(url)
    server = grpc.server(
        ThreadPoolExecutor(THREADS),
        options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
    )
    register: Callable[..., None] = api_pb2_grpc.add_StorageServiceServicer_to_server
    register(servicer.OptunaStorageProxyService(storage), server)
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
