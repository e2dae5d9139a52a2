"""Completion of names in the shell: whatever it calls must answer at once and never complain."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing

import typer

from s2e_optuna.commands.locations import studies_folder, study_scripts
from s2e_optuna.storages.urls import default_storage, stored_file


def one_of(names: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Complete one of these names."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def studies(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a study in a SQLite file; other storages would take too long."""
    url = context.params.get("storage") or os.environ.get("S2E_STORAGE") or default_storage()
    file = stored_file(url)
    if file is None or not url.startswith("sqlite") or not file.is_file():
        return []
    try:
        # Read directly: importing Optuna takes longer than a person waits for a key.
        address = f"{file.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=0.2)) as connection:
            rows = connection.execute("SELECT study_name FROM studies ORDER BY study_id DESC")
            return [name for (name,) in rows if name.startswith(incomplete)]
    except sqlite3.Error:
        return []


def benchmarks(incomplete: str) -> list[str]:
    """Complete the name of a study for ``s2e bench``."""
    folder = studies_folder()
    names = [] if folder is None else study_scripts(folder)
    return [name for name in names if name.startswith(incomplete)]
