"""Data by name, path or in memory: bundled digits, torchvision's sets, files, torch data sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from s2e_optuna.data.assemble import (
    SPLIT_SEED,
    Rows,
    assemble,
    dataset_arrays,
    from_arrays,
    stratified_order,
)
from s2e_optuna.data.class_numbers import number_classes
from s2e_optuna.data.image_cache import read_images
from s2e_optuna.data.images import (
    OnImages,
    Size,
    image_size_of,
    list_image_folder,
)
from s2e_optuna.data.label_tables import (
    LabelTable,
    encode_labels,
    match_rows,
    read_labels,
    table_classes,
)
from s2e_optuna.data.noise import Noise
from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.data.npz import read_npz
from s2e_optuna.data.spec import DATA_SETS, TORCHVISION_SETS
from s2e_optuna.data.streaming import ImageFiles, should_stream
from s2e_optuna.data.torchvision_support import torchvision_datasets
from s2e_optuna.errors import DataError

NPZ_ARRAYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "y_clean")
"""Arrays of an ``.npz`` file."""

_TABLES = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".parquet"})

InMemory = tuple[Any, Any] | Dataset[Any]
"""Images and labels, or a torch data set of such pairs."""


@dataclass(frozen=True, eq=False)
class _Source:
    """What lies where the data come from: arguments for `from_arrays`, all but the options."""

    name: str
    arrays: dict[str, Any]
    class_names: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None


def load_data(
    source: str | Path | InMemory = "digits",
    *,
    noise: Noise | None = None,
    noise_rate: float | None = None,
    seed: int = 0,
    validation: str = "auto",
    train_size: int | None = None,
    labels: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    clean_column: str | None = None,
    image_size: int | Size | None = None,
    data_root: str | Path | None = None,
    download: bool = True,
    progress: OnImages | None = None,
) -> NoisyData:
    """Load a data set and, if asked, put label noise on its training part.

    Parameters
    ----------
    source
        ``digits`` (bundled with scikit-learn: 8x8 images, 1,000 / 397 / 400 for training,
        validation and test), ``mnist``, ``fashion_mnist``, ``kmnist``, ``cifar10``,
        ``cifar100`` (torchvision), the path of an ``.npz`` file with x_train, y_train and
        optionally x_val, y_val, x_test, y_test, y_clean, class_names, or of an image folder; or
        a pair (images, labels), or a torch ``Dataset`` of such pairs. Labels are numbers 0 .. C-1
        or 1 .. C, or names of the classes.
    noise, noise_rate, seed
        Label noise: ``"symmetric"``, ``"pair"`` or ``"instance"`` with its rate; a file with a
        transition matrix, or the matrix itself; and its seed. Without `noise` the labels are
        taken as they are.
    validation
        ``"clean"``: the validation part, or a random half of the test part. ``"noisy"``: cut
        from the noisy training data. ``"auto"``: clean if there is such a part.
    train_size
        Use only that many training samples; of an image folder no others are decoded.
    labels, path_column, label_column, clean_column
        A table with the given labels of the training samples and its columns, or a file that
        `save_labels` has written; see `read_labels`. The training part is what it lists.
    image_size
        Resize the images of a folder to this side, or (height, width).
    data_root
        Folder for downloads and decoded images; by default a folder of the user's cache.
    download
        Whether torchvision may download.
    progress
        Told how many images have been decoded, and how many there are.

    Raises
    ------
    DataError
        One sentence that says what is wrong and what to do.
    """
    if labels is None and (path_column or label_column or clean_column):
        raise DataError("a column was named without a table of labels: give labels, too")
    if labels is not None and noise is not None:
        raise DataError(f"the labels come from {labels}: leave noise out, or leave labels out")
    table = None
    if labels is not None:
        table = read_labels(
            labels,
            path_column=path_column,
            label_column=label_column,
            clean_column=clean_column,
        )
    options: dict[str, Any] = {
        "noise": noise,
        "noise_rate": noise_rate,
        "seed": seed,
        "validation": validation,
        "train_size": train_size,
    }
    named = isinstance(source, str) and source in DATA_SETS
    if not named and isinstance(source, str | Path) and Path(source).expanduser().is_dir():
        root = default_root() if data_root is None else Path(data_root).expanduser()
        size = image_size_of(image_size)
        folder = Path(source).expanduser()
        return _image_folder(folder, size, table, root / "images", progress, options)
    loaded = _numbered(_find(source, data_root, download))
    if table is not None:
        loaded = _with_table(loaded, table)
        options["noise_words"] = f"labels of {table.source}"
    return _assemble_arrays(loaded, options)


def _assemble_arrays(loaded: _Source, options: Mapping[str, Any]) -> NoisyData:
    words = options.get("noise_words")
    plain = {key: value for key, value in options.items() if key != "noise_words"}
    data = from_arrays(
        **loaded.arrays,
        name=loaded.name,
        class_names=loaded.class_names,
        ids=loaded.ids,
        **plain,
    )
    return data if words is None else replace(data, noise=words)


def _find(source: str | Path | InMemory, root: str | Path | None, download: bool) -> _Source:
    if isinstance(source, tuple | list):
        if len(source) != 2:
            raise DataError(f"{len(source)} arrays are no data set: give a pair (images, labels)")
        return _Source("arrays", {"x_train": source[0], "y_train": source[1]})
    if isinstance(source, Dataset):
        images, given = dataset_arrays(source)
        names = getattr(source, "classes", None)
        class_names = None if names is None else tuple(map(str, names))
        return _Source(type(source).__name__, {"x_train": images, "y_train": given}, class_names)
    if isinstance(source, str) and source in DATA_SETS:
        return _digits() if source == "digits" else _torchvision_set(source, root, download)
    path = Path(source).expanduser()
    if path.suffix == ".npz":
        return _npz(path)
    if path.exists() and path.suffix.lower() in _TABLES:
        raise DataError(
            f"{path} is a table: if it holds features, save them as arrays x_train and y_train of "
            "an .npz file with numpy.savez, or give them to S2EClassifier; if it holds labels, "
            "give the data first and the table as labels"
        )
    if path.exists():
        raise DataError(
            f"{path} is neither a folder of images nor an .npz file: give one of these"
        )
    raise DataError(
        f"unknown data set {str(source)!r}: choose one of {', '.join(DATA_SETS)}, or give the "
        "path of an .npz file or an image folder"
    )


def _numbered(loaded: _Source) -> _Source:
    """Turn labels into numbers 0 .. C-1, so that a table of labels can refer to them."""
    labels = {name: values for name, values in loaded.arrays.items() if name.startswith("y_")}
    numbered, class_names = number_classes(labels, loaded.class_names)
    names = None if class_names is None else tuple(class_names)
    return replace(loaded, arrays={**loaded.arrays, **numbered}, class_names=names)


def _with_table(loaded: _Source, table: LabelTable) -> _Source:
    """Replace the training labels by those of a table; what it does not list is left out."""
    count = len(loaded.arrays["y_train"])
    ids = loaded.ids or tuple(map(str, range(count)))
    rows = match_rows(table, ids, loaded.name)
    names = loaded.class_names
    if names is None:
        highest = max(int(np.max(np.asarray(loaded.arrays["y_train"]))), 0)
        names = tuple(map(str, range(highest + 1)))
    given, clean, rows = _in_order(table, names, rows)
    arrays = dict(loaded.arrays)
    arrays["x_train"] = arrays["x_train"][rows]
    arrays["y_train"] = given
    arrays["y_clean"] = clean
    return replace(loaded, arrays=arrays, class_names=names, ids=tuple(ids[i] for i in rows))


def _in_order(
    table: LabelTable, class_names: tuple[str, ...], rows: Rows
) -> tuple[Rows, Rows | None, Rows]:
    """Return given and true labels and positions, in the order of the samples."""
    order = np.argsort(rows)
    # Together: names and numbers are told apart by what most labels are.
    both = encode_labels([*table.given, *(table.clean or ())], class_names, table.source)
    given, clean = both[: len(order)], both[len(order) :]
    return given[order], None if table.clean is None else clean[order], rows[order]


def _image_folder(
    folder: Path,
    size: Size | None,
    table: LabelTable | None,
    cache: Path,
    progress: OnImages | None,
    options: Mapping[str, Any],
) -> NoisyData:
    parts, class_names = list_image_folder(folder, labelled=table is None)
    paths = {part: listing.paths for part, listing in parts.items()}
    found = {part: listing.labels for part, listing in parts.items()}
    words, clean = "as given", None
    if table is not None:
        rows = match_rows(table, parts["train"].paths, str(folder))
        columns = [column for column in (table.given, table.clean) if column is not None]
        class_names = table_classes(columns, class_names)
        given, clean, rows = _in_order(table, class_names, rows)
        paths["train"] = tuple(paths["train"][i] for i in rows)
        found["train"] = given
        words = f"labels of {table.source}"

    def read(wanted: Mapping[str, tuple[str, Rows]]) -> dict[str, Tensor]:
        # One array for all parts, so that they agree on colour; each part is a slice of it.
        chosen = {
            part: [paths[source][i] for i in index] for part, (source, index) in wanted.items()
        }
        files = [path for part in chosen.values() for path in part]
        if (shape := should_stream([folder / path for path in files], size)) is not None:
            streams: dict[str, Any] = {
                part: ImageFiles([folder / path for path in part_files], shape)
                for part, part_files in chosen.items()
            }
            return streams
        pixels = torch.from_numpy(read_images(folder, files, size, cache, progress))
        slices = torch.split(pixels, [len(part) for part in chosen.values()])
        return dict(zip(chosen, slices, strict=True))

    return assemble(
        {part: torch.from_numpy(values) for part, values in found.items() if values is not None},
        read,
        y_clean=None if clean is None else torch.from_numpy(clean),
        name=folder.resolve().name,
        class_names=class_names,
        n_classes=None,
        ids=paths["train"],
        noise_words=words,
        **options,
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
