"""Data by name, path or in memory: bundled digits, torchvision's sets, files, torch data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from s2e_optuna.data.array_layouts import read_arrays
from s2e_optuna.data.arrow_images import PATH, ArrowImages, arrow_images
from s2e_optuna.data.assemble import dataset_arrays, from_arrays
from s2e_optuna.data.checked import Checked, with_checked
from s2e_optuna.data.class_numbers import number_classes
from s2e_optuna.data.division import Found
from s2e_optuna.data.encoder import Encoder
from s2e_optuna.data.feature_tables import is_feature_table, load_feature_table
from s2e_optuna.data.image_folder import FolderOptions, LabelFiles, load_image_folder
from s2e_optuna.data.images import BrokenImages, OnImages, Size, image_size_of
from s2e_optuna.data.matching import Samples
from s2e_optuna.data.named_sets import Source, default_root, named_set
from s2e_optuna.data.noise import Noise
from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.data.pretrained import Features, PretrainedFeatures
from s2e_optuna.data.pretrained_vectors import Extract
from s2e_optuna.data.spec import DATA_SETS, is_own
from s2e_optuna.data.table_columns import TableColumns
from s2e_optuna.data.text_features import TextFeatures, Texts
from s2e_optuna.data.wide_vectors import NO_COMPONENTS, Narrowed, WideVectors
from s2e_optuna.errors import DataError

InMemory = tuple[Any, Any] | Dataset[Any]
"""Images and labels, a training and a test part of these, or a torch data set of pairs."""


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
    split_column: str | None = None,
    val_labels: str | Path | None = None,
    test_labels: str | Path | None = None,
    checked: Checked | None = None,
    label_from_name: str | None = None,
    skip_broken: bool = False,
    image_size: int | Size | None = None,
    drop_columns: Sequence[str] | None = None,
    text_column: str | None = None,
    features: str | None = None,
    views: int = 1,
    components: int | None = None,
    data_root: str | Path | None = None,
    download: bool = True,
    device: str = "auto",
    encoder: Encoder | None = None,
    progress: OnImages | None = None,
    extract: Extract | None = None,
) -> NoisyData:
    """Load a data set and, if asked, put label noise on its training part.

    Parameters
    ----------
    source
        ``digits`` (bundled with scikit-learn: 8x8 images, 1,000 / 397 / 400 for training,
        validation and test), ``mnist``, ``fashion_mnist``, ``kmnist``, ``cifar10``,
        ``cifar100`` (torchvision), the path of an ``.npz`` file with x_train, y_train and
        optionally x_val, y_val, x_test, y_test, y_clean, class_names, ids (or of names such as
        train_images, X and y), of a table of numbers and categories, of a parquet file or a
        saved data set of Hugging Face with images, or of an image folder; or a
        pair (images, labels), two such pairs
        for training and test, or a torch ``Dataset`` of pairs. Labels are whole numbers, names
        of the classes, or one-hot.
    noise, noise_rate, seed
        Label noise: ``"symmetric"``, ``"pair"`` or ``"instance"`` with its rate; a file with a
        transition matrix, or the matrix itself; and its seed. Without `noise` the labels are
        taken as they are.
    validation
        ``"clean"``: the validation part, or a random half of the test part. ``"noisy"``: cut
        from the noisy training data. ``"auto"``: clean if there is such a part.
    train_size
        Use only that many training samples; of an image folder no others are decoded.
    labels, path_column, label_column, clean_column, split_column
        A table with the given labels of the training samples and its columns (of a table of
        features: its own columns), or a file that
        `save_labels` has written; see `read_labels`. The training part is what it lists. A column
        with true labels for half of the rows or fewer makes these the validation part;
        fewer than a hundred count as `checked` instead, unless `validation` is ``"clean"``.
    val_labels, test_labels
        Tables with the labels of validation and test samples, which are then not trained on.
    checked
        True labels of some samples of a validation part that is cut from the training data: a CSV
        file with the columns ``id`` and ``label``, a mapping of ids, or of row numbers where
        samples have no names, to labels, or a pair (samples, labels). See
        `s2e_optuna.labels.expected_validation`.
    label_from_name
        Take labels from file names: ``"auto"``, or a pattern such as ``"{label}_*"``.
    skip_broken
        Leave out images of a folder that cannot be read, and say so.
    image_size
        Resize the images of a folder to this side, or (height, width); by default photographs
        and other large ones to 64.
    drop_columns
        Columns of a table of features that are left out.
    text_column
        Column of a table with the texts that `features` are computed of; see
        `s2e_optuna.data.text_features.TEXT_COLUMNS` for what is taken without it.
    features
        A pretrained network whose features stand for the images: a classifier of torchvision,
        ``"timm:NAME"`` or ``"package.module:function"``; see
        `s2e_optuna.data.pretrained_networks.feature_network`. `image_size` is then the side of
        the images that it gets. Of a table what stands for its texts, see
        `s2e_optuna.data.text_networks.text_network`.
    views
        2 takes the mean of the features of an image and of its mirror image.
    components
        Principal components that features, or vectors in arrays, are reduced to; None: 256 where
        there are more than 512, 0: none.
    data_root
        Folder for downloads, decoded images and features; by default a folder of the user's
        cache.
    download
        Whether torchvision may download.
    device
        Where features are computed.
    encoder
        What makes numbers of a table's cells, of texts or of images, or fewer of wide vectors,
        that of a `Model`; by default it is fitted to the training part.
    progress
        Told how many images have been decoded, and how many there are.
    extract
        Computes features of image files or texts in place of this process, such as
        `s2e_optuna.search.ray_shards.RayShards`.

    Raises
    ------
    DataError
        One sentence that says what is wrong and what to do.
    """
    root = default_root() if data_root is None else Path(data_root).expanduser()
    layout, given = None, source
    if (stored := _arrow_images(source, root, progress)) is not None:
        source, layout = stored.folder, stored.layout
        if labels is None:
            labels, path_column = stored.table, path_column or PATH
            label_column = label_column or stored.label_column
    columns = {
        "path_column": path_column,
        "label_column": label_column,
        "clean_column": clean_column,
        "split_column": split_column,
    }
    files = LabelFiles(labels, columns, val_labels, test_labels)
    _check_options(source, files, noise, label_from_name)
    if drop_columns and not _is_table(source):
        raise DataError("--drop-column is for a table of numbers and categories: leave it out")
    options: dict[str, Any] = {
        "noise": noise,
        "noise_rate": noise_rate,
        "seed": seed,
        "validation": validation,
        "train_size": train_size,
    }
    how_made: dict[str, Any] = {
        "components": components,
        "device": device,
        "cache": root,
        "progress": progress,
        "extract": extract,
    }
    if components and features is None and (_is_folder(source) or _is_table(source)):
        raise DataError(NO_COMPONENTS)
    texts = None
    if _is_table(source):
        texts = _texts(features, text_column, views, encoder, how_made)
    elif text_column is not None:
        raise DataError("--text-column is for a table with texts: leave it out")
    elif features is not None or isinstance(encoder, PretrainedFeatures):
        options["features"] = Features(
            **how_made,
            name=features or "",
            views=views,
            side=_side(image_size),
            fitted=encoder if isinstance(encoder, PretrainedFeatures) else None,
        )
    named = isinstance(source, str) and source in DATA_SETS
    if not named and _is_folder(source) and not _is_table(source):
        how = FolderOptions(
            image_size_of(image_size), label_from_name, skip_broken, root / "images", progress
        )
        with _named_as_given(stored, given):
            found = load_image_folder(Path(source).expanduser(), files, how, options, layout)
        return with_checked(found, checked)
    if label_from_name is not None:
        raise DataError("--label-from-name is for a folder of images: leave it out")
    if not named and _is_table(source):
        place = Path(source).expanduser()
        fitted = encoder if isinstance(encoder, TableColumns) else None
        found = load_feature_table(
            place,
            {**columns, "text_column": text_column},
            options,
            drop=tuple(drop_columns or ()),
            fitted=fitted,
            texts=texts,
        )
        return with_checked(found, checked)
    loaded, noise_words = _numbered(_find(source, data_root, download)), None
    if files.any:
        loaded, noise_words, checked_options = _with_labels(loaded, files, validation)
        options |= checked_options
    data = from_arrays(
        **loaded.arrays,
        name=loaded.name,
        class_names=loaded.class_names,
        ids=loaded.ids,
        layout=loaded.layout,
        words=loaded.words,
        checked=checked,
        narrowed=Narrowed(components, root, encoder if isinstance(encoder, WideVectors) else None),
        **options,
    )
    return data if noise_words is None else replace(data, noise=noise_words)


@contextmanager
def _named_as_given(stored: ArrowImages | None, given: str | Path | InMemory) -> Iterator[None]:
    """Name the user's file, and not what was made of it in the cache, where something is wrong."""
    try:
        yield
    except DataError as error:
        if stored is None:
            raise
        said = str(error)
        for place in (stored.table, stored.folder):
            said = said.replace(str(place), str(given))
        if isinstance(error, BrokenImages):
            raise BrokenImages(said, error.found) from error
        raise DataError(said) from error


