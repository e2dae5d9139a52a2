"""Where things lie: the default storage, files behind storage URLs, the studies folder."""

from __future__ import annotations

import shlex
from pathlib import Path

from s2e_optuna.artifacts.folder import stored_file
from s2e_optuna.reporting.errors import InputError


def default_storage() -> str:
    """Return the storage URL for someone who names none: a file in ``storage/`` or here."""
    return "sqlite:///storage/s2e.db" if Path("storage").is_dir() else "sqlite:///s2e.db"


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


def studies_folder() -> Path | None:
    """Find the folder of studies: in the working directory, or beside the package."""
    for root in (Path.cwd(), Path(__file__).resolve().parents[2]):
        folder = root / "studies"
        if folder.is_dir() and study_scripts(folder):
            return folder
    return None


def study_scripts(folder: Path) -> list[str]:
    """Names of the studies in a folder, as ``s2e bench`` takes them."""
    return sorted(
        file.stem for file in folder.glob("*.py") if not file.stem.startswith(("_", "test_"))
    )


def shell(*words: str) -> str:
    """Write a command so that it can be pasted into a shell."""
    return shlex.join(words)
