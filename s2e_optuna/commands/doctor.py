"""Checks of the installation, the devices and the storage, each with what to do."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from s2e_optuna.commands.locations import missing_file
from s2e_optuna.cores import available_cores
from s2e_optuna.errors import one_sentence
from s2e_optuna.reporting.terminal import ascii_only
from s2e_optuna.storages.urls import stored_file

MINIMUM_PYTHON = (3, 11)

CLEARLY = 1.2
"""Times as fast as what is usual: more than measurements differ on a machine that is used."""

# Package on the registry to the module that is imported; what a search cannot do without.
NEEDED = {
    "numpy": "numpy",
    "scipy": "scipy",
    "optuna": "optuna",
    "torch": "torch",
    "scikit-learn": "sklearn",
    "safetensors": "safetensors",
    "matplotlib": "matplotlib",
    "plotly": "plotly",
    "optuna-dashboard": "optuna_dashboard",
    "SQLAlchemy": "sqlalchemy",
}
# Only some uses need these.
OPTIONAL = {
    "psycopg": ("psycopg", "PostgreSQL storages", 'pip install "psycopg[binary]"'),
    "grpcio": ("grpc", "the gRPC proxy (grpc://)", 'pip install "s2e-optuna[grpc]"'),
}


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes
    ----------
    name
        What was looked at.
    state
        ``"ok"``, ``"note"`` (works, but worth knowing) or ``"broken"``.
    message
        What was found.
    advice
        What to do about it; empty when there is nothing to do.
    """

    name: str
    state: Literal["ok", "note", "broken"]
    message: str
    advice: str = ""


def examine(storage: str | None = None) -> list[Check]:
    """Look at everything; takes a few seconds, because torch is imported.

    Parameters
    ----------
    storage
        A storage URL to try as well. Nothing is created.
    """
    checks = [_python(), *_packages(), _torchvision(), *_devices(), _processor()]
    if storage is not None:
        checks.append(_storage(storage))
    return checks


def measure() -> Iterator[Check]:
    """Measure each way to run the networks of a stack; takes half a minute."""
    from s2e_optuna.device import resolve_device
    from s2e_optuna.training.speed import measure_executions

    device = resolve_device("auto")
    timings = measure_executions(device)
    for _, group in groupby(timings, lambda timing: (timing.network, timing.input_shape)):
        measured = list(group)
        usual = next(timing.seconds for timing in measured if timing.chosen)
        fastest = min(measured, key=lambda timing: timing.seconds)
        for timing in measured:
            images = "x".join(map(str, timing.input_shape))
            use = " (what auto takes)" if timing.chosen else ""
            advice = ""
            if timing is fastest and usual > CLEARLY * timing.seconds:
                advice = (
                    f"{usual / timing.seconds:.1f} times as fast here as what auto takes: for "
                    f"such images choose --execution {timing.execution}."
                )
            yield Check(
                f"{timing.network} {images} {timing.execution}",
                "ok" if timing.chosen else "note",
                f"{1e3 * timing.seconds:.2f} ms a network and batch of 128, {timing.models} side "
                f"by side, {device.type}{use}",
                advice,
            )


def is_healthy(checks: list[Check]) -> bool:
    """Whether nothing that is needed is broken."""
    return all(check.state != "broken" for check in checks)


def to_dict(checks: list[Check]) -> dict[str, Any]:
    """Return what `print_checks` shows, for programs."""
    return {"healthy": is_healthy(checks), "checks": [asdict(check) for check in checks]}


def print_checks(target: Console, checks: list[Check]) -> None:
    """Print a line for each check, and below them what to do."""
    signs = {"ok": "ok", "note": "-", "broken": "!!"}
    if not ascii_only(target):
        signs = {"ok": "✓", "note": "•", "broken": "✗"}
    colours = {"ok": "green", "note": "yellow", "broken": "bold red"}
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for check in checks:
        # Text, not markup: messages hold brackets, as in s2e-optuna[grpc].
        sign = Text(signs[check.state], colours[check.state])
        table.add_row(sign, Text(check.name), Text(check.message))
        if check.advice:
            table.add_row("", "", Text(check.advice, "italic"))
    target.print(table)
    broken = [check.name for check in checks if check.state == "broken"]
    if broken:
        target.print(f"\n{len(broken)} broken: {', '.join(broken)}. See above for what to do.")
    else:
        target.print("\nAll that is needed works.")


def _python() -> Check:
    version = platform.python_version()
    if sys.version_info < MINIMUM_PYTHON:
        return Check("Python", "broken", version, "Use Python 3.11 or newer.")
    return Check("Python", "ok", f"{version} on {platform.system()} ({sys.prefix})")


def _packages() -> Iterator[Check]:
    for package, module in NEEDED.items():
        error = _import_error(module)
        if error is None:
            yield Check(package, "ok", _version(package))
        elif isinstance(error, ModuleNotFoundError) and error.name == module:
            yield Check(package, "broken", "not installed", f"pip install {package}")
        else:
            yield Check(
                package,
                "broken",
                f"{_version(package)} does not import: {one_sentence(error)}",
                f"pip install --upgrade --force-reinstall {package}",
            )
    for package, (module, use, advice) in OPTIONAL.items():
        error = _import_error(module)
        if error is None:
            yield Check(package, "ok", _version(package))
        else:
            yield Check(package, "note", f"not usable; needed only for {use}", advice)


