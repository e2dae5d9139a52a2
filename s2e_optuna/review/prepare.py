"""What a review page shows of samples, made by a process of its own: it imports torch.

It reads ``ask.json`` in a folder (which data, which list, which model) and leaves there what
`s2e_optuna.review.samples` reads: a page's server stays small. Rows are those of the list and,
behind them, samples that the data have and the list has not.

A sample is described for comparison by the class probabilities of the model, if there is one, as
their roots (the distance is then Hellinger's), and by its pixels or numbers, made small; each is
brought to its principal components and to a total variance of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s2e_optuna.data import DataSpec, NoisyData
from s2e_optuna.data.feature_tables import is_feature_table, named_rows
from s2e_optuna.data.spec import ROLE_COLUMNS, is_own
from s2e_optuna.data.streaming import ImageFiles, take
from s2e_optuna.errors import DataError, explain
from s2e_optuna.review.cards import read_cards
from s2e_optuna.review.drawn import in_words
from s2e_optuna.review.pictures import bytes_of
from s2e_optuna.review.samples import (
    ASK,
    CONTENTS_READY,
    FEATURES,
    FILES,
    FOUND,
    IMAGES,
    SIMILAR_READY,
    TEXTS,
)
from s2e_optuna.training import load_model
from s2e_optuna.training.model import predict_proba
from s2e_optuna.writable import whole_file

Floats = NDArray[np.float32]
Table = tuple[Path, Mapping[str, str | None], Sequence[str]]
"""A table's path, its columns and those to leave out, as `named_rows` takes them."""

COMPONENTS = 32
"""Principal components, at most, of each description."""

_SIDE = 16
"""Height and width, at most, of images as they are compared."""

_FITTED = 5000
"""Samples by which components are found."""

_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Rows:
    """Which samples are shown.

    Attributes
    ----------
    ids
        Those of the list and, behind them, the others of the data [N].
    positions
        Their places among the samples of the data; 0 where there is no such sample [N].
    found
        Whether there is [N].
    others
        Names of the given labels of those that are not on the list.
    """

    ids: Sequence[str]
    positions: NDArray[np.int64]
    found: NDArray[np.bool_]
    others: Sequence[str]

    @classmethod
    def of(cls, data: NoisyData, ids: Sequence[str]) -> Rows:
        """Find the samples of a list in the data that it is about."""
        samples = data.labelled_samples()
        place = {name: position for position, name in enumerate(samples.ids)}
        listed = np.array([place.get(name, -1) for name in ids], np.int64)
        others = np.setdiff1d(np.arange(len(samples.ids)), listed)
        positions = np.concatenate([listed, others])
        return cls(
            [*ids, *(samples.ids[i] for i in others)],
            np.maximum(positions, 0),
            positions >= 0,
            [data.class_names[label] for label in samples.given[others]],
        )


def write_contents(data: NoisyData, rows: Rows, folder: Path) -> None:
    """Write files, images or rows of numbers, whatever the samples are.

    Parameters
    ----------
    data
        What the list is about.
    rows
        Which samples.
    folder
        Where to.
    """
    np.save(folder / FOUND, rows.found)
    if "train" in data.files:
        paths = [*data.files["train"], *(data.files["val"] if _is_cut(data) else ())]
        pairs = zip(rows.positions, rows.found, strict=True)
        kept = [paths[position] if there else None for position, there in pairs]
        (folder / FILES).write_text(json.dumps(kept), encoding="utf-8")
        return
    _, height, _ = data.input_shape
    if height > 1:
        first = bytes_of(_some(data, rows.positions[:1])[0])
        pixels = np.lib.format.open_memmap(
            folder / IMAGES, mode="w+", dtype=np.uint8, shape=(len(rows.ids), *first.shape)
        )
        for start in range(0, len(rows.ids), _CHUNK):
            some = _some(data, rows.positions[start : start + _CHUNK])
            pixels[start : start + len(some)] = [bytes_of(image) for image in some]
        pixels.flush()
        return
    texts: list[str] = []
    for start in range(0, len(rows.ids), _CHUNK):
        numbers = _some(data, rows.positions[start : start + _CHUNK]).mean((1, 2))
        texts += [in_words(row.tolist()) for row in numbers]
    (folder / TEXTS).write_text(json.dumps(texts), encoding="utf-8")


def write_table_rows(table: Table, rows: Rows, folder: Path) -> None:
    """Write rows of a table as they stand there, with the names of their columns.

    Parameters
    ----------
    table
        The table.
    rows
        Which samples.
    folder
        Where to.
    """
    read = named_rows(*table)
    kept = [place for place in range(len(read.header)) if place != read.label]
    texts = []
    for name in rows.ids:
        cells = read.rows.get(name, ())
        texts.append(", ".join(f"{read.header[place]}: {cells[place]}" for place in kept if cells))
    (folder / TEXTS).write_text(json.dumps(texts), encoding="utf-8")


