"""Parquet and Arrow files, as ``datasets`` of Hugging Face stores them: parts, columns, classes.

Names of classes are in each file's own description: two files may number them in another order.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_optuna.data.split import part_of
from s2e_optuna.data.words import some
from s2e_optuna.errors import DataError

_BATCH = 256
"""Rows that are in memory at a time."""

_SAVED = ("dataset_dict.json", "dataset_info.json")
"""One of them is in a folder that ``save_to_disk`` wrote."""


@dataclass(frozen=True)
class ArrowFile:
    """A file of the data, and the part that it belongs to."""

    path: Path
    part: str

    def batches(self) -> Iterator[Any]:
        """Yield its rows, some at a time."""
        if self.path.suffix == ".parquet":
            with arrow_module("pyarrow.parquet").ParquetFile(self.path) as file:
                yield from file.iter_batches(_BATCH)
            return
        arrow = arrow_module("pyarrow")
        with arrow.memory_map(str(self.path)) as source:
            for batch in arrow.ipc.open_stream(source):
                for start in range(0, len(batch), _BATCH):
                    yield batch.slice(start, _BATCH)

    def schema(self) -> Any:
        """Return names and types of its columns."""
        if self.path.suffix == ".parquet":
            return arrow_module("pyarrow.parquet").read_schema(self.path)
        arrow = arrow_module("pyarrow")
        with arrow.memory_map(str(self.path)) as source:
            return arrow.ipc.open_stream(source).schema


def arrow_module(name: str) -> Any:
    """Import pyarrow or a part of it; it is not always there."""
    return importlib.import_module(name)


def is_saved(place: Path) -> bool:
    """Whether a folder is one that ``save_to_disk`` of ``datasets`` wrote."""
    return place.is_dir() and any((place / name).is_file() for name in _SAVED)


def arrow_files(place: Path) -> list[ArrowFile]:
    """Return the files of a data set; none where it is something else.

    Parameters
    ----------
    place
        A parquet file, a folder of such files, or one that ``save_to_disk`` of ``datasets`` wrote.

    Raises
    ------
    DataError
        The description of a saved data set cannot be read.
    """
    try:
        return saved_files(place) if is_saved(place) else parquet_files(place)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {place}: {error!r} in its description") from error


def parquet_files(place: Path) -> list[ArrowFile]:
    """Return a parquet file, or those in a folder."""
    if place.is_file():
        return [ArrowFile(place, "train")] if place.suffix.lower() == ".parquet" else []
    if not place.is_dir():
        return []
    found = sorted(place.glob("*.parquet"))
    if not found:
        inner = [one for one in place.iterdir() if one.name == "data" or part_of(one.name)]
        found = sorted(path for folder in inner for path in folder.glob("*.parquet"))
    return [ArrowFile(path, _part(path, place)) for path in found]


def _part(path: Path, root: Path) -> str:
    """Return the part that a file belongs to, by its name (train-00000-of-00002) or folder."""
    names = [
        path.stem.partition("-")[0],
        *(parent.name for parent in path.relative_to(root).parents),
    ]
    return next((part for name in names if (part := part_of(name)) is not None), "train")


def saved_files(place: Path) -> list[ArrowFile]:
    """Return the files of a data set, or of each part of one, that was saved."""
    parts = {"train": place}
    with contextlib.suppress(FileNotFoundError):
        named = json.loads((place / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        parts = {name: place / name for name in named}
    found = []
    for name, folder in parts.items():
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        part = part_of(name)
        if part is None:
            raise DataError(
                f"the part {name} of {place} is none of train, validation and test: give the "
                f"folder of one part, such as {folder}"
            )
        found += [ArrowFile(folder / one["filename"], part) for one in state["_data_files"]]
    return found


@dataclass(frozen=True)
class Described:
    """Columns of a file.

    Attributes
    ----------
    image
        The column with images; None where there is none.
    names
        Column with class numbers to the names of its classes, as this file has them.
    others
        All columns of texts and whole numbers.
    every
        All columns but the images.
    """

    image: str | None
    names: Mapping[str, list[str]]
    others: tuple[str, ...]
    every: tuple[str, ...]


def describe(file: ArrowFile) -> Described:
    """Read what a file tells of itself.

    Raises
    ------
    DataError
        It has several columns of images.
    """
    types = arrow_module("pyarrow").types
    schema = file.schema()
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = metadata.get("info", {}).get("features") or {}
    images, others = [], []
    for field in schema:
        kind = field.type
        is_struct = types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        if is_struct or types.is_binary(kind) or types.is_large_binary(kind):
            images.append(field.name)
        elif types.is_integer(kind) or types.is_boolean(kind) or _is_text(types, kind):
            others.append(field.name)
    if len(images) > 1:
        raise DataError(
            f"{file.path} has {len(images)} columns of images ({some(images)}): keep one of them"
        )
    names = {
        name: [str(one) for one in feature["names"]]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and name in others
    }
    every = tuple(field.name for field in schema if field.name not in images)
    return Described(images[0] if images else None, names, tuple(others), every)


def _is_text(types: Any, kind: Any) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind))


def cell_of(value: Any, names: Sequence[str] | None) -> str:
    """Write a value of a column; a class by its name, as its own file has it."""
    if value is None or (names is not None and value == -1):
        return ""
    if names is None:
        return str(value)
    if not 0 <= value < len(names):
        raise DataError(
            f"a label is {value}, and there are {len(names)} names of classes: correct the labels"
        )
    return str(names[value])