def _arrow_images(
    source: str | Path | InMemory, root: Path, progress: OnImages | None
) -> ArrowImages | None:
    if not isinstance(source, str | Path) or str(source) in DATA_SETS:
        return None
    return arrow_images(Path(source).expanduser(), root, progress)


def _texts(
    features: str | None,
    column: str | None,
    views: int,
    encoder: Encoder | None,
    how_made: Mapping[str, Any],
) -> Texts | None:
    """Return which features of a table's texts are asked for; None where there are none."""
    if isinstance(encoder, TextFeatures):
        return Texts(**how_made, name=encoder.name, fitted=encoder)
    if features is None:
        return None
    if views != 1:
        raise DataError("--views is about images, and the data are a table: leave it out")
    if is_own(features) and column is None:
        raise DataError(
            f"{features} gets the texts of a column, for the data are a table: name the column "
            "with --text-column, or leave --features out"
        )
    return Texts(**how_made, name=features)


def _side(image_size: int | Size | None) -> int | None:
    """Return the side of the images that a pretrained network gets."""
    size = image_size_of(image_size)
    if size is None:
        return None
    if size[0] != size[1]:
        raise DataError(f"pretrained features want square images, not {size[1]}x{size[0]}")
    return size[0]


def _check_options(
    source: str | Path | InMemory,
    files: LabelFiles,
    noise: Noise | None,
    label_from_name: str | None,
) -> None:
    """Refuse options that do not go together, in the words of what was asked for."""
    table_of_features = _is_table(source)
    if table_of_features and files.any:
        flag = next(
            f"--{name.replace('_', '-')}"
            for name in ("labels", "val_labels", "test_labels")
            if getattr(files, name) is not None
        )
        raise DataError(
            f"the labels of the table {source} are a column of it: leave {flag} out, and name the "
            "column with --label-column"
        )
    named = [name for name, column in files.columns.items() if column is not None]
    if files.labels is None and named and not table_of_features:
        _check_known(source)  # nothing can be said of the labels of what is not there
        flag = f"--{named[0].replace('_', '-')}"
        table = _table_beside(source)
        raise DataError(
            f"{flag} was given without a table of labels: name the table with --labels, "
            f"{f'for example {table}, ' if table else ''}or leave {flag} out"
        )
    if files.labels is not None and noise is not None:
        raise DataError(
            f"the labels come from {files.labels}: leave noise out, or leave labels out"
        )
    if files.labels is not None and label_from_name is not None:
        raise DataError(
            f"the labels come from {files.labels}: leave --label-from-name out, or leave labels "
            "out"
        )