def write_features(data: NoisyData, rows: Rows, folder: Path, model: Path | None = None) -> None:
    """Write by what samples are compared, float32 [N, D].

    Parameters
    ----------
    data
        What the list is about.
    rows
        Which samples.
    folder
        Where to.
    model
        A trained model, if there is one.
    """
    descriptions = [_principal(_pixels(data, rows.positions))]
    if model is not None and (probabilities := _probabilities(data, model)) is not None:
        descriptions.append(_principal(np.sqrt(probabilities[rows.positions])))
    np.save(folder / FEATURES, np.concatenate(descriptions, axis=1))


def _is_cut(data: NoisyData) -> bool:
    """Whether the samples of the validation part are on lists of suspects, too."""
    return len(data.labelled_samples().ids) > len(data.ids)


def _probabilities(data: NoisyData, path: Path) -> Floats | None:
    """Predict all samples; None where the model cannot be used here."""
    try:
        model = load_model(path)
        parts = [data.x_train]
        if _is_cut(data):
            parts.append(data.x_val)
        return np.concatenate([predict_proba(model, part) for part in parts])
    except (DataError, OSError):  # a network of the user's own, or another size of images
        return None


def _pixels(data: NoisyData, rows: NDArray[np.int64]) -> Floats:
    """Return small images, or rows of numbers [N, D]."""
    _, height, width = data.input_shape
    found = []
    for start in range(0, len(rows), _CHUNK):
        images = torch.from_numpy(_some(data, rows[start : start + _CHUNK])).to(torch.float32)
        if height > _SIDE or (width > _SIDE and height > 1):
            size = (min(height, _SIDE), min(width, _SIDE))
            images = torch.nn.functional.adaptive_avg_pool2d(images, size)
        found.append(images.reshape(len(images), -1).numpy())
    return np.concatenate(found)


def _some(data: NoisyData, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return images [n, C, H, W] by their places among the training and validation samples."""
    n_train = len(data.ids)
    chosen = torch.from_numpy(rows)
    parts: list[torch.Tensor | ImageFiles] = [take(data.x_train, chosen[chosen < n_train])]
    if (later := chosen[chosen >= n_train] - n_train).numel():
        parts.append(take(data.x_val, later))
    images = torch.cat([part.read() if isinstance(part, ImageFiles) else part for part in parts])
    places = torch.cat([torch.nonzero(chosen < n_train), torch.nonzero(chosen >= n_train)])
    return np.asarray(images[torch.argsort(places[:, 0])])


def _principal(values: Floats) -> Floats:
    """Return the first principal components of rows [N, D], at a total variance of one."""
    values = values - values[:_FITTED].mean(axis=0)
    step = -(-len(values) // _FITTED)
    fitted = values[::step].astype(np.float64)
    _, vectors = np.linalg.eigh(fitted.T @ fitted / len(fitted))
    kept = values @ vectors[:, ::-1][:, :COMPONENTS].astype(np.float32)
    spread = float(np.sqrt(kept[::step].var(axis=0).sum()))
    return np.asarray(kept / (spread or 1.0), np.float32)


def prepare(
    data: NoisyData,
    ids: Sequence[str],
    folder: Path,
    model: Path | None = None,
    table: Table | None = None,
    compared: Callable[[], NoisyData] | None = None,
) -> None:
    """Prepare what is shown of samples, and then what is compared.

    Parameters
    ----------
    data
        What the list is about.
    ids
        Samples of the list.
    folder
        Where to.
    model
        A trained model, if there is one.
    table
        The table that the data were read from, and its columns, if it was one.
    compared
        Reads what samples are compared by, if not by what is shown: their features.

    Raises
    ------
    DataError
        The data have none of the samples.
    """
    rows = Rows.of(data, ids)
    if not rows.found[: len(ids)].any():
        raise DataError("the data have none of the samples of the list: name them with --data")
    write_contents(data, rows, folder)
    if table is not None:
        write_table_rows(table, rows, folder)
    _write(folder / CONTENTS_READY, {"classes": data.class_names, "others": rows.others})
    write_features(data if compared is None else compared(), rows, folder, model)
    _write(folder / SIMILAR_READY, {})


def main(place: str) -> None:
    """Prepare what ``ask.json`` in a folder asks for; say in a sentence why it cannot be."""
    folder = Path(place)
    torch.set_num_threads(1)
    ask = json.loads((folder / ASK).read_text(encoding="utf-8"))
    model = None if ask["model"] is None else Path(ask["model"])
    try:
        spec = DataSpec.from_settings(ask["data"])
        data = spec.of_images().load()
        ids = read_cards(Path(ask["list"])).ids
        prepare(data, ids, folder, model, _table_of(spec), lambda: _features_of(spec, data))
    except Exception as error:
        if (explained := explain(error)) is None:
            raise
        _write(folder / CONTENTS_READY, {"error": explained[0]})


def _features_of(spec: DataSpec, data: NoisyData) -> NoisyData:
    """Return the data by their features, if there are any that run no code of a user's."""
    if spec.features is None or is_own(spec.features):
        return data
    try:
        return spec.load()
    except DataError:  # their weights are not on this machine
        return data


def _table_of(spec: DataSpec) -> Table | None:
    """Return the table that the data are, if they are one."""
    place = Path(str(spec.data)).expanduser()
    if spec.is_named or not is_feature_table(place):
        return None
    columns = {name: getattr(spec, name) for name in ROLE_COLUMNS}
    return place, columns, spec.drop_columns or ()


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")
