"""What lies in a folder: images, and what is no part of the data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from s2e_optuna.data.matching import IMAGE_ENDINGS
from s2e_optuna.data.words import count, kinds, some
from s2e_optuna.errors import DataError

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pbm"}
    | {".tif", ".tiff"}
)
"""Endings of files that are read as images."""

_SYSTEM = frozenset(
    {"__macosx", "@eadir", "__pycache__", "$recycle.bin", "system volume information"}
    | {"thumbs.db", "desktop.ini", "icon\r"}
)
"""Files and folders that systems leave everywhere, besides hidden ones."""

_OWN_FOLDERS = frozenset({"s2e-out", "s2e-artifacts"})
_OWN_WHERE_NO_IMAGES = frozenset({"artifacts", "storage", "checkpoints"})
_OWN_FILES = frozenset(
    {"model.safetensors", "schedule.json", "comparison.json", "suspects.csv", "report.html"}
)
"""What a search or a training writes: a folder with two of them holds no samples."""


@dataclass
class LeftOut:
    """What is not read, to be said.

    Attributes
    ----------
    endings
        Number of other files where images are expected, by ending.
    own
        Folders that a search has written.
    folders
        Folders beside those that are read.
    beside
        Number of images outside of every folder that is read.
    """

    endings: Counter[str] = field(default_factory=Counter)
    own: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    beside: int = 0

    def words(self) -> tuple[str, ...]:
        """Return what was left out, in sentences."""
        found = []
        if self.endings:
            total = self.endings.total()
            found.append(f"{count(total, 'file')} left out: {kinds(self.endings)}")
        if self.beside:
            found.append(f"{count(self.beside, 'image')} left out: in no folder that is read")
        if self.folders:
            found.append(f"{_folders(self.folders)} left out: neither a part nor a class")
        if self.own:
            found.append(f"{_folders(self.own)} left out: written by s2e")
        return tuple(found)


def _folders(names: list[str]) -> str:
    return f"{'the folder' if len(names) == 1 else 'the folders'} {some(sorted(names))}"


def subfolders(folder: str | os.PathLike[str], left_out: LeftOut | None = None) -> list[str]:
    """Return the names of the folders that may hold samples, in alphabetical order.

    Parameters
    ----------
    folder
        Where to look.
    left_out
        Told what is left out; None tells nobody.

    Raises
    ------
    DataError
        A name is no UTF-8.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir() or is_ignored(entry.name):
                continue
            check_name(entry.path)
            if _is_own(entry):
                if left_out is not None and entry.name not in left_out.own:
                    left_out.own.append(entry.name)
                continue
            found.append(entry.name)
    return sorted(found)


def images_below(
    folder: str | os.PathLike[str], left_out: LeftOut | None = None, *, folders: bool = True
) -> list[str]:
    """Return all images below a folder, in alphabetical order.

    Parameters
    ----------
    folder
        Where to look.
    left_out
        Told what is left out; None tells nobody.
    folders
        Whether to look into its folders, too. If not, only images that cannot be read are told.

    Raises
    ------
    DataError
        A name is no UTF-8.
    """
    found = []
    for name in _files_below(folder, folders):
        ending = os.path.splitext(name)[1].lower()
        if ending in EXTENSIONS:
            check_name(name)
            found.append(name)
        # Beside folders lie tables, storages and notes; inside, whatever is there was meant.
        elif left_out is not None and (folders or ending in IMAGE_ENDINGS):
            left_out.endings[ending or "without ending"] += 1
    return sorted(found)


def images_beside(folder: str | os.PathLike[str]) -> int:
    """Return how many images lie in a folder itself."""
    return len(images_below(folder, folders=False))


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden or a system's own: it is not even mentioned."""
    return name.startswith(".") or name.lower() in _SYSTEM


def check_name(path: str) -> None:
    """Raise DataError where a name is no UTF-8, as in archives of old systems."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{printable(path)} has a name that is no UTF-8: rename it, for example with convmv, "
            "or unpack the archive again with its encoding"
        ) from None


def printable(path: str) -> str:
    """Return a path with bytes that are no UTF-8 written out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _files_below(folder: str | os.PathLike[str], look_into: bool) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if look_into and not is_ignored(name) and name not in _OWN_FOLDERS
        ]
        yield from (os.path.join(place, name) for name in files if not is_ignored(name))


def _is_own(entry: os.DirEntry[str]) -> bool:
    if entry.name in _OWN_FOLDERS:
        return True
    if entry.name in _OWN_WHERE_NO_IMAGES and not images_below(entry.path):
        return True
    return len(_OWN_FILES & set(os.listdir(entry.path))) > 1