def _is_folder(source: str | Path | InMemory) -> TypeGuard[str | Path]:
    return isinstance(source, str | Path) and Path(source).expanduser().is_dir()


def _is_table(source: str | Path | InMemory) -> TypeGuard[str | Path]:
    """Whether data are a table of features."""
    return isinstance(source, str | Path) and is_feature_table(Path(source).expanduser())


def _table_beside(source: str | Path | InMemory) -> Path | None:
    """Return a table that the user may have meant: in the folder, or beside it."""
    if not isinstance(source, str | Path):
        return None
    place = Path(source).expanduser()
    folders = [place, place.parent] if place.is_dir() else []
    found = (path for folder in folders for path in sorted(folder.glob("*.[ct]sv")))
    return next(found, None)


def _find(source: str | Path | InMemory, root: str | Path | None, download: bool) -> Source:
    if isinstance(source, tuple | list):
        if len(source) != 2:
            raise DataError(f"{len(source)} arrays are no data set: give a pair (images, labels)")
        if all(isinstance(part, tuple) and len(part) == 2 for part in source):
            (x_train, y_train), (x_test, y_test) = source  # as keras.datasets returns them
            arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
            return Source("arrays", arrays, layout="arrays of a training and a test part")
        return Source("arrays", {"x_train": source[0], "y_train": source[1]})
    if isinstance(source, Dataset):
        images, given = dataset_arrays(source)
        names = getattr(source, "classes", None)
        class_names = None if names is None else tuple(map(str, names))
        return Source(type(source).__name__, {"x_train": images, "y_train": given}, class_names)
    if isinstance(source, str) and source in DATA_SETS:
        return named_set(source, root, download)
    path = Path(source).expanduser()
    if path.suffix == ".npz":
        return read_arrays(path)
    if path.exists():
        raise DataError(
            f"{path} is neither a folder of images nor an .npz file: give one of these"
        )
    raise _unknown(source)