def _torchvision() -> Check:
    if _import_error("torch") is not None:
        return Check("torchvision", "note", "not tried, because torch does not work")
    from s2e_optuna.data.torchvision_support import torchvision_status

    status = torchvision_status()
    if status.ok:
        return Check("torchvision", "ok", status.message)
    return Check(
        "torchvision",
        "broken",
        status.message,
        "torch and torchvision are built for each other and must come from one place: "
        "pip install --upgrade --force-reinstall torch torchvision",
    )


def _devices() -> Iterator[Check]:
    if _import_error("torch") is not None:
        return
    import torch

    if not torch.cuda.is_available():
        build = torch.version.cuda or torch.version.hip
        why = "this torch has no GPU support" if build is None else "no GPU or driver found"
        yield Check("GPU", "note", f"none: {why}; training runs on the CPU")
        return
    for index in range(torch.cuda.device_count()):
        try:
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            torch.ones(1, device=f"cuda:{index}").add(1).item()
        except RuntimeError as error:
            yield Check(
                f"cuda:{index}",
                "broken",
                one_sentence(error),
                "Check the driver with nvidia-smi, or use --device cpu.",
            )
        else:
            yield Check(
                f"cuda:{index}", "ok", f"{name}, {_gib(free)} of {_gib(total)} GiB memory free"
            )


def _processor() -> Check:
    message = f"{available_cores()} cores"
    if _import_error("torch") is None:
        import torch

        message += f", torch uses {torch.get_num_threads()} threads"
    with contextlib.suppress(AttributeError, OSError, ValueError):  # not every system tells
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        message += f", {_gib(memory)} GiB memory"
    return Check("CPU", "ok", message)


def _storage(url: str) -> Check:
    from s2e_optuna.storages import NoTablesError, mask_password, open_storage

    shown = mask_password(url)
    try:
        if (absent := missing_file(url)) is not None:
            return _missing(shown, absent.parent)
        storage = open_storage(url, prepare=False)
        studies = len(storage.get_all_studies())
    except NoTablesError:
        return _empty(url, shown)
    except Exception as error:  # whatever the driver raises, the user wants to know it
        advice = "Check the address, that the server runs, and the user's rights."
        return Check("storage", "broken", f"{shown}: {one_sentence(error)}", advice)
    try:
        return _opened(url, shown, getattr(storage, "_backend", storage), studies)
    finally:
        if hasattr(storage, "dispose"):
            storage.dispose()


def _opened(url: str, shown: str, backend: object, studies: int) -> Check:
    """Look at what is behind a storage's cache."""
    plural = "study" if studies == 1 else "studies"
    parts = [f"{shown}: {_kind(url, backend)}, {studies} {plural}"]
    current, head = _schema(backend)
    if current is not None:
        parts.append(f"schema {current}")
    file = stored_file(url)
    if file is not None and not os.access(file, os.W_OK):
        return Check("storage", "broken", f"{shown}: {file} cannot be written to", "chmod u+w it.")
    if current != head:
        return Check(
            "storage",
            "broken",
            f"{', '.join(parts)}, but this Optuna needs {head}",
            "optuna storage upgrade --storage URL, after a backup.",
        )
    return _trouble(shown, backend) or Check("storage", "ok", ", ".join(parts))


def _missing(shown: str, folder: Path) -> Check:
    """Say what becomes of a file that is not there."""
    if folder.is_dir() and os.access(folder, os.W_OK):
        return Check("storage", "note", f"{shown}: no such file yet; a search makes it")
    return Check(
        "storage",
        "broken",
        f"{shown}: the folder {folder} does not exist or cannot be written to",
        f"mkdir -p {folder}",
    )


def _empty(url: str, shown: str) -> Check:
    """Say whether a search can make tables in a database that holds none."""
    import sqlalchemy

    from s2e_optuna.storages.health import refusal
    from s2e_optuna.storages.open import resolve_url

    engine = sqlalchemy.create_engine(resolve_url(url), poolclass=sqlalchemy.NullPool)
    if (refused := refusal(engine, tables=False)) is not None:
        return Check(
            "storage",
            "broken",
            f"{shown}: no studies of Optuna yet, and this user may not make tables ({refused})",
            "Let its owner run a search once, or grant this user the right to create tables.",
        )
    return Check("storage", "note", f"{shown}: no studies of Optuna yet; a search makes tables")


def _trouble(shown: str, backend: object) -> Check | None:
    """Look for damage, and try to write; nothing stays."""
    from s2e_optuna.storages.health import damage, refusal

    engine = getattr(backend, "engine", None)
    if engine is None:  # a journal was read whole when it was opened
        return None
    if (found := damage(engine)) is not None:
        return Check(
            "storage",
            "broken",
            f"{shown}: the file is damaged ({found})",
            "Copy it, and save what can be read: sqlite3 COPY .recover | sqlite3 NEW",
        )
    if (refused := refusal(engine, tables=True)) is not None:
        return Check(
            "storage",
            "broken",
            f"{shown}: this user may not write ({refused})",
            "Grant it the right to insert and update in all tables, and to use their sequences.",
        )
    return None


def _kind(url: str, backend: object) -> str:
    scheme = url.split("://", 1)[0].split("+", 1)[0]
    names = {
        "sqlite": "SQLite",
        "postgresql": "PostgreSQL",
        "mysql": "MySQL",
        "grpc": "gRPC proxy",
    }
    return names.get(scheme, type(backend).__name__)


def _schema(backend: object) -> tuple[str | None, str | None]:
    if not hasattr(backend, "get_current_version"):
        return None, None
    return backend.get_current_version(), backend.get_head_version()  # type: ignore[attr-defined]


def _import_error(module: str) -> Exception | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # broken binaries raise what they like
        return error
    return None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown version"


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f}"
