"""Where things lie: the default storage, files behind storage URLs, the studies folder."""

from __future__ import annotations

import shlex
from pathlib import Path

from s2e_optuna.reporting.errors import InputError

ARTIFACTS = "artifacts"

_FILE_SCHEMES = {"sqlite", "journal", "embedded-postgres"}


def default_storage() -> str:
    """Return the storage URL for someone who names none: a file in ``storage/`` or here."""
    return "sqlite:///storage/s2e.db" if Path("storage").is_dir() else "sqlite:///s2e.db"


def stored_file(url: str) -> Path | None:
    """Return the file or folder behind a storage URL; None for servers and SQLite in memory."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.split("+")[0] not in _FILE_SCHEMES:
        return None
    name = rest.partition("?")[0].removeprefix("/")
    return Path(name).expanduser() if name and name != ":memory:" else None


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


def artifact_folder(url: str) -> Path | None:
    """Return the folder of artifacts beside a storage's file, if there is one."""
    file = stored_file(url)
    candidates = [Path("storage") / ARTIFACTS] if file is None else [file.parent / ARTIFACTS]
    return next((folder for folder in candidates if folder.is_dir()), None)


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
