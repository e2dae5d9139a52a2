"""Labels in files of arrays: ``.npz``, and the ``.pt`` and ``.npy`` files of CIFAR-N.

The latter are pickles. Nothing but arrays, numbers and texts in lists and dictionaries is made of
them, so no code of the file can run.
"""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from s2e_optuna.data.label_columns import CLEAN_COLUMNS, LABEL_COLUMNS, Wanted
from s2e_optuna.data.npz import npz_names, read_npz
from s2e_optuna.errors import DataError

ARRAY_FILES = (".npz", ".npy", ".pt", ".pth")
"""Endings of files with arrays of labels."""

_RECONSTRUCT, _SCALAR = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]

_ALLOWED: dict[str, Any] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "_codecs.encode": codecs.encode,
    "numpy.core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy.core.multiarray.scalar": _SCALAR,
    "numpy._core.multiarray.scalar": _SCALAR,
}
"""All that a pickle may name: what arrays are made of."""

_TYPES = tuple(type(np.dtype(code)) for code in "?bBhHiIlLqQfdU")


class Arrays:
    """The arrays of a file that can be labels, by name.

    Parameters
    ----------
    place
        The file.

    Raises
    ------
    DataError
        It is missing or damaged, or holds more than arrays.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._read: dict[str, NDArray[Any]] | None = None
        if place.suffix == ".npz":
            self.names = npz_names(place)
            return
        if not place.is_file():
            raise DataError(f"there is no file {place}: check the path of the labels")
        self._read = _read_npy(place) if place.suffix == ".npy" else _read_torch(place)
        self.names = sorted(self._read)

    def get(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return some of them as texts, all of one length."""
        wanted = list(dict.fromkeys(names))
        found = self._read or read_npz(self.place, wanted, required=wanted)
        columns = {name: _texts(self.place, name, found[name]) for name in wanted}
        if len({len(column) for column in columns.values()}) > 1:
            raise DataError(f"the arrays of {self.place} differ in length: save the labels again")
        return columns

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes, where the file has them."""
        found = self._read or read_npz(self.place, ["class_names"], required=["class_names"])
        return tuple(map(str, found["class_names"].tolist()))

    def choose(self, wanted: Wanted) -> tuple[str, str | None, str | None]:
        """Return the names of the arrays of given and true labels, and of names of samples."""
        for name, option in (
            (wanted.label, "--label-column"),
            (wanted.clean, "--clean-column"),
            (wanted.path, "--path-column"),
        ):
            if name is not None and name not in self.names:
                raise DataError(
                    f"{self.place} has no array {name!r}, only {', '.join(self.names)}: name one "
                    f"with {option}"
                )
        clean = wanted.clean or next((n for n in CLEAN_COLUMNS if n in self.names), None)
        path = wanted.path or ("ids" if "ids" in self.names else None)
        given = wanted.label or next((n for n in ("given", *LABEL_COLUMNS) if n in self.names), "")
        if not given:
            others = [n for n in self.names if n not in (clean, path, "class_names")]
            if len(others) != 1:
                raise DataError(
                    f"{self.place} has no array given, only {', '.join(self.names)}: name the one "
                    "with the labels, --label-column"
                )
            given = others[0]
        return given, clean, path


def _texts(place: Path, name: str, values: NDArray[Any]) -> tuple[str, ...]:
    if values.ndim > 1 and values.size != len(values):
        raise DataError(
            f"the array {name} of {place} has shape {list(values.shape)}: give one label a sample"
        )
    return tuple(map(str, values.ravel().tolist()))


def _read_npy(place: Path) -> dict[str, NDArray[Any]]:
    try:
        with place.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            _, _, kind = header(file)
            if kind.hasobject:
                return _arrays_in(place, _ArraysOnly(file).load())
            file.seek(0)
            return {"given": np.load(file, allow_pickle=False)}
    except (OSError, EOFError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        if isinstance(error, DataError):
            raise
        raise _refused(place, error) from error


def _read_torch(place: Path) -> dict[str, NDArray[Any]]:
    allowed = [(function, name) for name, function in _ALLOWED.items()]
    try:
        with torch.serialization.safe_globals([*allowed, *_TYPES]):
            return _arrays_in(place, torch.load(place, map_location="cpu", weights_only=True))
    # A damaged archive is a RuntimeError, and what may not be made an UnpicklingError.
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        if isinstance(error, DataError):
            raise
        raise _refused(place, error) from error


def _refused(place: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else "truncated"
    return DataError(
        f"cannot read the labels in {place}: it is damaged or holds more than arrays, which could "
        f"run code ({reason}); save them as plain arrays with numpy.savez"
    )


def _arrays_in(place: Path, content: object) -> dict[str, NDArray[Any]]:
    if isinstance(content, np.ndarray) and content.dtype == object and content.size == 1:
        content = content.item()
    if isinstance(content, Mapping):
        found = {
            str(name): np.asarray(values)
            for name, values in content.items()
            if isinstance(values, np.ndarray | torch.Tensor | Sequence)
            and not isinstance(values, str)
        }
        arrays = {name: values for name, values in found.items() if values.dtype != object}
    else:
        arrays = {"given": np.asarray(content)}
    if not arrays or any(values.dtype == object for values in arrays.values()):
        raise DataError(f"{place} holds no arrays of labels: save them with numpy.savez")
    return arrays


class _ArraysOnly(pickle.Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        # Files of Python 2 hold bytes in place of texts.
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no array") from None
