"""Storages as Optuna and workers use them (long: each promise on every database)."""

import contextlib
import importlib.util
import pickle
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from s2e_optuna import open_storage, suggest_schedule
from s2e_optuna.search.pool import LocalPool
from s2e_optuna.search.processes import process_context
from s2e_optuna.search.worker import fatal_reason
from s2e_optuna.storages import NoTablesError, StorageError, mask_password
from s2e_optuna.storages import open as open_module
from s2e_optuna.storages import retry as retry_module
from s2e_optuna.storages.cached import SharedStorage
from s2e_optuna.storages.open import UnreachableError
from s2e_optuna.storages.rows import OWNER_ATTR
from s2e_optuna.storages.urls import stored_file


def engine_of(storage):
    return storage._backend.engine


def test_sqlite_settings_hold_on_every_connection(opened, sqlite_url):
    engine = engine_of(opened(sqlite_url))
    with engine.connect() as first, engine.connect() as second:
        first.rollback(), second.rollback()
        for connection in (first, second):
            pragma = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "busy_timeout")
            }
            connection.rollback()
            assert pragma == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 60_000}


def test_sqlite_transactions_take_the_write_lock_at_once(opened, sqlite_url, tmp_path):
    engine = engine_of(opened(sqlite_url))
    other = sqlite3.connect(tmp_path / "study.db", timeout=0)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()


