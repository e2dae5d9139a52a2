"""What data hold, in few bytes: so that a change of labels or images is seen, and can be named.

Each sample has a digest of its name, one of its content (its numbers, or its file) and its labels.
Samples of an array without names are named by their position.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.file_digests import digest_of, digests_of_files, digests_of_rows
from s2e_optuna.data.named_sets import default_root
from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.data.pretrained import PretrainedFeatures
from s2e_optuna.data.split import PART_WORDS
from s2e_optuna.data.text_features import TextFeatures
from s2e_optuna.data.words import count

FINGERPRINT_FILE = "fingerprint.npz"
"""Name of the file with all digests, beside what a search leaves behind."""

_COLUMNS = {"names": np.uint64, "given": np.int32, "clean": np.int32, "contents": np.uint64}


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What data hold.

    Attributes
    ----------
    summary
        For JSON: a digest of all (``digest``), of each part its samples and digests, the shape
        and the scale of the images.
    class_names
        Names of the classes; empty where there is only a summary.
    samples
        Columns of each part: ``names``, ``contents``, ``given`` and ``clean`` labels (-1: none).
        Empty where there is only a summary. Samples that were cut from the training part to
        validate are a part of it here.
    """

    summary: Mapping[str, Any]
    class_names: tuple[str, ...] = ()
    samples: Mapping[str, Mapping[str, NDArray[Any]]] | None = None

    @property
    def digest(self) -> str:
        """A digest of all."""
        return str(self.summary["digest"])

    def save(self, path: Path) -> None:
        """Write it to an ``.npz`` file."""
        arrays = {
            f"{part}.{name}": column
            for part, columns in (self.samples or {}).items()
            for name, column in columns.items()
        }
        text = json.dumps(dict(self.summary))
        np.savez(
            path,
            allow_pickle=False,
            summary=np.array(text),
            class_names=np.array(self.class_names),
            **arrays,
        )

    @classmethod
    def load(cls, path: Path) -> Fingerprint | None:
        """Read what `save` wrote; None where there is no such file."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            summary = json.loads(str(arrays.pop("summary")))
            names = tuple(map(str, arrays.pop("class_names")))
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
            return None  # not there, or damaged: differences are then not counted
        samples: dict[str, dict[str, NDArray[Any]]] = {}
        for name, column in arrays.items():
            part, _, what = name.partition(".")
            samples.setdefault(part, {})[what] = column
        return cls(summary, names, samples)


def fingerprint(data: NoisyData, cache: Path | None = None) -> Fingerprint:
    """Look at all that data hold.

    Parameters
    ----------
    data
        The data.
    cache
        Folder where digests of files are remembered, by default one of the user's cache.

    Raises
    ------
    DataError
        A file cannot be read.
    """
    folder = default_root() / "fingerprints" if cache is None else cache
    pool = data.validation_source == "train"
    above = _folder_of(data)
    parts = {"train": [_columns(data, "train", folder, above)]}
    if data.x_test is not None:
        parts["test"] = [_columns(data, "test", folder, above)]
    own = parts["train"] if pool else parts.setdefault("val", [])
    own.append(_columns(data, "val", folder, above))
    samples = {
        part: {name: np.concatenate([c[name] for c in found]) for name in _COLUMNS}
        for part, found in parts.items()
    }
    images = f"{'x'.join(map(str, data.input_shape))} {data.preparation.scale}"
    if isinstance(data.encoder, PretrainedFeatures | TextFeatures):
        images += f", {data.encoder.identity}"
    summary: dict[str, Any] = {
        "images": images,
        "classes": _hex([json.dumps(list(data.class_names)).encode()]),
        "n_validation": len(data.y_val) if pool else 0,
    }
    for part, columns in samples.items():
        summary[part] = {"samples": len(columns["names"])} | {
            name: _hex([column.tobytes()]) for name, column in columns.items()
        }
    if data.val_checked is not None:
        summary["checked"] = _hex([data.val_checked.numpy().tobytes()])
    summary["digest"] = _hex([json.dumps(summary, sort_keys=True).encode()], 16)
    return Fingerprint(summary, data.class_names, samples)


def differences(before: Fingerprint, now: Fingerprint) -> str | None:
    """Name what has changed, in a part of a sentence; None where nothing has.

    Parameters
    ----------
    before
        An earlier look, or what is left of it.
    now
        The look at the data as they are.

    Examples
    --------
    >>> differences(Fingerprint({"digest": "a"}), Fingerprint({"digest": "a"})) is None
    True
    """
    if before.digest == now.digest:
        return None
    found = []
    if before.summary.get("images") != now.summary.get("images"):
        found.append(
            f"the images are read as {now.summary.get('images')} and were "
            f"{before.summary.get('images')}"
        )
    if before.summary.get("checked") != now.summary.get("checked"):
        found.append("other validation labels are checked, or with another answer")
    if before.samples is None or now.samples is None:
        found += _summaries(before.summary, now.summary)
    else:
        if before.class_names != now.class_names:
            found.append(_classes(before.class_names, now.class_names))
        for part, words in PART_WORDS.items():
            found += _samples(before, now, part, words)
    return "; ".join(found) or "the samples are in another order or in other parts"


def _columns(data: NoisyData, part: str, cache: Path, above: str) -> dict[str, NDArray[Any]]:
    images = {"train": data.x_train, "val": data.x_val, "test": data.x_test}[part]
    labels = {"train": data.y_train, "val": data.y_val, "test": data.y_test}[part]
    assert images is not None and labels is not None
    files = data.files.get(part)
    names: Iterable[str] = {"train": data.ids, "val": data.val_ids, "test": ()}[part]
    if part == "test" or not names:
        shown = range(len(labels)) if files is None else (f.removeprefix(above) for f in files)
        names = map(str, shown)
    if part in data.contents:
        contents = data.contents[part]  # of what the numbers were made of
    else:
        contents = digests_of_rows(images) if files is None else digests_of_files(files, cache)
    clean = data.y_clean if part == "train" else data.y_val_clean if part == "val" else None
    none = np.full(len(labels), -1)
    found = {
        "names": [digest_of(name.encode()) for name in names],
        "given": labels.numpy(),
        "clean": none if clean is None else clean.numpy(),
        "contents": contents,
    }
    return {name: np.asarray(found[name], dtype=kind) for name, kind in _COLUMNS.items()}


def _folder_of(data: NoisyData) -> str:
    """Return what comes before the names of the samples in the paths of their files."""
    files = data.files.get("train", ())
    return files[0].removesuffix(data.ids[0]) if files else ""


def _hex(pieces: Iterable[bytes], size: int = 8) -> str:
    found = hashlib.blake2b(digest_size=size)
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def _summaries(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = []
    if before.get("classes") != now.get("classes"):
        found.append("the classes differ")
    for part, words in PART_WORDS.items():
        one, other = before.get(part), now.get(part)
        if one == other:
            continue
        if one is None or other is None:
            found.append(f"there is {'a' if one is None else 'no'} {words} part")
            continue
        if one["samples"] != other["samples"]:
            found.append(
                f"the {words} part has {count(other['samples'], 'sample')}, and had "
                f"{one['samples']:,}"
            )
        what = {"given": "labels", "clean": "true labels", "contents": "images", "names": "names"}
        differing = [word for name, word in what.items() if one[name] != other[name]]
        found.append(f"{' and '.join(differing)} of the {words} part differ")
    return found


def _classes(before: tuple[str, ...], now: tuple[str, ...]) -> str:
    new = [name for name in now if name not in before]
    gone = [name for name in before if name not in now]
    words = []
    if new:
        words.append(f"{count(len(new), 'class', 'classes')} new ({', '.join(new[:5])})")
    if gone:
        words.append(f"{count(len(gone), 'class', 'classes')} gone ({', '.join(gone[:5])})")
    return " and ".join(words) or "the classes are in another order"


def _samples(before: Fingerprint, now: Fingerprint, part: str, words: str) -> list[str]:
    """Name what has changed in a part."""
    assert before.samples is not None and now.samples is not None
    one, other = before.samples.get(part), now.samples.get(part)
    if one is None or other is None:
        return [] if one is other else [f"there is {'a' if one is None else 'no'} {words} part"]
    _, at, there = np.intersect1d(one["names"], other["names"], return_indices=True)
    numbers = {name: number for number, name in enumerate(now.class_names)}
    same_class = np.array([*(numbers.get(name, -2) for name in before.class_names), -1])
    changed = {
        "label": int((same_class[one["given"][at]] != other["given"][there]).sum()),
        "true label": int((same_class[one["clean"][at]] != other["clean"][there]).sum()),
        "image": int((one["contents"][at] != other["contents"][there]).sum()),
    }
    reordered = np.array_equal(np.sort(one["contents"]), np.sort(other["contents"]))
    if changed["image"] and reordered:
        return [f"the samples of the {words} part are in another order"]
    found = []
    differing = [count(number, what) for what, number in changed.items() if number]
    if differing:
        listed = ", ".join(differing[:-1]) + (" and " if differing[1:] else "") + differing[-1]
        verb = "differs" if sum(changed.values()) == 1 else "differ"
        found.append(f"{listed} of the {words} part {verb}")
    new, gone = len(other["names"]) - len(at), len(one["names"]) - len(at)
    if new:
        found.append(
            f"{count(new, 'sample')} of the {words} part {'is' if new == 1 else 'are'} new"
        )
    if gone:
        found.append(
            f"{count(gone, 'sample')} of the {words} part {'is' if gone == 1 else 'are'} gone"
        )
    return found