def _check_known(source: str | Path | InMemory) -> None:
    """Raise a DataError if data are neither a known set nor on disk."""
    if not isinstance(source, str | Path) or str(source) in DATA_SETS:
        return
    if not Path(source).expanduser().exists():
        raise _unknown(source)


def _unknown(source: str | Path) -> DataError:
    if Path(source).suffix or len(Path(source).parts) > 1:
        return DataError(f"there is no {source}: give the path of a file or folder that is there")
    return DataError(
        f"unknown data set {str(source)!r}: choose one of {', '.join(DATA_SETS)}, or give the "
        "path of an .npz file, a table or an image folder"
    )


def _numbered(loaded: Source) -> Source:
    """Turn labels into numbers 0 .. C-1, so that a table of labels can refer to them."""
    labels = {name: values for name, values in loaded.arrays.items() if name.startswith("y_")}
    numbered, class_names = number_classes(labels, loaded.class_names)
    names = None if class_names is None else tuple(class_names)
    return replace(loaded, arrays={**loaded.arrays, **numbered}, class_names=names)


def _with_labels(
    loaded: Source, files: LabelFiles, validation: str
) -> tuple[Source, str, dict[str, Any]]:
    """Replace the training labels by those of a table; what it does not list is left out.

    Also returns what the labels are, and further keyword arguments of `from_arrays`.
    """
    arrays = dict(loaded.arrays)
    own = np.asarray(arrays["y_train"])
    ids = loaded.ids or tuple(map(str, range(len(own))))
    names = loaded.class_names
    if names is None:
        names = tuple(map(str, range(max(int(own.max(initial=0)), 0) + 1)))
    fixed = any(arrays.get(name) is not None for name in ("y_val", "y_test"))
    found = Found(np.full(len(own), "train"), own, names, fixed)
    samples = Samples(ids, numbered=all(map(str.isdecimal, ids)))
    division, noise_words = files.divide(found, samples, loaded.name, validation)
    images = arrays["x_train"]
    if not isinstance(images, Tensor):
        images = np.asarray(images)
    for part, rows in division.rows.items():
        arrays[f"x_{part}"], arrays[f"y_{part}"] = images[rows], division.labels[part]
    arrays["y_clean"] = division.clean
    changed = replace(
        loaded,
        arrays=arrays,
        class_names=division.class_names,
        ids=tuple(ids[i] for i in division.rows["train"]),
        words=(*loaded.words, *division.words),
    )
    return changed, noise_words, division.checked_options