def journal_mode(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def test_looking_at_a_file_leaves_it_as_it_is(opened, stock):
    before = stock.read_bytes()
    storage = opened(f"sqlite:///{stock}", prepare=False)
    study = optuna.load_study(study_name="s", storage=storage)
    assert len(study.trials) == 2
    copy = pickle.loads(pickle.dumps(storage))
    assert [summary.study_name for summary in copy.get_all_studies()] == ["s"]
    copy.dispose(), storage.dispose()
    assert stock.read_bytes() == before
    # Notes can be written, and work changes the mode.
    study.set_user_attr("a", 1)
    assert journal_mode(stock) == "delete"
    opened(f"sqlite:///{stock}")
    assert journal_mode(stock) == "wal"


def test_a_file_that_can_only_be_read_can_be_looked_at(opened, stock):
    storage = opened(f"sqlite:///file:{stock}?mode=ro&uri=true", prepare=False)
    study = optuna.load_study(study_name="s", storage=storage)
    assert study.best_value == min(trial.value for trial in study.trials)


def test_looking_at_another_program_s_file_makes_no_tables(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(StorageError, match="holds no studies of Optuna"):
        open_storage(f"sqlite:///{tmp_path}/other.db", prepare=False)
    names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert names == [("mine",)]
    connection.close()


def test_a_copy_of_a_file_in_use_holds_the_study(opened, sqlite_url, tmp_path):
    study = optuna.create_study(study_name="s", storage=opened(sqlite_url))
    for _ in range(3):
        study.tell(study.ask(), 0.5)
    shutil.copy(tmp_path / "study.db", tmp_path / "copy.db")  # without its write-ahead log
    copy = opened(f"sqlite:///{tmp_path}/copy.db", prepare=False)
    assert [summary.study_name for summary in copy.get_all_studies()] == ["s"]


def test_a_file_without_tables_may_be_a_copy_without_its_log(tmp_path):
    (tmp_path / "copy.db").touch()
    with pytest.raises(NoTablesError, match=r"write-ahead log.*\.backup COPY"):
        open_storage(f"sqlite:///{tmp_path}/copy.db", prepare=False)


def test_looking_at_a_server_s_database_makes_no_tables(postgres_url):
    with pytest.raises(NoTablesError, match="holds no studies of Optuna"):
        open_storage(postgres_url, prepare=False)
    engine = sqlalchemy.create_engine(postgres_url)
    assert sqlalchemy.inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_database_that_does_not_exist_is_not_called_empty(postgres):
    with pytest.raises(StorageError, match=r'cannot open.*database "missing" does not exist'):
        open_storage(postgres.get_uri(database="missing", driver="psycopg"), prepare=False)


def test_no_listener_is_left_on_other_engines(opened, sqlite_url, tmp_path):
    opened(sqlite_url)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/other.db")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    engine.dispose()


def test_settings_survive_pickling(opened, sqlite_url):
    copy = pickle.loads(pickle.dumps(opened(sqlite_url)))
    with engine_of(copy).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
    copy.dispose()


def test_a_missing_folder_is_made(opened, tmp_path):
    opened(f"sqlite:///{tmp_path}/a/b/study.db")
    assert (tmp_path / "a" / "b" / "study.db").exists()


def test_a_file_in_the_home_folder(opened, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    opened("sqlite:///~/kept/study.db")
    assert stored_file("sqlite:///~/kept/study.db") == tmp_path / "home" / "kept" / "study.db"
    assert (tmp_path / "home" / "kept" / "study.db").exists()
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///"])
def test_a_database_in_memory_is_opened_as_optuna_does(url):
    storage = open_storage(url, heartbeat=10)
    study = optuna.create_study(storage=storage)
    study.enqueue_trial({"x": 0.5})
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert len(study.trials) == 2
    storage.remove_session()
    engine_of(storage).dispose()


def _open(url):
    open_storage(url).dispose()


def test_several_processes_may_make_the_same_file(sqlite_url):
    context = process_context()
    processes = [context.Process(target=_open, args=(sqlite_url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4


def test_who_makes_the_tables_may_take_long(opened, sqlite_url, tmp_path, monkeypatch):
    """Another process is in the middle of it, and was stopped there for a while."""
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("BEGIN IMMEDIATE")
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 10:
            other.execute("COMMIT")

    patient = SimpleNamespace(monotonic=time.monotonic, sleep=pause)
    monkeypatch.setattr(retry_module, "time", patient)
    optuna.create_study(storage=opened(sqlite_url))
    other.close()
    assert len(pauses) == 10


def count_commits(storage):
    counts = {"commits": 0, "statements": 0}
    sqlalchemy.event.listen(
        engine_of(storage), "commit", lambda *a: counts.update(commits=counts["commits"] + 1)
    )
    return counts


def test_a_batch_is_one_transaction(opened, sqlite_url):
    storage = opened(sqlite_url)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    assert trial.relative_params == {}
    counts = count_commits(storage)
    with storage.batch():
        suggest_schedule(trial, 10)
        trial.report(0.5, 0)
    assert counts["commits"] == 1
    stored = storage.get_trial(trial._trial_id)
    assert len(stored.params) == 19
    assert stored.params == trial.params
    assert stored.distributions == trial.distributions
    assert stored.intermediate_values == {0: 0.5}
    assert stored.user_attrs["schedule"]["space"] == "s2e"


def test_a_batch_can_finish_trials(opened, sqlite_url):
    storage = opened(sqlite_url)
    study = optuna.create_study(storage=storage)
    trials = [study.ask(), study.ask()]
    with storage.batch():
        for trial in trials:
            trial.set_user_attr("a", 1)
            study.tell(trial, 0.25)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2
    assert [t.value for t in study.trials] == [0.25] * 2


def test_a_batch_leaves_out_finished_trials_only(opened, sqlite_url):
    storage = opened(sqlite_url)
    study = optuna.create_study(storage=storage)
    alive, dead = study.ask(), study.ask()
    study.tell(dead, state=TrialState.FAIL)
    with storage.batch():
        for trial in (dead, alive):
            storage.set_trial_user_attr(trial._trial_id, "a", 1)
    assert [t.user_attrs for t in study.trials] == [{"a": 1}, {}]


def test_a_batch_that_raises_writes_nothing(opened, sqlite_url):
    storage = opened(sqlite_url)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    with pytest.raises(KeyError), storage.batch():
        trial.set_user_attr("a", 1)
        raise KeyError
    assert study.trials[0].user_attrs == {}


def test_an_incompatible_distribution_is_refused_in_a_batch(opened, sqlite_url):
    storage = opened(sqlite_url)
    study = optuna.create_study(storage=storage)
    study.ask().suggest_float("x", 0, 1)
    trial = study.ask()
    with pytest.raises(ValueError, match="distribution"), storage.batch():
        trial.suggest_categorical("x", ["a"])


def test_other_threads_are_not_in_the_batch(opened, sqlite_url):
    storage = opened(sqlite_url)
    study = optuna.create_study(storage=storage)
    trial = study.ask()

    def write():
        storage.set_trial_user_attr(trial._trial_id, "thread", 1)
        storage.remove_session()

    with storage.batch():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        assert study.trials[0].user_attrs == {"thread": 1}


def test_trials_carry_their_owner_from_birth(opened, sqlite_url):
    storage = opened(sqlite_url)
    study = optuna.create_study(storage=storage)
    study.enqueue_trial({"x": 0.5})
    storage.owner = "me"
    trials = [study.ask(), study.ask()]
    assert [t.number for t in trials] == [0, 1]
    assert [t.state for t in study.trials] == [TrialState.RUNNING] * 2
    assert [t.user_attrs[OWNER_ATTR] for t in study.trials] == ["me", "me"]
    assert study.trials[1].datetime_start is not None
    assert trials[0].suggest_float("x", 0, 1) == 0.5


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:se@cr:et@host:1/db", "postgresql+psycopg://me:***@host:1/db"),
        ("mysql+pymysql://me:secret@host/db?x=1", "mysql+pymysql://me:***@host/db?x=1"),
        (
            "postgresql://host/db?user=me&password=secret",
            "postgresql://host/db?user=me&password=***",
        ),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("grpc://host:13000", "grpc://host:13000"),
    ],
)
def test_mask_password(url, masked):
    assert mask_password(url) == masked


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("study.db", "no storage URL"),
        ("nonsense://x", "no driver"),
        ("mysql+nodriver://me:secret@host/db", "no driver"),
        ("sqlite:////proc/nowhere/a.db", "folder"),
        ("journal://relative.log", "three slashes"),
        ("grpc://host", "grpc://host:port"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/db", "cannot open"),
        ("postgresql+psycopg://me:secret@host:port/db", "no storage URL"),
    ],
)
def test_errors_are_one_sentence_without_password(url, message):
    with pytest.raises(StorageError, match=message) as info:
        open_storage(url)
    assert "secret" not in str(info.value)
    assert "\n" not in str(info.value)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "a.db").write_text("no database" * 100)
    with pytest.raises(StorageError, match="not a database"):
        open_storage(f"sqlite:///{tmp_path}/a.db")


def test_tables_of_another_optuna(opened, sqlite_url):
    storage = opened(sqlite_url)
    with engine_of(storage).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num='v99.0.0.a'")
    with pytest.raises(StorageError, match="another version of Optuna"):
        open_storage(sqlite_url)


def test_journal(opened, tmp_path):
    url = f"journal:///{tmp_path}/logs/study.log"
    study = optuna.create_study(study_name="s", storage=opened(url))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert len(optuna.load_study(study_name="s", storage=opened(url)).trials) == 2


def test_grpc_proxy(opened, sqlite_url, free_port):
    pytest.importorskip("grpc", reason="needs the packages grpcio and protobuf")
    code = (
        "import optuna, sys; from s2e_optuna import open_storage\n"
        "optuna.storages.run_grpc_proxy_server("
        "open_storage(sys.argv[1]), host='127.0.0.1', port=int(sys.argv[2]))"
    )
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, sqlite_url, str(free_port)],
        stderr=subprocess.DEVNULL,
    )
    try:
        storage = opened(f"grpc://127.0.0.1:{free_port}")
        study = optuna.create_study(storage=storage)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        assert len(study.trials) == 2
        storage.close()
    finally:
        server.terminate()
        server.wait()


