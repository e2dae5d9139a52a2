"""Which part and which class each image of a folder belongs to, by the folders it lies in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.folder_contents import (
    LeftOut,
    images_below,
    images_beside,
    printable,
    subfolders,
)
from s2e_optuna.data.names_with_labels import describe_labels, labels_in_names
from s2e_optuna.data.split import PARTS, part_of
from s2e_optuna.data.words import in_order, some
from s2e_optuna.errors import DataError

UNLABELLED = -1


@dataclass(frozen=True, eq=False)
class ImageListing:
    """All images of a folder, those of the training part first.

    Attributes
    ----------
    paths
        Path of each image below the folder that the user named, with ``/``.
    parts
        Its part, by the folders.
    labels
        Its position in `class_names`, or `UNLABELLED`; int64 [N].
    class_names
        In alphabetical order; none where there are no class folders.
    layout
        What it was taken for, in words.
    words
        What else there is to say, in sentences.
    """

    paths: tuple[str, ...]
    parts: NDArray[np.str_]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    layout: str
    words: tuple[str, ...] = ()

    def of(self, part: str) -> NDArray[np.int64]:
        """Return the positions of a part's images."""
        return np.flatnonzero(self.parts == part)


def list_image_folder(
    folder: str | Path, *, labelled: bool = True, label_from_name: str | None = None
) -> ImageListing:
    """List a folder of class folders, or one with folders for training, validation and test.

    Parameters
    ----------
    folder
        ``folder/class/image`` or ``folder/train/class/image`` and val, test; or images alone.
    labelled
        Whether the folders of the training images have to be classes. Where a table gives the
        labels, they need not.
    label_from_name
        Take labels from file names, see `labels_in_names`.

    Raises
    ------
    DataError
        No images, or classes that differ between the parts.
    """
    root, left_out = Path(folder), LeftOut()
    places = _places(root, left_out)
    if label_from_name is not None:
        return _named(root, places, label_from_name, left_out)
    class_names = _class_folders("train", places, left_out)
    if not class_names and labelled:
        raise DataError(_no_classes(places["train"]))
    if not class_names:  # a flat training folder, perhaps beside sorted ones
        class_names = sorted({c for part in places for c in _class_folders(part, places)})
    known = {name: number for number, name in enumerate(class_names)}
    paths: list[str] = []
    parts: list[str] = []
    labels: list[int] = []
    flat = []
    for part, place in places.items():
        own = _class_folders(part, places)
        if unknown := sorted(set(own) - known.keys()):
            raise DataError(
                f"{place} has the class {unknown[0]!r} that {places['train']} has not: "
                "use the same class folders in every part"
            )
        found = [(p, known[n]) for n in own for p in images_below(place / n, left_out)]
        if own and labelled:
            left_out.beside += images_beside(place)
        else:
            flat += [] if own else [part]
            # Where a table has the labels, images need not lie in folders.
            found += [(p, UNLABELLED) for p in images_below(place, left_out, folders=False)]
        if not found and (part == "train" or own):
            raise DataError(f"{place} holds no images: expected files such as class/image.png")
        paths += [os.path.relpath(path, root).replace(os.sep, "/") for path, _ in found]
        parts += [part] * len(found)
        labels += [label for _, label in found]
    return ImageListing(
        tuple(paths),
        np.array(parts),
        np.array(labels, dtype=np.int64),
        tuple(class_names),
        _layout(places, root, flat),
        left_out.words(),
    )


def _places(root: Path, left_out: LeftOut) -> dict[str, Path]:
    """Return the folder of each part, the training part first; the root where it has no parts."""
    names = subfolders(root, left_out)
    found: dict[str, str] = {}
    for name in names:
        part = part_of(name)
        if part is None:
            continue
        if part in found:
            raise DataError(
                f"{root} has the folders {found[part]} and {name}, which both look like the "
                f"{part} part: rename one of them"
            )
        found[part] = name
    others = [name for name in names if part_of(name) is None]
    if "train" in found and (not others or subfolders(root / found["train"])):
        left_out.folders += others
        left_out.beside += images_beside(root)
        return {part: root / found[part] for part in PARTS if part in found}
    if "train" in found or not found:
        return {"train": root}  # a class called train, among others
    sorted_ones = {part: name for part, name in found.items() if subfolders(root / name)}
    if others and len(sorted_ones) == len(found):
        return {"train": root, **{part: root / found[part] for part in PARTS if part in found}}
    if others:
        name = next(name for part, name in found.items() if part not in sorted_ones)
        raise DataError(
            f"the folder {name} in {root} lies beside other folders and could be a part or a "
            "class: put the folders of the classes below train, or rename it"
        )
    if images_beside(root) == 0:
        raise DataError(
            f"{root} has no folder train beside {' and '.join(sorted(found.values()))}: add the "
            "training images"
        )
    return {"train": root}


def _class_folders(
    part: str, places: dict[str, Path], left_out: LeftOut | None = None
) -> list[str]:
    """Return the folders of the classes of a part, without those that are other parts."""
    others = {place.name for place in places.values() if place.parent == places[part]}
    return [name for name in subfolders(places[part], left_out) if name not in others]


def _no_classes(place: Path) -> str:
    named = describe_labels([os.path.basename(path) for path in images_below(place)])
    hint = f", or --label-from-name auto, which finds {named} in the names" if named else ""
    return (
        f"{printable(str(place))} holds no folders: put the images of each class in a folder of "
        f"its own, as in folder/class/image.png, or give a table of labels{hint}"
    )


def _named(root: Path, places: dict[str, Path], pattern: str, left_out: LeftOut) -> ImageListing:
    found = []
    for part, place in places.items():
        below = [place / name for name in _class_folders(part, places, left_out)]
        found += [(p, part) for folder in below for p in images_below(folder, left_out)]
        found += [(p, part) for p in images_below(place, left_out, folders=False)]
    if not found:
        raise DataError(f"{root} holds no images: expected files such as LABEL_1.png")
    texts, how = labels_in_names([os.path.basename(path) for path, _ in found], pattern)
    class_names = in_order(set(texts))
    known = {name: number for number, name in enumerate(class_names)}
    return ImageListing(
        tuple(os.path.relpath(path, root).replace(os.sep, "/") for path, _ in found),
        np.array([part for _, part in found]),
        np.array([known[text] for text in texts], dtype=np.int64),
        class_names,
        f"images with labels in their names ({how})",
        left_out.words(),
    )


def _layout(places: dict[str, Path], root: Path, flat: list[str]) -> str:
    folders = [place.name for place in places.values() if place != root]
    kind = "images without class folders" if "train" in flat else "class folders"
    return f"{kind} in {some(folders)}" if folders else kind
