"""Reading ``.npz`` files of strangers: no pickle, every failure one sentence."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from s2e_optuna.errors import DataError


def npz_names(path: str | Path) -> list[str]:
    """Return the names of the arrays of an ``.npz`` file, in order; see `read_npz`."""
    with _opened(Path(path)) as archive:
        return sorted(archive.files)


def read_npz(
    path: str | Path, wanted: Collection[str], required: Collection[str]
) -> dict[str, NDArray[Any]]:
    """Read some arrays of an ``.npz`` file.

    Parameters
    ----------
    path
        The file.
    wanted
        Names to read where they exist; other arrays are not touched.
    required
        Names that must exist.

    Raises
    ------
    DataError
        The file is missing, damaged, lacks an array or holds Python objects.
    """
    place = Path(path)
    with _opened(place) as archive:
        found = sorted(archive.files)
        arrays = {name: archive[name] for name in wanted if name in archive}
    missing = [name for name in required if name not in arrays]
    if missing:
        raise no_such_arrays(place, missing, found)
    return arrays


def no_such_arrays(place: Path, missing: Collection[str], found: Collection[str]) -> DataError:
    """Return the error of a file that lacks arrays.

    Parameters
    ----------
    place
        The file.
    missing, found
        Names of arrays that it should have, and of those that it has.
    """
    return DataError(
        f"{place} has no array {' and '.join(missing)}, only {', '.join(found) or 'none'}: "
        "name its arrays so"
    )


@contextmanager
def _opened(place: Path) -> Iterator[NpzFile]:
    if not place.is_file():
        raise DataError(f"there is no file {place}: check the path")
    try:
        with place.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise DataError(
                    f"cannot read {place}: it is truncated or no .npz file, so write it again "
                    "with numpy.savez"
                )
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                yield archive
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        reason = (
            "it holds Python objects, which are not read because they could run code"
            if "allow_pickle" in str(error)
            else "one of its arrays is damaged"
        )
        raise DataError(
            f"cannot read {place}: {reason}; write it again with numpy.savez and plain arrays"
        ) from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(
            f"cannot read {place}: it is damaged ({error}), so write it again with numpy.savez"
        ) from error
