"""Data by name or path: bundled digits, torchvision's sets, ``.npz`` files, image folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s2e_optuna.training.data import SPLIT_SEED, NoisyData, from_arrays, stratified_order
from s2e_optuna.training.errors import DataError
from s2e_optuna.training.images import read_image_folder
from s2e_optuna.training.npz import read_npz
from s2e_optuna.training.torchvision_support import torchvision_datasets

TORCHVISION_SETS = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
"""Names of data sets that torchvision downloads, and its classes for them."""

DATA_SETS = ("digits", *TORCHVISION_SETS)
"""Names that `load_data` knows, besides paths."""

NPZ_ARRAYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")


@dataclass(frozen=True, eq=False)
class _Source:
    """Arguments for `from_arrays` that come from where the data lie."""

    name: str
    arrays: dict[str, Any]
    class_names: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None


def load_data(
    source: str | Path = "digits",
    *,
    noise: str | None = None,
    noise_rate: float | None = None,
    seed: int = 0,
    validation: str = "auto",
    train_size: int | None = None,
    root: str | Path | None = None,
    download: bool = True,
    image_size: int | tuple[int, int] | None = None,
) -> NoisyData:
    """Load a data set and, if asked, put label noise on its training part.

    Parameters
    ----------
    source
        ``digits`` (bundled with scikit-learn: 8x8 images, 1,000 / 397 / 400 for training,
        validation and test), ``mnist``, ``fashion_mnist``, ``kmnist``, ``cifar10``,
        ``cifar100`` (torchvision), the path of an ``.npz`` file with x_train, y_train and
        optionally x_val, y_val, x_test, y_test, class_names, or of an image folder.
    noise, noise_rate, seed
        Label noise: ``"symmetric"`` or ``"pair"``, its rate and its seed. Without `noise` the
        labels are taken as they are and the truth counts as unknown.
    validation
        ``"clean"``: the validation part, or a random half of the test part. ``"noisy"``: cut
        from the noisy training data. ``"auto"``: clean if there is such a part.
    train_size
        Use only that many training samples.
    root
        Folder for downloads; by default a folder of the user's cache.
    download
        Whether torchvision may download.
    image_size
        Resize the images of a folder to this side, or (height, width).

    Raises
    ------
    DataError
        One sentence that says what is wrong and what to do.
    """
    loaded = _find(source, root, download, image_size)
    return from_arrays(
        **loaded.arrays,
        name=loaded.name,
        class_names=loaded.class_names,
        ids=loaded.ids,
        noise=noise,
        noise_rate=noise_rate,
        seed=seed,
        validation=validation,
        train_size=train_size,
    )


def _find(
    source: str | Path,
    root: str | Path | None,
    download: bool,
    image_size: int | tuple[int, int] | None,
) -> _Source:
    if isinstance(source, str) and source in DATA_SETS:
        return _digits() if source == "digits" else _torchvision_set(source, root, download)
    path = Path(source).expanduser()
    if path.is_dir():
        return _image_folder(path, image_size)
    if path.suffix == ".npz":
        return _npz(path)
    if path.exists():
        raise DataError(
            f"{path} is neither a folder of images nor an .npz file: give one of these"
        )
    raise DataError(
        f"unknown data set {str(source)!r}: choose one of {', '.join(DATA_SETS)}, or give the "
        "path of an .npz file or an image folder"
    )


def _digits() -> _Source:
    from sklearn.datasets import load_digits

    bundle = load_digits()
    images = (bundle.images / 16.0).astype(np.float32)  # 0..16 in the source
    labels = bundle.target.astype(np.int64)
    order = stratified_order(labels, np.random.default_rng(SPLIT_SEED))
    train, val, test = order[:1000], order[1000:1397], order[1397:]
    arrays = {
        f"{axis}_{part}": values[index]
        for part, index in (("train", train), ("val", val), ("test", test))
        for axis, values in (("x", images), ("y", labels))
    }
    return _Source("digits", arrays, ids=tuple(str(i) for i in train))


def _torchvision_set(source: str, root: str | Path | None, download: bool) -> _Source:
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
    return _Source(source, arrays, class_names=tuple(str(name) for name in train.classes))


def default_root() -> Path:
    """Folder for downloads when the user names none."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "s2e_optuna"


def _npz(path: Path) -> _Source:
    arrays = read_npz(path, [*NPZ_ARRAYS, "class_names"], required=["x_train", "y_train"])
    names = arrays.pop("class_names", None)
    return _Source(path.stem, arrays, None if names is None else tuple(map(str, names)))


def _image_folder(path: Path, image_size: int | tuple[int, int] | None) -> _Source:
    parts, class_names = read_image_folder(path, image_size)
    arrays: dict[str, Any] = {}
    for name, part in parts.items():
        arrays |= {f"x_{name}": part.images, f"y_{name}": part.labels}
    return _Source(path.resolve().name, arrays, class_names, parts["train"].paths)
