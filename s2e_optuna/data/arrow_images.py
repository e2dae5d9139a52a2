"""Images in parquet and Arrow files, as ``datasets`` of Hugging Face stores them.

Each row has the bytes of an image file and its label; names of classes are in the file's own
description. Images are written to a folder of the cache as they are, and columns to a table beside
it: from then on they are a folder of images with a table of labels.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_optuna.data.file_digests import digests_of_files
from s2e_optuna.data.folder_contents import EXTENSIONS
from s2e_optuna.data.images import OnImages
from s2e_optuna.data.label_columns import LABEL_COLUMNS
from s2e_optuna.data.pretrained_vectors import remove_unused
from s2e_optuna.data.split import part_of
from s2e_optuna.data.words import count, some
from s2e_optuna.errors import DataError

PATH, SPLIT = "path", "split"
"""Columns of the table beside the images."""

_BATCH = 256
"""Rows that are in memory at a time."""

_BEGINNINGS = {
    b"\x89PNG": ".png",
    b"\xff\xd8": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}
"""How image files begin."""

_SAVED = ("dataset_dict.json", "dataset_info.json")
"""One of them is in a folder that ``save_to_disk`` wrote."""

_FORMAT = "s2e arrow images 1"


@dataclass(frozen=True)
class ArrowImages:
    """Images that have become a folder.

    Attributes
    ----------
    folder
        Where they are.
    table
        Table with their labels.
    label_column
        Its column with labels; None where its name tells.
    layout
        What the data were taken for.
    """

    folder: Path
    table: Path
    label_column: str | None
    layout: str


@dataclass(frozen=True)
class _File:
    """A file of the data, and the part that it belongs to."""

    path: Path
    part: str

    def batches(self) -> Iterator[Any]:
        """Yield its rows, some at a time."""
        if self.path.suffix == ".parquet":
            with _arrow("pyarrow.parquet").ParquetFile(self.path) as file:
                yield from file.iter_batches(_BATCH)
            return
        arrow = _arrow("pyarrow")
        with arrow.memory_map(str(self.path)) as source:
            for batch in arrow.ipc.open_stream(source):
                for start in range(0, len(batch), _BATCH):
                    yield batch.slice(start, _BATCH)

    def schema(self) -> Any:
        """Return names and types of its columns."""
        if self.path.suffix == ".parquet":
            return _arrow("pyarrow.parquet").read_schema(self.path)
        arrow = _arrow("pyarrow")
        with arrow.memory_map(str(self.path)) as source:
            return arrow.ipc.open_stream(source).schema


def _arrow(name: str) -> Any:
    return importlib.import_module(name)


def arrow_images(place: Path, cache: Path, progress: OnImages | None = None) -> ArrowImages | None:
    """Turn parquet or Arrow files with images into a folder of images and a table.

    Parameters
    ----------
    place
        A parquet file, a folder of such files, or one that ``save_to_disk`` of ``datasets`` wrote.
    cache
        Folder for the images.
    progress
        Told how many images have been written, and how many there are.

    Returns
    -------
    ArrowImages or None
        None where these are no images.

    Raises
    ------
    DataError
        The files cannot be read, or pyarrow is missing.
    """
    saved = place.is_dir() and any((place / name).is_file() for name in _SAVED)
    try:
        files = _saved_files(place) if saved else _parquet_files(place)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read {place}: {error!r} in its description") from error
    if not files:
        return None
    try:
        errors = _arrow("pyarrow").ArrowException
    except ImportError as error:
        if not saved:  # a table, perhaps: its reader says what to install
            return None
        raise DataError(
            f"{place} is a data set that pyarrow reads: install s2e-optuna[parquet]"
        ) from error
    try:
        described = [_describe(file) for file in files]
        if any(one is None for one in described):
            return None
        columns = [one for one in described if one is not None]
        return _written(place, files, columns, cache, progress)
    except (errors, OSError, EOFError, KeyError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise DataError(f"cannot read {place}: {error}") from error


def holds_images(place: Path) -> bool:
    """Tell whether a parquet file has a column of images, and so is no table of measurements.

    False where it cannot be read, or pyarrow is missing.
    """
    try:
        errors = _arrow("pyarrow").ArrowException
    except ImportError:
        return False
    try:
        files = _parquet_files(place)
        return bool(files) and all(_describe(file) is not None for file in files)
    except (errors, OSError, ValueError):
        return False


def _parquet_files(place: Path) -> list[_File]:
    if place.is_file():
        return [_File(place, "train")] if place.suffix.lower() == ".parquet" else []
    if not place.is_dir():
        return []
    found = sorted(place.glob("*.parquet"))
    if not found:
        inner = [one for one in place.iterdir() if one.name == "data" or part_of(one.name)]
        found = sorted(path for folder in inner for path in folder.glob("*.parquet"))
    return [_File(path, _part(path, place)) for path in found]


def _part(path: Path, root: Path) -> str:
    """Return the part that a file belongs to, by its name (train-00000-of-00002) or folder."""
    names = [
        path.stem.partition("-")[0],
        *(parent.name for parent in path.relative_to(root).parents),
    ]
    return next((part for name in names if (part := part_of(name)) is not None), "train")


def _saved_files(place: Path) -> list[_File]:
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
        found += [_File(folder / one["filename"], part) for one in state["_data_files"]]
    return found


@dataclass(frozen=True)
class _Described:
    """Columns of a file.

    Attributes
    ----------
    image
        The column with images.
    names
        Column with class numbers to the names of its classes, as this file has them.
    others
        All columns of texts and numbers.
    """

    image: str
    names: Mapping[str, list[str]]
    others: tuple[str, ...]


def _describe(file: _File) -> _Described | None:
    """Read what a file tells of itself; None where it has no images."""
    types = _arrow("pyarrow").types
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
    if not images:
        return None
    if len(images) > 1:
        raise DataError(
            f"{file.path} has {len(images)} columns of images ({some(images)}): keep one of them"
        )
    names = {
        name: [str(one) for one in feature["names"]]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and name in others
    }
    return _Described(images[0], names, tuple(others))


def _is_text(types: Any, kind: Any) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _written(
    place: Path,
    files: list[_File],
    described: list[_Described],
    cache: Path,
    progress: OnImages | None,
) -> ArrowImages:
    """Write images and table, unless an earlier call has."""
    name = place.resolve().name.removesuffix(".parquet")
    digest = hashlib.blake2b(f"{_FORMAT}\0{name}\0".encode(), digest_size=16)
    digest.update(" ".join(file.part for file in files).encode())
    digest.update(digests_of_files([str(f.path) for f in files], cache / "fingerprints").tobytes())
    root = cache / "extracted"
    above = root / digest.hexdigest()
    parts = sorted({file.part for file in files})
    classes = [column for column in described[0].names]
    is_named = any(column in LABEL_COLUMNS for column in described[0].others)
    found = ArrowImages(
        above / name,
        above / f"{name}.csv",
        classes[0] if len(classes) == 1 and not is_named else None,
        f"images in {count(len(files), 'file')} of {files[0].path.suffix.removeprefix('.')}"
        + ("" if len(parts) == 1 else f" ({', '.join(parts)})"),
    )
    if above.is_dir():
        with contextlib.suppress(OSError):  # only for `remove_unused`
            os.utime(above)
        return found
    root.mkdir(parents=True, exist_ok=True)
    remove_unused(root)
    partial = Path(tempfile.mkdtemp(dir=root))
    try:
        (partial / name).mkdir()
        if not _extract(files, described, partial / name, partial / f"{name}.csv", progress):
            raise DataError(f"{place} has a column of images and no rows: give one for each image")
        partial.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was faster
            partial.rename(above)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return found


def _extract(
    files: list[_File],
    described: list[_Described],
    folder: Path,
    table: Path,
    progress: OnImages | None,
) -> int:
    """Write images and table, and return how many images there are."""
    every = list(dict.fromkeys(name for one in described for name in one.others))
    columns = [name for name in every if name not in (PATH, SPLIT)]
    several = len({file.part for file in files}) > 1
    total = sum(sum(len(batch) for batch in file.batches()) for file in files) if progress else 0
    done = 0
    with table.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow([PATH, *columns, *([SPLIT] if several else [])])
        for file, about in zip(files, described, strict=True):
            for batch in file.batches():
                rows = {name: batch.column(name).to_pylist() for name in about.others}
                for row, image in enumerate(batch.column(about.image).to_pylist()):
                    content, name = _content(image, file.path)
                    path = f"{file.part}-{done:06}{_ending(content, name)}"
                    (folder / path).write_bytes(content)
                    cells = [
                        _cell(rows[c][row], about.names.get(c)) if c in rows else ""
                        for c in columns
                    ]
                    writer.writerow([path, *cells, *([file.part] if several else [])])
                    done += 1
                if progress is not None:
                    progress(done, total)
    return done


def _content(image: Any, file: Path) -> tuple[bytes, str]:
    """Return the bytes of an image, and the name of its file if it has one."""
    if isinstance(image, bytes):
        return image, ""
    content, name = (image or {}).get("bytes"), (image or {}).get("path") or ""
    if content is not None:
        return content, name
    beside = file.parent / name
    if name and beside.is_file():
        return beside.read_bytes(), name
    return b"", name  # as broken as any other image that cannot be read


def _ending(content: bytes, name: str) -> str:
    found = Path(name).suffix.lower()
    if found in EXTENSIONS:
        return found
    return next((end for start, end in _BEGINNINGS.items() if content.startswith(start)), ".png")


def _cell(value: Any, names: list[str] | None) -> str:
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
