"""Every private name of Optuna that is used, and storages where one of them has changed."""

import re
import shutil
import sqlite3
from pathlib import Path

import optuna
import pytest
import sqlalchemy
import worker_jobs
from command_line import PATIENCE, ROOT, run, start
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy.dialects import mysql, postgresql, sqlite

from s2e_optuna import open_storage
from s2e_optuna.search.worker import run_worker
from s2e_optuna.storages import private, proxy, rdb, tables
from s2e_optuna.storages.cached import SharedStorage
from s2e_optuna.storages.open import MisfitWarning

# One contract for each name: what this Optuna has is what is used.


@pytest.mark.parametrize("name", [private.HEARTBEAT, private.SERVICER, private.ADD_SERVICER])
def test_a_name_is_there(name):
    if "_grpc" in name[0]:
        pytest.importorskip("grpc", reason="needs the packages grpcio and protobuf")
    assert private.find(name).__name__ == name[1]


def test_the_module_that_workers_import_early_is_there():
    assert models.__name__ == private.MAPPED_CLASSES


def test_storages_with_heartbeats_have_these_methods():
    assert private.find(private.HEARTBEAT).__abstractmethods__ == private.HEARTBEAT_METHODS
    assert set(dir(RDBStorage)) >= private.HEARTBEAT_METHODS


def test_optuna_uses_the_engine_that_is_observed(opened, sqlite_url):
    backend = opened(sqlite_url)._backend
    seen = []
    sqlalchemy.event.listen(backend.engine, "begin", lambda connection: seen.append(1))
    RDBStorage.get_all_studies(backend)
    assert seen == [1]


def test_braces_in_a_url_are_templates_of_optuna(opened, tmp_path):
    opened(f"sqlite:///{tmp_path}/{{SCHEMA_VERSION}}.db")
    assert (tmp_path / "{SCHEMA_VERSION}.db").exists()


def test_the_schema_is_this_one(opened, sqlite_url):
    assert opened(sqlite_url)._backend.get_head_version() == tables.SCHEMA


@pytest.mark.parametrize("name", sorted(set(tables.METADATA.tables) - {"alembic_version"}))
def test_a_table_is_optuna_s(name):
    ours, theirs = tables.METADATA.tables[name], models.BaseModel.metadata.tables[name]
    for column in ours.columns:
        other = theirs.columns[column.name]
        assert column.primary_key == other.primary_key
        for dialect in (sqlite.dialect(), postgresql.dialect(), mysql.dialect()):
            kinds = [c.type.compile(dialect=dialect) for c in (column, other)]
            assert kinds[0] == kinds[1]
        assert getattr(column.type, "enums", None) == getattr(other.type, "enums", None)
    unique = {
        frozenset(constraint.columns.keys())
        for constraint in theirs.constraints
        if isinstance(constraint, sqlalchemy.UniqueConstraint)
    }
    for constraint in ours.constraints:
        if isinstance(constraint, sqlalchemy.UniqueConstraint):
            assert frozenset(constraint.columns.keys()) in unique


def test_studies_and_trials_have_what_every_sampler_uses():
    study = optuna.create_study()
    trial = study.ask()
    assert study._storage.get_trial(trial._trial_id).number == 0
    assert study.trials[0]._trial_id == trial._trial_id
    assert study._storage.get_study_name_from_id(study._study_id) == study.study_name


# An Optuna of the future.


def rename_heartbeat(monkeypatch):
    monkeypatch.setattr(private, "HEARTBEAT", (private.HEARTBEAT[0], "BaseBeat"))


def move_heartbeat(monkeypatch):
    monkeypatch.setattr(private, "HEARTBEAT", ("optuna.storages._beats", "BaseHeartbeat"))


def another_method(monkeypatch):
    monkeypatch.setattr(private, "HEARTBEAT_METHODS", {*private.HEARTBEAT_METHODS, "_beat"})


def another_schema(monkeypatch):
    monkeypatch.setattr(rdb, "SCHEMA", "v9.0.0.a")


def rename_engine(monkeypatch):
    def set_attribute(self, name, value):
        object.__setattr__(self, "_motor" if name == "engine" else name, value)

    def get_attribute(self, name):
        if name == "engine":
            return self._motor
        raise AttributeError(name)

    monkeypatch.setattr(RDBStorage, "__setattr__", set_attribute)
    monkeypatch.setattr(RDBStorage, "__getattr__", get_attribute, raising=False)


CHANGES = [rename_heartbeat, move_heartbeat, another_method, another_schema, rename_engine]


