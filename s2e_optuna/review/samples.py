"""Samples of a list as a page shows them: read from what a process beside it prepares.

Nothing here imports torch. Whoever asks for what is not ready yet waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.review.pictures import png_of_bytes, png_of_file

ASK, CONTENTS_READY, SIMILAR_READY = "ask.json", "contents.json", "similar.json"
FILES, IMAGES, TEXTS = "files.json", "images.npy", "texts.json"
FOUND, FEATURES = "found.npy", "features.npy"
"""Names of what is prepared."""

_CHUNK = 8192
_PREFIX = "s2e-review-"
_START = """
import os, sys
os.nice(10)  # who waits for the first card comes first
from s2e_optuna.review.prepare import main
main(sys.argv[1])
"""
_TICK, _STARTED = 0.05, 1.0
"""Seconds between two looks for what is being prepared, at first and later."""


@dataclass(frozen=True)
class Similar:
    """A sample that is like another one.

    Attributes
    ----------
    row
        Its place: in the list, or behind it.
    label
        Its trusted label; None for the label of the list.
    """

    row: int
    label: str | None


Prepare = Callable[[Path], None]


class _Beside:
    """Prepares in a thread of this process, which was asked to: its data are in memory."""

    def __init__(self, prepare: Prepare, folder: Path) -> None:
        self._thread = threading.Thread(target=prepare, args=(folder,), daemon=True)
        self._thread.start()

    def poll(self) -> int | None:
        return None if self._thread.is_alive() else 0

    def kill(self) -> None:
        """Do nothing: it ends by itself."""

    def wait(self) -> None:
        self._thread.join()


class Samples:
    """What a page shows of samples; may be used from many threads, and is a context manager.

    Parameters
    ----------
    size
        Samples of the list.
    ask
        What to prepare, see `s2e_optuna.review.prepare`, or what prepares it in this process,
        given the folder; None where it is not known what the list is about. Then there is nothing
        to show but what the list says itself.
    """

    def __init__(self, size: int, ask: Mapping[str, Any] | Prepare | None) -> None:
        self._size = size
        _remove_left_over()
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
        self.folder = Path(self._folder.name)
        self._lock = os.open(self.folder, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._process: subprocess.Popen[bytes] | _Beside | None = None
        self._contents: dict[str, Any] | None = None if ask is not None else {}
        self._features: dict[str, Any] | None = None if ask is not None else {}
        self._files: list[str | None] = []
        self._texts: list[str] = []
        self._images: NDArray[np.uint8] | None = None
        self._found: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._vectors: NDArray[np.float32] | None = None
        if callable(ask):
            self._process = _Beside(ask, self.folder)
        elif ask is not None:
            (self.folder / ASK).write_text(json.dumps(ask), encoding="utf-8")
            self._process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End what is still being prepared, and remove it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._images = self._vectors = None
        self._folder.cleanup()
        os.close(self._lock)

    @property
    def is_known(self) -> bool:
        """Whether it is known what the list is about."""
        return self._process is not None

    @property
    def is_ready(self) -> bool:
        """Whether pictures and texts are there: nobody has to wait for them."""
        return self._load_contents()

    @property
    def compares(self) -> bool:
        """Whether similar samples are found without waiting."""
        return self._load_features()

    @property
    def error(self) -> str:
        """A sentence about why there is nothing to show; empty where there is something."""
        self._wait(self._load_contents)
        return str((self._contents or {}).get("error", ""))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of the data, as soon as they are known."""
        return tuple((self._contents or {}).get("classes", ()))

    def is_picture(self, row: int) -> bool:
        """Whether there is a picture of a sample."""
        self._wait(self._load_contents)
        if self._files:
            return row < len(self._files) and self._files[row] is not None
        return self._images is not None and bool(self._found[row])

    @property
    def are_small(self) -> bool:
        """Whether pictures are so small that their pixels should be seen."""
        return self._images is not None and max(self._images.shape[1:3]) < 64

    def picture(self, row: int, largest: int) -> bytes:
        """Return a picture as PNG.

        Parameters
        ----------
        row
            Which sample.
        largest
            Pixels of the longer side, at most.

        Raises
        ------
        OSError
            There is none, or it cannot be read.
        """
        if not self.is_picture(row):
            raise OSError("there is no picture")
        if (file := self._files[row] if self._files else None) is not None:
            return png_of_file(file, largest)
        assert self._images is not None
        return png_of_bytes(self._images[row], largest)

    def text(self, row: int) -> str:
        """Return what a sample says in words; empty where it is a picture, or not there."""
        self._wait(self._load_contents)
        return self._texts[row] if row < len(self._texts) else ""

    def similar(
        self, row: int, trusted: NDArray[np.bool_], labels: Mapping[int, str], most: int = 3
    ) -> list[Similar]:
        """Return the samples that are most like another one among those with trusted labels.

        Parameters
        ----------
        row
            The sample.
        trusted
            Whether the labels of the list are [N]; those of samples that are not on it are.
        labels
            What persons have decided, by row.
        most
            How many.
        """
        self._wait(self._load_features)
        vectors = self._vectors
        if vectors is None or not self._found[row]:
            return []
        allowed = self._found.copy()
        allowed[: self._size] &= trusted
        allowed[row] = False
        candidates = np.flatnonzero(allowed)
        wanted, distances = vectors[row], np.empty(len(candidates), np.float32)
        for start in range(0, len(candidates), _CHUNK):  # never all of them in memory
            some = vectors[candidates[start : start + _CHUNK]]
            distances[start : start + len(some)] = ((some - wanted) ** 2).sum(axis=1)
        nearest = candidates[np.argsort(distances, kind="stable")[:most]]
        others = (self._contents or {}).get("others", [])
        found = []
        for one in nearest.tolist():
            is_listed = one < self._size
            found.append(Similar(one, labels.get(one) if is_listed else others[one - self._size]))
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _START, str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the page, which then ends it
        )

    def _wait(self, load: Any) -> None:
        waited = 0.0
        while not load():
            pause = _TICK if waited < _STARTED else 5 * _TICK
            time.sleep(pause)
            waited += pause

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _load_contents(self) -> bool:
        if self._contents is not None:
            return True
        ended = self._ended()
        if (found := _read(self.folder / CONTENTS_READY)) is None:
            if ended:
                self._contents = self._features = {
                    "error": "the process that reads them has ended"
                }
            return ended
        if not found.get("error"):
            self._found = np.load(self.folder / FOUND)
            self._files = _read(self.folder / FILES) or []
            self._texts = _read(self.folder / TEXTS) or []
            if (self.folder / IMAGES).exists():
                self._images = np.load(self.folder / IMAGES, mmap_mode="r")
        self._contents = found
        return True

    def _load_features(self) -> bool:
        if self._features is not None:
            return True
        if not self._load_contents():
            return False
        ended = self._ended()
        if (found := _read(self.folder / SIMILAR_READY)) is None:
            if ended:
                self._features = {}
            return ended
        if (self.folder / FEATURES).exists():
            self._vectors = np.load(self.folder / FEATURES, mmap_mode="r")
        self._features = found
        return True


def _remove_left_over() -> None:
    """Remove what pages that were killed have left; those that are shown hold a lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or in use
            lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