def test_grpc_without_its_packages_says_what_to_install():
    if importlib.util.find_spec("grpc"):
        pytest.skip("grpcio is installed")
    with pytest.raises(StorageError, match="pip install grpcio"):
        open_storage("grpc://127.0.0.1:1")


def test_storage_objects_are_returned(tmp_path):
    memory = optuna.storages.InMemoryStorage()
    assert open_storage(memory) is memory


def test_import_needs_no_torch():
    code = "import sys; from s2e_optuna import open_storage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_postgres(opened, postgres_url):
    storage = opened(postgres_url, heartbeat=10)
    assert isinstance(storage, SharedStorage)
    study = optuna.create_study(storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2


def test_embedded_postgres(postgres, opened):
    storage = opened(f"embedded-postgres:///{postgres.pgdata}")
    optuna.create_study(storage=storage).ask()


def test_lost_connections_are_tried_again(opened, postgres_url):
    storage = opened(postgres_url)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    kill = sqlalchemy.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    admin = sqlalchemy.create_engine(postgres_url)

    def cut(connection, *_):
        # In the middle of the transaction, where pre-ping cannot help.
        if not cuts:
            cuts.append(time.monotonic())
            with admin.connect() as other:
                other.execute(kill)

    for write in (
        lambda: trial.set_user_attr("a", 1),
        lambda: study.tell(trial, 0.5),
    ):
        cuts: list[float] = []
        sqlalchemy.event.listen(engine_of(storage), "before_cursor_execute", cut)
        write()
        sqlalchemy.event.remove(engine_of(storage), "before_cursor_execute", cut)
        assert cuts
    assert storage.lost_at is not None
    assert study.trials[0].value == 0.5
    admin.dispose()


def test_a_batch_survives_a_lost_connection(opened, postgres_url):
    storage = opened(postgres_url)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    assert trial.relative_params == {}
    admin = sqlalchemy.create_engine(postgres_url)
    cuts = []

    def cut(connection, cursor, statement, *_):
        if "trial_params" in statement and not cuts:
            cuts.append(1)
            with admin.connect() as other:
                other.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )

    sqlalchemy.event.listen(engine_of(storage), "before_cursor_execute", cut)
    with storage.batch():
        suggest_schedule(trial, 10)
    assert cuts
    assert study.trials[0].params == trial.params
    admin.dispose()


