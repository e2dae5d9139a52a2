"""What every command does: sentences in place of tracebacks, storages opened, JSON printed."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import typer

from s2e_optuna.commands.locations import require_existing
from s2e_optuna.commands.takes import as_flags

R = TypeVar("R")


@contextmanager
def sentences(interrupted: str = "Interrupted.", config: type | None = None) -> Iterator[None]:
    """Say in one sentence what a user can do something about; other errors pass.

    Options of a configuration that a sentence names are written as the command line knows them.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo(interrupted, err=True)
        raise typer.Exit(130) from error
    except Exception as error:
        from s2e_optuna.errors import explain

        if (said := explain(error)) is None:
            raise
        message, code = said
        fail(message if config is None else as_flags(message, config), code)


def with_workers_early(command: Callable[..., R]) -> Callable[..., R]:
    """Make local processes, for trials and for final trainings, before anything else is done."""

    @functools.wraps(command)
    def run(**given: Any) -> R:
        if given["launcher"] != "local":
            return command(**given)
        from s2e_optuna.search.processes import final_processes, processes_early

        workers = max(1, given["workers"])
        final = final_processes(workers)
        with processes_early(workers + (final if final > 1 else 0)):
            return command(**given)

    return run


def tolerate_narrow_encodings() -> None:
    """Let standard output write ``?`` for what its encoding lacks: no crash over a name."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and not (stream.encoding or "").startswith("utf"):
            stream.reconfigure(errors="replace")


def fail(message: str, code: int = 2) -> NoReturn:
    """End the command with a sentence on standard error."""
    from s2e_optuna.errors import one_line

    typer.echo(f"s2e: {one_line(message)}", err=True)
    raise typer.Exit(code)


def silence_optuna() -> None:
    """Let Optuna log warnings only."""
    import optuna

    # A line a trial would tear up the display; warnings are still shown.
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_existing(url: str, *, prepare: bool = False) -> Any:
    """Open a storage that exists: as it is, or prepared for who changes what is in it."""
    from s2e_optuna.storages import open_storage
    from s2e_optuna.storages.urls import stored_file

    silence_optuna()
    require_existing(url)
    is_file = stored_file(url) is not None  # a server's database may be new
    if prepare and is_file:
        open_storage(url, prepare=False)  # refuses another program's, which is not to be changed
    return open_storage(url, prepare=prepare)


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object to standard output."""
    # NaN is no JSON: other programs could not read it.
    typer.echo(json.dumps(content, allow_nan=False))
