"""What a storage URL names is what is opened."""

import contextlib
import warnings
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.exc import SAWarning

from s2e_optuna.commands.locations import missing_file
from s2e_optuna.storages import StorageError, open_storage
from s2e_optuna.storages.urls import is_in_memory, stored_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("urls")


def opened_by_sqlite(url):
    """The file that SQLite says it has open; None in memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            file = connection.exec_driver_sql("PRAGMA database_list").first()[2]
    return Path(file) if file else None


NAMES = st.text("ab. %?#&=~:+{}@é2035F", min_size=1, max_size=8).filter(
    lambda name: name.strip(".") and not name.startswith("~")
)


@given(NAMES, st.sampled_from(["raw", "quoted", "address"]), st.sampled_from(["", "timeout=3"]))
@example("a%20b.db", "raw", "")
@example("a%20b.db", "address", "")
@example("q?x.db", "raw", "")
@example("q?x.db", "quoted", "")
@example("q?x=1.db", "raw", "")
@example("a%3Fb", "address", "timeout=3")
@example("a#b", "address", "")
def test_the_file_of_a_url_is_the_one_that_sqlite_opens(folder, name, kind, option):
    place = f"{folder}/{name}"
    if kind == "quoted":
        url = sqlalchemy.URL.create("sqlite", database=place).render_as_string()
    else:
        url = f"sqlite:///file:{place}" if kind == "address" else f"sqlite:///{place}"
    options = "&".join(filter(None, ["uri=true" if kind == "address" else "", option]))
    url += f"{'&' if '?' in url else '?'}{options}" if options else ""
    try:
        named = stored_file(url)
    except StorageError as error:
        assert "?" in url and "is no option of SQLite" in str(error)
        return
    with contextlib.suppress(sqlalchemy.exc.OperationalError):  # an option that SQLite refuses
        assert opened_by_sqlite(url) == named


@pytest.mark.parametrize("name", ["a b", "a%20b", "a%b", "a#b", "{a}", "ä", "a:b", "a@b"])
def test_what_is_looked_for_is_what_is_made(opened, tmp_path, name):
    url = f"sqlite:///{tmp_path}/{name}/{name}.db"
    file = missing_file(url)
    assert file == stored_file(url) is not None
    opened(url)
    assert missing_file(url) is None
    assert file.exists() and list(tmp_path.iterdir()) == [file.parent]


@pytest.mark.parametrize("name", ["a?b", "a b", "a%20b", "{a}"])
def test_in_names_of_journals_nothing_is_escaped(opened, tmp_path, name):
    url = f"journal:///{tmp_path}/{name}/study.log"
    assert missing_file(url) == tmp_path / name / "study.log"
    opened(url)
    assert (tmp_path / name / "study.log").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///q?x.db", "'x.db' is no option of SQLite"),
        ("sqlite:///q?mode=ro", "'mode=ro' is no option of SQLite"),
        ("sqlite://host/x.db", "needs three slashes"),
    ],
)
def test_what_sqlite_would_leave_out_is_refused(url, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for prepare in (True, False):
        with pytest.raises(StorageError, match=message):
            open_storage(url, prepare=prepare)
    assert list(tmp_path.iterdir()) == []


def test_looking_at_a_file_that_is_not_there_makes_none(tmp_path):
    for url in (f"sqlite:///{tmp_path}/a/b.db", f"journal:///{tmp_path}/a/b.log"):
        with pytest.raises(StorageError, match="there is no storage file"):
            open_storage(url, prepare=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite://", None),
        ("sqlite:///", None),
        ("sqlite+pysqlite:///?timeout=3", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file::memory:?uri=true", None),
        ("sqlite:///file:x?mode=memory&cache=shared&uri=true", None),
        ("sqlite:///a.db?timeout=3", "a.db"),
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite:///file:/a/b.db?mode=ro&uri=true", "/a/b.db"),
        ("sqlite:///file:///a/b.db?mode=ro&uri=true", "/a/b.db"),
        ("sqlite:///file:a.db", "file:a.db"),
        ("journal:///a/b.log", "a/b.log"),
        ("embedded-postgres:////a/b", "/a/b"),
    ],
)
def test_files_and_databases_in_memory(url, file):
    assert stored_file(url) == (None if file is None else Path(file))
    assert is_in_memory(url) == (file is None)


@pytest.mark.parametrize("url", ["grpc://host:13000", "postgresql://me@host/db", "nonsense"])
def test_servers_have_no_file(url):
    assert stored_file(url) is None and not is_in_memory(url)