@pytest.fixture
def impatient(monkeypatch):
    """What is tried again is so at once; the number of pauses."""
    pauses = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(retry_module, "time", clock)
    monkeypatch.setattr(open_module, "time", clock)
    return pauses


def test_a_server_that_is_away_is_tried_again_by_those_who_know_it(impatient, caplog):
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/db"
    with pytest.raises(UnreachableError, match="cannot open"):
        open_storage(url)
    assert impatient == []
    with pytest.raises(UnreachableError, match="cannot open") as info:
        open_storage(url, patience=60.0)
    assert len(impatient) > 10 and 50.0 < sum(impatient) < 70.0
    assert "The database does not answer" in caplog.text and "secret" not in caplog.text
    assert fatal_reason(info.value) is None


def test_a_server_without_a_connection_left_is_waited_for(opened, guest, impatient):
    url, say = guest
    say("GRANT ALL ON SCHEMA public TO {role}")
    say("ALTER ROLE {role} CONNECTION LIMIT 0")
    with pytest.raises(UnreachableError, match="too many connections"):
        open_storage(url, prepare=False)  # who only looks is told at once
    assert impatient == []

    def sleep(seconds):
        impatient.append(seconds)
        say("ALTER ROLE {role} CONNECTION LIMIT 10")

    retry_module.time.sleep = sleep
    optuna.create_study(storage=opened(url))
    assert len(impatient) == 1


def test_a_wrong_name_is_not_tried_again(postgres, impatient):
    with pytest.raises(StorageError, match='database "missing" does not exist') as info:
        open_storage(postgres.get_uri(database="missing", driver="psycopg"), patience=60.0)
    assert impatient == [] and not isinstance(info.value, UnreachableError)


def test_how_many_connections_are_left_is_known(opened, postgres_url, sqlite_url, caplog):
    storage = opened(postgres_url)
    assert 50 < storage.connections_left() < 100
    assert opened(sqlite_url).connections_left() is None
    study = optuna.create_study(storage=storage)
    LocalPool(study, postgres_url, workers=4)._check_connections()
    assert caplog.text == ""
    LocalPool(study, postgres_url, workers=60)._check_connections()
    assert "60 workers need up to 120 connections, and the server has" in caplog.text
