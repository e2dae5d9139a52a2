"""Digests of samples; those of files are remembered while these do not change."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.errors import DataError

Digests = NDArray[np.uint64]

_FRESH = 2 * 10**9
"""Nanoseconds after a change in which a file may change again and keep its time of change."""

_READ_AT_ONCE = 1 << 20

_logger = logging.getLogger(__name__)


def digest_of(content: bytes | memoryview) -> int:
    """Return a digest of 8 bytes as a number."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def digests_of_rows(samples: Tensor) -> Digests:
    """Return the digest of each sample's numbers, uint64 [N]."""
    rows = np.ascontiguousarray(samples.numpy()).reshape(len(samples), -1)
    return np.array([digest_of(row.data) for row in rows], dtype=np.uint64)


def digests_of_files(files: Sequence[str], folder: Path | None) -> Digests:
    """Return the digest of each file's content.

    Parameters
    ----------
    files
        Their paths.
    folder
        Where digests are remembered by path, size and time of change; None remembers none.

    Returns
    -------
    ndarray
        uint64 [N].

    Raises
    ------
    DataError
        A file cannot be read.
    """
    if not files:
        return np.empty(0, dtype=np.uint64)
    started = time.time_ns()
    found = [_stat(file) for file in files]
    keys = np.array(
        [
            digest_of(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
            for file, stat in zip(files, found, strict=True)
        ],
        dtype=np.uint64,
    )
    place = None
    if folder is not None:
        above = os.path.commonpath([os.path.dirname(min(files)), os.path.dirname(max(files))])
        place = folder / f"{hashlib.sha256(above.encode()).hexdigest()[:32]}.npy"
    known = _read(place)
    at = np.searchsorted(known[0], keys).clip(max=max(len(known[0]) - 1, 0))
    is_known = known[0][at] == keys if len(known[0]) else np.zeros(len(keys), dtype=np.bool_)
    digests = np.zeros(len(keys), dtype=np.uint64)
    digests[is_known] = known[1][at[is_known]]
    new = np.flatnonzero(~is_known).tolist()
    if new:
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            digests[new] = list(pool.map(_digest, (files[i] for i in new)))
        if place is not None:
            # Only of files that can no longer change unseen.
            old = np.array([started - stat.st_mtime_ns > _FRESH for stat in found])
            # Other parts of the same data may have been looked at before.
            both = np.concatenate([known, np.stack([keys[old], digests[old]])], axis=1)
            _, first = np.unique(both[0], return_index=True)
            _write(place, both[:, first])
    return digests


def _stat(file: str) -> os.stat_result:
    try:
        return os.stat(file)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error


def _digest(file: str) -> int:
    found = hashlib.blake2b(digest_size=8)
    try:
        with open(file, "rb") as content:
            while block := content.read(_READ_AT_ONCE):
                found.update(block)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    return int.from_bytes(found.digest(), "little")


def _read(place: Path | None) -> Digests:
    """Return keys, in order, and digests [2, N]; nothing where there is no such file."""
    nothing = np.empty((2, 0), dtype=np.uint64)
    if place is None:
        return nothing
    try:
        found: Digests = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or damaged: made anew
        return nothing
    return found if found.dtype == np.uint64 and found.ndim == 2 and len(found) == 2 else nothing


def _write(place: Path, found: Digests) -> None:
    partial = place.with_suffix(f".{os.getpid()}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.save(file, found, allow_pickle=False)
        partial.replace(place)
    except OSError as error:
        _logger.info("Digests of files are not kept in %s: %s", place.parent, error)
        with contextlib.suppress(OSError):
            partial.unlink()
