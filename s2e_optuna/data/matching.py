"""Which sample a name in a table belongs to.

A name belongs to the sample with which it has the longest end in common, counted in folders:
``images/a/1.png``, ``/home/me/photos/a/1.png`` and ``1.png`` all name ``a/1.png``, if nothing else
fits as well. Where no file name fits, names without their endings are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.split import part_of

UNKNOWN, SEVERAL = -1, -2
"""In place of a position: a name of no sample, and one that could be two."""

IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pbm"}
    | {".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".dcm", ".svg", ".raw", ".dng", ".npy"}
)
"""Endings that make a text look like the name of an image."""


@dataclass(frozen=True, eq=False)
class Ties:
    """What names were found to name.

    Attributes
    ----------
    positions
        Of each name's sample, or `UNKNOWN` or `SEVERAL`; int64 [R].
    by_file_name
        Whether file names matched, endings included; booleans [R].
    several
        A name that could be two samples, with these two; None where there is no such name.
    """

    positions: NDArray[np.int64]
    by_file_name: NDArray[np.bool_]
    several: tuple[str, str, str] | None

    @property
    def share(self) -> float:
        """Share of the names that name a sample, or several."""
        return float((self.positions != UNKNOWN).mean()) if len(self.positions) else 0.0


class Samples:
    """Samples that can be looked up by name.

    Parameters
    ----------
    ids
        Their names: paths below a folder, with ``/``, or others.
    folder
        What paths are below; None for samples that are no files.
    parts
        The part of each; None where all train.
    numbered
        Whether the names are nothing but positions in an array.
    """

    def __init__(
        self,
        ids: Sequence[str],
        folder: Path | None = None,
        *,
        parts: Sequence[str] | NDArray[np.str_] | None = None,
        numbered: bool = False,
    ) -> None:
        self.ids = ids
        self.numbered = numbered
        self._parts = parts
        self._folder = _split(folder.resolve().as_posix()) if folder is not None else []
        self._known = {name: position for position, name in enumerate(ids)}
        self._by_name: dict[str, list[int]] = {}
        self._by_stem: dict[str, list[int]] = {}
        self._folders: set[str] = set()
        for position, name in enumerate(ids):
            above, _, last = name.rpartition("/")
            self._by_name.setdefault(last, []).append(position)
            self._by_stem.setdefault(stem(last), []).append(position)
            if above:
                self._folders.update(above.split("/"))

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, part: str) -> NDArray[np.int64]:
        """Return the positions of a part's samples."""
        if self._parts is None:
            return np.arange(len(self.ids) if part == "train" else 0)
        return np.flatnonzero(np.asarray(self._parts) == part)

    def tie(self, names: Sequence[str], parts: Sequence[str] | None = None) -> Ties:
        """Find the sample of each name.

        Of names that fit the same sample those stay that have most in common with its path: the
        others name files that are not there.

        Parameters
        ----------
        names
            What stands in a table.
        parts
            The part that each belongs to, where samples of several parts fit as well; by default
            the training part.
        """
        wanted = ["train"] * len(names) if parts is None else parts
        found = [self._find(name, part) for name, part in zip(names, wanted, strict=True)]
        best: dict[int, int] = {}
        for tie in found:
            best[tie.position] = max(best.get(tie.position, 0), tie.common)
        return Ties(
            np.array(
                [t.position if t.common == best[t.position] else UNKNOWN for t in found],
                dtype=np.int64,
            ),
            np.array([tie.by_file_name for tie in found], dtype=np.bool_),
            next((tie.several for tie in found if tie.several is not None), None),
        )

    def _find(self, name: str, part: str) -> _Tie:
        parts = _split(name)
        if not parts or (self.numbered and name not in self._known):
            return _NOTHING
        for above in range(len(parts)):  # the whole path of a sample is the end of the name
            position = self._known.get("/".join(parts[above:]))
            if position is not None:
                if above and _other_part(parts[above - 1], self._folder[-1:]):
                    return _NOTHING
                common = len(parts) - above + _common_end(parts[:above], self._folder)
                return _Tie(position, common, True, None)
        tie = self._closest(name, part, parts, self._by_name.get(parts[-1], ()), True)
        if tie is not _NOTHING:
            return tie
        cut = [*parts[:-1], stem(parts[-1])]
        return self._closest(name, part, cut, self._by_stem.get(cut[-1], ()), False)

    def _closest(
        self, name: str, part: str, parts: list[str], candidates: Iterable[int], whole: bool
    ) -> _Tie:
        """Choose among samples with this file name, or (if not whole) this stem."""
        fitting = list(self._fitting(parts, candidates, whole))
        if not fitting:
            return _NOTHING
        most = max(common for _, common in fitting)
        best = [position for position, common in fitting if common == most]
        if len(best) > 1 and self._parts is not None:
            best = [i for i in best if self._parts[i] == part] or best
        if len(best) > 1:
            return _Tie(SEVERAL, 0, whole, (name, self.ids[best[0]], self.ids[best[1]]))
        return _Tie(best[0], most, whole, None)

    def _fitting(
        self, parts: list[str], candidates: Iterable[int], whole: bool
    ) -> Iterator[tuple[int, int]]:
        for position in candidates:
            own = self.ids[position].split("/")
            if not whole:
                own[-1] = stem(own[-1])
            path = [*self._folder, *own]
            common = _common_end(parts, path)
            # A folder that the data have, or another part, is another place.
            if common < len(parts):
                differs = parts[-common - 1]
                there = differs in self._folders and common < len(own)
                if there or _other_part(differs, path[-common - 1 : len(path) - common]):
                    continue
            yield position, common


@dataclass(frozen=True)
class _Tie:
    position: int
    common: int
    by_file_name: bool
    several: tuple[str, str, str] | None


_NOTHING = _Tie(UNKNOWN, 0, False, None)


def stem(name: str) -> str:
    """Return a file name without its ending, if that is one of an image.

    Examples
    --------
    >>> stem("ISIC_0000.7.jpg"), stem("ISIC_0000.7")
    ('ISIC_0000.7', 'ISIC_0000.7')
    """
    before, point, ending = name.rpartition(".")
    return before if point and f".{ending.lower()}" in IMAGE_ENDINGS else name


def looks_like_file(text: str) -> bool:
    """Whether a text has the ending of an image."""
    return stem(text) != text


def _split(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


def _common_end(first: Sequence[str], second: Sequence[str]) -> int:
    common = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        common += 1
    return common


def _other_part(folder: str, own: Sequence[str]) -> bool:
    """Whether two folders are different parts of a data set, such as train and val."""
    part = part_of(folder)
    return part is not None and bool(own) and part_of(own[-1]) not in (None, part)