@pytest.fixture
def stock_of():
    """Open a storage on a changed Optuna; it must be Optuna's own, with one warning."""
    made = []

    def open_it(url, **options):
        with pytest.warns(MisfitWarning) as caught:
            made.append(open_storage(url, **options))
        assert len(caught) == 1 and "has changed" in str(caught[0].message)
        assert type(made[-1]).__module__.startswith("optuna.")
        return made[-1]

    yield open_it
    for storage in made:
        backend = storage._backend
        storage.remove_session()
        (getattr(backend, "engine", None) or backend._motor).dispose()


@pytest.mark.parametrize("change", CHANGES)
def test_an_optuna_that_has_changed_gives_its_own_storage(
    change, stock_of, sqlite_url, tmp_path, monkeypatch
):
    change(monkeypatch)
    study = optuna.create_study(study_name="s", storage=stock_of(sqlite_url, heartbeat=10))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    elsewhere = optuna.load_study(study_name="s", storage=stock_of(sqlite_url))
    elsewhere.enqueue_trial({"x": 0.5})
    elsewhere.tell(elsewhere.ask(), 0.1)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert study.best_value <= 0.1
    # SQLite's settings are the same: they need no private name.
    other = sqlite3.connect(tmp_path / "study.db", timeout=0)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with study._storage._backend.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.close()


def test_an_optuna_that_has_changed_can_be_looked_at(stock_of, stock, monkeypatch):
    rename_heartbeat(monkeypatch)
    before = stock.read_bytes()
    storage = stock_of(f"sqlite:///{stock}", prepare=False)
    assert len(optuna.load_study(study_name="s", storage=storage).trials) == 2
    assert stock.read_bytes() == before


def test_postgres_of_an_optuna_that_has_changed(stock_of, postgres_url, monkeypatch):
    another_schema(monkeypatch)
    study = optuna.create_study(storage=stock_of(postgres_url, heartbeat=10))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert len(study.trials) == 2


@pytest.mark.filterwarnings("ignore::s2e_optuna.storages.open.MisfitWarning")
def test_workers_and_commands_go_on_with_an_optuna_that_has_changed(sqlite_url, monkeypatch):
    rename_heartbeat(monkeypatch)
    study = worker_jobs.new_study(open_storage(sqlite_url, heartbeat=10), 5)
    assert not isinstance(study._storage, SharedStorage)
    assert run_worker(sqlite_url, "s", make_job=worker_jobs.quick, threads=1, stack=2) == 5
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
    shown = run(f"show --storage {sqlite_url} --study s")
    assert shown.exit_code == 0 and "5 complete" in shown.stdout
    study._storage._backend.engine.dispose()


def test_a_proxy_of_an_optuna_that_has_changed_is_its_own(sqlite_url, monkeypatch):
    pytest.importorskip("grpc", reason="needs the packages grpcio and protobuf")
    monkeypatch.setattr(proxy, "SERVICER", ("optuna.storages._grpc.server", "Proxy"))
    served, ready = [], []
    monkeypatch.setattr(
        proxy, "run_grpc_proxy_server", lambda storage, **kw: served.append((storage, kw["port"]))
    )
    proxy.run_proxy(sqlite_url, port=13001, on_ready=ready.append)
    ((storage, port),) = served
    storage.dispose()
    assert ready == [port] == [13001]


RENAMED = {
    "BaseHeartbeat": "BaseBeat",
    "_get_stale_trial_ids": "_get_lost_trial_ids",
    "self.engine": "self._motor",
    "_read_trials_from_remote_storage": "_read",
    "_add_trials_to_cache": "_remember",
    "_get_trials": "_all_trials",
    "_set_trial_param": "_write_param",
    "_create_new_trial": "_new_trial",
    "_StudyInfo": "_Known",
    "TrialHeartbeatModel": "BeatModel",
    "OptunaStorageProxyService": "ProxyService",
}


@pytest.mark.slow
def test_a_search_on_an_optuna_whose_private_names_are_all_others(tmp_path):
    """In processes of its own, with a copy of Optuna in which they are renamed."""
    shutil.copytree(Path(optuna.__file__).parent, tmp_path / "later" / "optuna")
    for file in (tmp_path / "later" / "optuna").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for old, new in RENAMED.items():
            text = re.sub(rf"(?<![\w.]){re.escape(old)}\b|(?<=\.){re.escape(old)}\b", new, text)
        file.write_text(text, encoding="utf-8")
    paths = {"PYTHONPATH": f"{tmp_path / 'later'}:{ROOT}"}
    storage = f"--storage sqlite:///{tmp_path}/study.db --study s"
    search = f"search digits --train-size 200 --epochs 1 --seeds 0 --folds 0 {storage}"
    for words in (
        f"{search} --trials 3 --workers 2 --stack 1 --quiet",
        f"worker {storage} --quiet",
        f"show {storage}",
    ):
        process = start(words, tmp_path, **paths)
        out, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        assert "has changed" in errors and "Traceback" not in errors
    assert "3 complete" in out
