"""Face verification (Table 2): published pair lists, embeddings, ten-fold accuracy.

| format | data sets | a pair |
|---|---|---|
| LFW | LFW, AgeDB-30, others | ``name 1 4`` (same), ``name 1 other 2``; header ``folds pairs`` |
| two lines | CALFW, CPLFW | ``image.jpg 3`` twice; 0 is a pair of different people, else same |
| three words | AgeDB-30, others | ``a.jpg b.jpg 1``; 0 is a pair of different people |
| CFP | CFP | ``Protocol/Split/FP/01/same.txt``: ``i,j``, lines of ``Pair_list_F`` and ``_P`` |
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from s2e_optuna.data.image_cache import read_images
from s2e_optuna.data.images import OnImages
from s2e_optuna.data.noisy_data import scale_pixels
from s2e_optuna.errors import DataError
from s2e_optuna.training.model import Model

FOLDS = 10
"""Folds of a verification test where its list names none."""

Floats = NDArray[np.float64]

_Pair = tuple[str, str, bool]


@dataclass(frozen=True, eq=False)
class FacePairs:
    """Pairs of images of one verification test.

    Attributes
    ----------
    name
        What the test is called.
    images
        Folder that the paths start from.
    first, second
        Paths of the images of each pair.
    same
        Whether they show the same person, booleans [N].
    folds
        Fold of each pair, integers [N].
    """

    name: str
    images: Path
    first: tuple[str, ...]
    second: tuple[str, ...]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64]


@dataclass(frozen=True)
class Verification:
    """Accuracy over folds.

    Attributes
    ----------
    accuracy, deviation
        Mean and sample standard deviation over the folds.
    by_fold
        Accuracy on each fold, with the threshold that is best on the others.
    """

    accuracy: float
    deviation: float
    by_fold: tuple[float, ...]


def read_pairs(path: str | Path, images: str | Path, *, name: str | None = None) -> FacePairs:
    """Read a list of pairs in the format of LFW, of CALFW and CPLFW, or of three words a line.

    Parameters
    ----------
    path
        The list; which format it has is seen from its lines.
    images
        Folder of the images. In the format of LFW they lie at ``person/person_0001.jpg``.
    name
        What the test is called; by default the file's name.

    Raises
    ------
    DataError
        The list cannot be read, is in no known format, or names images that do not exist.
    """
    place, folder = Path(path), Path(images)
    lines = _lines(place)
    header = [int(word) for word in lines[0] if word.isdecimal()] if _is_header(lines[0]) else []
    body = lines[1:] if header else lines
    widths = {len(words) for words in body}
    try:
        if widths == {2}:
            pairs = _two_lines(body)
        elif widths == {3} and all(_is_flag(words[2]) and "." in words[0] for words in body):
            pairs = [(a, b, int(flag) > 0) for a, b, flag in body]
        elif widths <= {3, 4}:
            pairs = [_lfw(words, folder) for words in body]
        else:
            raise ValueError(f"its lines have {', '.join(map(str, sorted(widths)))} words")
    except ValueError as error:
        raise DataError(
            f"{place} is no list of pairs in the format of LFW, CALFW, CPLFW or AgeDB-30: {error}"
        ) from error
    per_fold = 2 * header[1] if len(header) == 2 else 0
    same = np.array([flag for _, _, flag in pairs])
    if per_fold and len(pairs) == header[0] * per_fold:
        folds = np.arange(len(pairs)) // per_fold
    else:
        folds = _even_folds(same)
    return _checked(place, name or place.stem, folder, pairs, folds)


def read_cfp(root: str | Path, protocol: str = "FP", *, name: str | None = None) -> FacePairs:
    """Read the pairs of CFP: ``Protocol/`` with its lists and splits, images beside it.

    Parameters
    ----------
    root
        Folder with ``Protocol`` and the images.
    protocol
        ``"FP"``, frontal against profile, or ``"FF"``, frontal against frontal.
    name
        What the test is called; by default ``CFP-`` and the protocol.

    Raises
    ------
    DataError
        A file is missing or damaged, or names images that do not exist.
    """
    if protocol not in ("FF", "FP"):
        raise DataError(f"unknown protocol {protocol!r}: choose FP or FF")
    base = Path(root) / "Protocol"
    frontal = _numbered(base / "Pair_list_F.txt")
    other = _numbered(base / "Pair_list_P.txt") if protocol == "FP" else frontal
    split = base / "Split" / protocol
    if not split.is_dir():
        raise DataError(f"there is no folder {split}: give the folder of CFP, with its Protocol")
    pairs: list[_Pair] = []
    folds: list[int] = []
    for fold, place in enumerate(sorted(part for part in split.iterdir() if part.is_dir())):
        for file, same in (("same.txt", True), ("diff.txt", False)):
            for words in _lines(place / file, separator=","):
                try:
                    first, second = (int(word) for word in words)
                    pairs.append((frontal[first], other[second], same))
                except (ValueError, KeyError) as error:
                    raise DataError(
                        f"{place / file} holds {','.join(words)!r}, which is no pair of lines of "
                        "the lists of images: unpack CFP again"
                    ) from error
                folds.append(fold)
    return _checked(base, name or f"CFP-{protocol}", base, pairs, np.array(folds, dtype=np.int64))


def verification_accuracy(scores: ArrayLike, same: ArrayLike, folds: ArrayLike) -> Verification:
    """Measure accuracy fold by fold, each with the threshold that is best on all other folds.

    Parameters
    ----------
    scores
        Similarity of each pair [N]; larger is more alike.
    same
        Whether it is the same person [N].
    folds
        Fold of each pair [N], two or more different ones.

    Raises
    ------
    DataError
        Fewer than two folds, or scores that are not finite.
    """
    values, truth, fold = np.asarray(scores, float), np.asarray(same, bool), np.asarray(folds)
    if len(np.unique(fold)) < 2 or not np.isfinite(values).all():
        raise DataError("verification needs two folds or more, and finite similarities")
    by_fold = []
    for left_out in np.unique(fold):
        inside = fold == left_out
        threshold = _best_threshold(values[~inside], truth[~inside])
        by_fold.append(float(((values[inside] > threshold) == truth[inside]).mean()))
    return Verification(float(np.mean(by_fold)), float(np.std(by_fold, ddof=1)), tuple(by_fold))


def verify(
    model: Model,
    pairs: FacePairs,
    *,
    cache: Path | None = None,
    device: str = "cpu",
    progress: OnImages | None = None,
) -> Verification:
    """Test how well a model that was trained to tell people apart knows whether two faces match.

    Parameters
    ----------
    model
        A trained model; its images are resized to what it was trained on.
    pairs
        The test.
    cache
        Folder for decoded images, see `s2e_optuna.training.load_data`.
    device
        Where to compute embeddings.
    progress
        Told how many images have been decoded.
    """
    channels, height, width = model.input_shape
    names = sorted({*pairs.first, *pairs.second})
    pixels = read_images(pairs.images, names, (height, width), cache, progress)
    if pixels.shape[1] != channels:  # grey test images for a colour model, or the reverse
        pixels = pixels[:, :1] if channels == 1 else np.repeat(pixels, channels, axis=1)
    embedded = embed(model.modules(), torch.from_numpy(np.ascontiguousarray(pixels)), device)
    row = {name: index for index, name in enumerate(names)}
    first, second = ([row[path] for path in paths] for paths in (pairs.first, pairs.second))
    scores = (embedded[first] * embedded[second]).sum(axis=1)
    return verification_accuracy(scores, pairs.same, pairs.folds)


@torch.inference_mode()
def embed(
    modules: Sequence[nn.Module], images: Tensor, device: str = "cpu", batch_size: int = 256
) -> Floats:
    """Compute embeddings: what enters the last linear layer, for a face and its mirror image.

    Parameters
    ----------
    modules
        Networks of a model; their embeddings, each of length one, are set side by side.
    images
        [N, channels, height, width], uint8 or float32.
    device
        Where to compute.
    batch_size
        Images at once.

    Returns
    -------
    ndarray
        float64 [N, D], each row of length one.

    Raises
    ------
    DataError
        A network has no linear layer.
    """
    parts = []
    for module in modules:
        features = _Features(module.to(device).eval())
        rows = []
        for batch in torch.split(images, batch_size):
            scaled = scale_pixels(batch.to(device))
            rows.append((features(scaled) + features(scaled.flip(3))).double().cpu())
        parts.append(nn.functional.normalize(torch.cat(rows), dim=1))
    joined: Floats = nn.functional.normalize(torch.cat(parts, dim=1), dim=1).numpy()
    return joined


class _Features:
    """Runs a network and keeps what entered its last linear layer."""

    def __init__(self, module: nn.Module) -> None:
        linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        if not linear:
            raise DataError("the network has no linear layer: its embeddings cannot be taken")
        self._module = module
        self._seen: list[Tensor] = []
        linear[-1].register_forward_pre_hook(lambda _, inputs: self._seen.append(inputs[0]))

    def __call__(self, images: Tensor) -> Tensor:
        self._module(images)
        return nn.functional.normalize(self._seen.pop().flatten(1), dim=1)


def _best_threshold(scores: Floats, same: NDArray[np.bool_]) -> float:
    """Find the threshold with the most correct answers: between two neighbouring scores."""
    order = np.argsort(scores)
    values, truth = scores[order], same[order]
    # Below position i all are called different: correct are the different ones below and the
    # same ones from i on.
    correct = (
        np.concatenate([[0], np.cumsum(~truth)])
        + truth.sum()
        - np.concatenate([[0], np.cumsum(truth)])
    )
    edges = np.concatenate([[-np.inf], (values[1:] + values[:-1]) / 2.0, [np.inf]])
    usable = np.concatenate([[True], values[1:] > values[:-1], [True]])
    return float(edges[np.argmax(np.where(usable, correct, -1))])


def _lines(place: Path, separator: str | None = None) -> list[list[str]]:
    """Read the words of all lines that are not empty."""
    try:
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DataError(f"cannot read the list {place}: {reason}") from error
    lines = [
        [word.strip() for word in line.split(separator)]
        for line in text.splitlines()
        if line.strip()
    ]
    if not lines:
        raise DataError(f"the list {place} is empty")
    return lines


def _is_header(words: list[str]) -> bool:
    return len(words) <= 2 and all(word.isdecimal() for word in words)


def _is_flag(word: str) -> bool:
    return word.lstrip("-").isdecimal()


def _two_lines(body: list[list[str]]) -> list[_Pair]:
    if len(body) % 2:
        raise ValueError("it has an odd number of lines")
    pairs = []
    for (first, flag), (second, again) in zip(body[::2], body[1::2], strict=True):
        if flag != again:
            raise ValueError(f"{first} and {second} are a pair with two different flags")
        pairs.append((first, second, int(flag) > 0))
    return pairs


def _lfw(words: list[str], folder: Path) -> _Pair:
    """Read ``name 1 4`` or ``name 1 other 2``."""
    if len(words) == 3:
        name, first, second = words
        return _lfw_path(folder, name, first), _lfw_path(folder, name, second), True
    name, first, other, second = words
    return _lfw_path(folder, name, first), _lfw_path(folder, other, second), False


def _lfw_path(folder: Path, name: str, number: str) -> str:
    stem = f"{name}/{name}_{int(number):04d}"
    return next((f"{stem}{s}" for s in (".jpg", ".png") if (folder / f"{stem}{s}").exists()),
                f"{stem}.jpg")  # fmt: skip


def _numbered(place: Path) -> dict[int, str]:
    """Read ``1 ../Data/Images/001/frontal/01.jpg``."""
    try:
        return {int(number): path for number, path in _lines(place)}
    except ValueError as error:
        raise DataError(f"{place} is no list of numbered images: {error}") from error


def _even_folds(same: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Cut the pairs of each kind, in their order, into ten folds."""
    folds = np.empty(len(same), dtype=np.int64)
    for kind in (True, False):
        rows = np.flatnonzero(same == kind)
        folds[rows] = np.arange(len(rows)) * FOLDS // max(len(rows), 1)
    return folds


def _checked(
    place: Path, name: str, folder: Path, pairs: list[_Pair], folds: NDArray[np.int64]
) -> FacePairs:
    paths = {path for a, b, _ in pairs for path in (a, b)}
    missing = sorted(path for path in paths if not os.path.exists(folder / path))
    if missing:
        raise DataError(
            f"{len(missing)} of {len(paths)} images of {place} are not in {folder}, such as "
            f"{', '.join(missing[:5])}: check the folder of the images"
        )
    first, second, same = zip(*pairs, strict=True)
    return FacePairs(name, folder, first, second, np.array(same, dtype=bool), folds)
