import io
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from s2e_optuna import open_storage
from s2e_optuna.commands import doctor
from s2e_optuna.commands.doctor import Check, examine, is_healthy, print_checks, to_dict
from s2e_optuna.data import TorchvisionStatus
from s2e_optuna.training.speed import Timing


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_this_installation_is_healthy(stored: str) -> None:
    checks = examine(stored)
    assert is_healthy(checks), [check for check in checks if check.state == "broken"]
    storage = by_name(checks)["storage"]
    assert "SQLite, 1 study" in storage.message and "schema" in storage.message
    assert to_dict(checks)["healthy"] is True


def test_a_storage_that_a_search_would_make_is_only_a_note(tmp_path: Path) -> None:
    check = doctor._storage(f"sqlite:///{tmp_path}/new.db")
    assert check.state == "note" and "no such file yet" in check.message
    assert list(tmp_path.iterdir()) == []


def test_a_database_whose_tables_a_search_would_make_is_only_a_note(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    check = doctor._storage(f"sqlite:///{tmp_path}/empty.db")
    assert check.state == "note" and "no studies of Optuna yet" in check.message
    assert (tmp_path / "empty.db").read_bytes() == b""


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:////nowhere/at/all.db", "does not exist"),
        ("nonsense", "no storage URL"),
        ("sqlite:///q?x.db", "no option of SQLite"),
        ("postgresql+psycopg://me:secret@127.0.0.1:9/db", "127.0.0.1"),
    ],
)
def test_storages_that_cannot_be_used(url: str, said: str) -> None:
    check = doctor._storage(url)
    assert check.state == "broken" and said in check.message and check.advice
    assert "secret" not in check.message + check.advice


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "text.db"
    file.write_text("no database at all, just text " * 50)
    assert doctor._storage(f"sqlite:///{file}").state == "broken"


def test_tables_of_another_optuna(stored: str, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with (
        sqlite3.connect(stored.removeprefix("sqlite:///")) as original,
        sqlite3.connect(old) as database,
    ):
        original.backup(database)  # a copy of the file would miss its write-ahead log
        database.execute("update alembic_version set version_num = 'v0.9.0.a'")
    original.close()
    database.close()
    assert doctor._storage(f"sqlite:///{old}").state == "broken"


def test_a_damaged_file_is_broken(damaged: str) -> None:
    check = doctor._storage(damaged)
    assert check.state == "broken" and "the file is damaged (" in check.message
    assert ".recover" in check.advice


def test_a_healthy_file_stays_as_it_is(stock: Path) -> None:
    before = stock.read_bytes()
    assert doctor._storage(f"sqlite:///{stock}").state == "ok"
    assert stock.read_bytes() == before


def test_a_role_that_may_not_make_tables_is_broken(guest: Any) -> None:
    url, say = guest
    check = doctor._storage(url)
    assert check.state == "broken" and "may not make tables (permission denied" in check.message
    say("GRANT ALL ON SCHEMA public TO {role}")
    check = doctor._storage(url)
    assert check.state == "note" and "a search makes tables" in check.message


def test_a_role_that_may_only_read_is_broken(guest: Any, postgres_url: str) -> None:
    open_storage(postgres_url).dispose()  # type: ignore[attr-defined]
    url, say = guest
    say("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    check = doctor._storage(url)
    assert check.state == "broken" and "may not write (permission denied" in check.message
    say("GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    assert "for sequence" in doctor._storage(url).message
    say("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    assert doctor._storage(url).state == "ok"


def test_torch_and_torchvision_that_do_not_match(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "torchvision 0.1 does not match torch 2 (operator torchvision::nms does not exist)"
    monkeypatch.setattr(
        "s2e_optuna.data.torchvision_support.torchvision_status",
        lambda: TorchvisionStatus(False, "2", "0.1", message),
    )
    check = doctor._torchvision()
    assert check.state == "broken"
    assert "pip install" in check.advice and "torch torchvision" in check.advice


def test_a_missing_and_a_broken_package(monkeypatch: pytest.MonkeyPatch) -> None:

    def fail(module: str) -> Any:
        if module == "plotly":
            raise ModuleNotFoundError("No module named 'plotly'", name="plotly")
        if module == "scipy":
            raise ImportError("libopenblas.so: undefined symbol")
        return None

    monkeypatch.setattr("importlib.import_module", fail)
    checks = by_name(list(doctor._packages()))
    assert checks["plotly"].message == "not installed"
    assert checks["plotly"].advice == "pip install plotly"
    assert "undefined symbol" in checks["scipy"].message
    assert checks["numpy"].state == "ok"


@pytest.mark.parametrize("encoding_is_ascii", [False, True])
def test_what_is_printed(encoding_is_ascii: bool) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii" if encoding_is_ascii else "utf-8")
    checks = [
        Check("fine", "ok", "1.0"),
        Check("grpcio", "note", "not usable", 'pip install "s2e-optuna[grpc]"'),
        Check("torch", "broken", "does not import", "Do this."),
    ]
    print_checks(Console(file=stream, width=80), checks)
    stream.flush()
    text = stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert "s2e-optuna[grpc]" in text and "Do this." in text and "1 broken: torch" in text
    assert text.isascii() is encoding_is_ascii


def measured(monkeypatch: pytest.MonkeyPatch, unfold: float) -> list[Check]:
    """Measure cnn1: folded in 1.5 ms, which is what auto takes, and unfolded in so many."""
    timings = [
        Timing("cnn1", (3, 32, 32), "folded", models=8, seconds=0.0015, chosen=True),
        Timing("cnn1", (3, 32, 32), "unfold", models=8, seconds=1e-3 * unfold, chosen=False),
    ]
    monkeypatch.setattr(
        "s2e_optuna.training.speed.measure_executions", lambda device: iter(timings)
    )
    return list(doctor.measure())


def test_measured_speeds_are_shown_as_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    check, other = measured(monkeypatch, unfold=1.4)
    assert (check.name, check.state) == ("cnn1 3x32x32 folded", "ok")
    assert "1.50 ms" in check.message and "auto" in check.message
    assert (other.state, other.advice) == ("note", "")


def test_what_is_clearly_faster_here_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    check, other = measured(monkeypatch, unfold=1.0)
    assert check.advice == ""
    assert "1.5 times as fast" in other.advice and "--execution unfold" in other.advice
