"""Where things lie: the default storage, files behind storage URLs, the studies folder."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

from s2e_optuna.errors import InputError
from s2e_optuna.storages.urls import stored_file
from s2e_optuna.stored_names import COMPARISON_FILE, RESULTS_FILE


def missing_file(url: str) -> Path | None:
    """Return the file behind a storage URL if it does not exist yet."""
    file = stored_file(url)
    return file if file is not None and not file.exists() else None


def require_existing(url: str) -> str:
    """Return ``url``; InputError if its file does not exist, so that reading creates nothing."""
    if (absent := missing_file(url)) is not None:
        raise InputError(
            f"there is no storage file {absent}: give the one of your search with --storage."
        )
    return url


def written_beside(listed: Path) -> Path | None:
    """Return what the search or training of a list has written about itself; None if nothing."""
    places = [listed.with_name(name) for name in (COMPARISON_FILE, RESULTS_FILE)]
    found = [place for place in places if place.is_file()]
    return max(found, key=lambda place: place.stat().st_mtime, default=None)  # the list's own


def studies_folder() -> Path | None:
    """Find the folder of studies: in the working directory, or beside the package."""
    for root in (Path.cwd(), Path(__file__).resolve().parents[2]):
        folder = root / "studies"
        if folder.is_dir() and study_scripts(folder):
            return folder
    return None


def study_scripts(folder: Path) -> dict[str, str]:
    """Names of the programs in a folder, as ``s2e bench`` takes them, and what they say they do.

    A program asks whether it is the main module; what does not is only imported by others.
    """
    sources = {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py"))}
    return {
        name: (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        for name, source in sources.items()
        if '__name__ == "__main__"' in source
    }


def shell(*words: str) -> str:
    """Write a command so that it can be pasted into a shell."""
    return shlex.join(words)
