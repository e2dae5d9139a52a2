"""Data sets known by name: the digits of scikit-learn and torchvision's sets."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.assemble import SPLIT_SEED
from s2e_optuna.data.spec import TORCHVISION_SETS
from s2e_optuna.data.strata import stratified_order
from s2e_optuna.data.torchvision_support import torchvision_datasets
from s2e_optuna.errors import DataError


@dataclass(frozen=True, eq=False)
class Source:
    """Arrays of a data set.

    Attributes
    ----------
    name
        What it is called.
    arrays
        By the names of the arguments of `s2e_optuna.data.from_arrays`.
    class_names, ids
        Names of the classes and of the training samples, where they are known.
    layout
        What it was taken for.
    words
        What else there is to say, in sentences.
    """

    name: str
    arrays: dict[str, Any]
    class_names: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    layout: str = "arrays"
    words: tuple[str, ...] = ()


def named_set(name: str, root: str | Path | None, download: bool) -> Source:
    """Read one of `DATA_SETS`.

    Parameters
    ----------
    name
        Its name.
    root
        Folder for downloads.
    download
        Whether torchvision may download.

    Raises
    ------
    DataError
        It is not there, or damaged.
    """
    return _digits() if name == "digits" else _torchvision_set(name, root, download)


def _bundled_digits() -> NDArray[np.float64]:
    """Read the digits of scikit-learn, pixels and label a row [1797, 65].

    From its file, where that is where it has always been: to import scikit-learn takes a second
    of every process that reads them.
    """
    package = importlib.util.find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return np.loadtxt(path, delimiter=",")
    from sklearn.datasets import load_digits

    bundle = load_digits()
    return np.column_stack([bundle.data, bundle.target])


def _digits() -> Source:
    rows = _bundled_digits()
    images = (rows[:, :64].reshape(-1, 8, 8) / 16.0).astype(np.float32)  # 0..16 in the source
    labels = rows[:, 64].astype(np.int64)
    order = stratified_order(labels, np.random.default_rng(SPLIT_SEED))
    train, val, test = order[:1000], order[1000:1397], order[1397:]
    arrays = {
        f"{axis}_{part}": values[index]
        for part, index in (("train", train), ("val", val), ("test", test))
        for axis, values in (("x", images), ("y", labels))
    }
    ids = tuple(str(i) for i in train)
    return Source("digits", arrays, ids=ids, layout="the digits of scikit-learn")


def _torchvision_set(source: str, root: str | Path | None, download: bool) -> Source:
    folder = default_root() if root is None else Path(root).expanduser()
    loader = getattr(torchvision_datasets(), TORCHVISION_SETS[source])
    try:
        if download:
            folder.mkdir(parents=True, exist_ok=True)
        train = loader(str(folder), train=True, download=download)
        test = loader(str(folder), train=False, download=download)
    # torchvision reports missing and damaged files, and failed downloads, in many ways.
    except (RuntimeError, OSError, ValueError, EOFError, AssertionError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"cannot load {source} from {folder} ({reason}): check the connection, or delete the "
            "files of this data set there and let it be downloaded again"
        ) from error
    arrays = {
        "x_train": np.asarray(train.data),
        "y_train": np.asarray(train.targets),
        "x_test": np.asarray(test.data),
        "y_test": np.asarray(test.targets),
    }
    names = tuple(str(name) for name in train.classes)
    return Source(source, arrays, class_names=names, layout=f"{source} of torchvision")


def default_root() -> Path:
    """Folder for downloads when the user names none."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "s2e_optuna"
