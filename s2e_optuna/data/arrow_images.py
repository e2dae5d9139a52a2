"""Images in parquet and Arrow files, as ``datasets`` of Hugging Face stores them.

Each row has the bytes of an image file and its label; names of classes are in the file's own
description. Images are written to a folder of the cache as they are, and columns to a table beside
it: from then on they are a folder of images with a table of labels.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_optuna.data.arrow_files import (
    ArrowFile,
    Described,
    arrow_files,
    arrow_module,
    cell_of,
    describe,
    is_saved,
    parquet_files,
)
from s2e_optuna.data.file_digests import digests_of_files
from s2e_optuna.data.folder_contents import EXTENSIONS
from s2e_optuna.data.images import OnImages
from s2e_optuna.data.label_columns import LABEL_COLUMNS
from s2e_optuna.data.pretrained_vectors import remove_unused
from s2e_optuna.data.words import count
from s2e_optuna.errors import DataError

PATH, SPLIT = "path", "split"
"""Columns of the table beside the images."""

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
    if not (files := arrow_files(place)):
        return None
    try:
        errors = arrow_module("pyarrow").ArrowException
    except ImportError as error:
        if not is_saved(place):  # a table, perhaps: its reader says what to install
            return None
        raise DataError(
            f"{place} is a data set that pyarrow reads: install s2e-optuna[parquet]"
        ) from error
    try:
        described = [describe(file) for file in files]
        if any(one.image is None for one in described):
            return None
        return _written(place, files, described, cache, progress)
    except (errors, OSError, EOFError, KeyError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise DataError(f"cannot read {place}: {error}") from error


def holds_images(place: Path) -> bool:
    """Tell whether a parquet file has a column of images, and so is no table of measurements.

    False where it cannot be read, or pyarrow is missing.
    """
    try:
        errors = arrow_module("pyarrow").ArrowException
    except ImportError:
        return False
    try:
        files = parquet_files(place)
        return bool(files) and all(describe(file).image is not None for file in files)
    except (errors, OSError, ValueError):
        return False


def _written(
    place: Path,
    files: list[ArrowFile],
    described: list[Described],
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
    files: list[ArrowFile],
    described: list[Described],
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
                        cell_of(rows[c][row], about.names.get(c)) if c in rows else ""
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
