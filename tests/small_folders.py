"""Folders of tiny images that tests make: each image shows its own number."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from s2e_optuna.data import NoisyData

CLASSES = ("ant", "bee", "cow")


def write_images(folder: Path, names: Iterable[str], first: int = 0) -> Path:
    """Write an image of 6x6 pixels for each name, all of them with its number from `first` on."""
    for number, name in enumerate(names, start=first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 6), number).save(folder / name)
    return folder


def write_class_folders(folder: Path, count: int, first: int = 0) -> Path:
    """Write as many images into the folders of three classes, in turn."""
    names = [f"{CLASSES[i % 3]}/{i:02}.png" for i in range(count)]
    return write_images(folder, names, first)


def label_by_number(data: NoisyData) -> dict[int, str]:
    """Return the name of the label of each training image, by the number that it shows."""
    pixels = data.x_train[:, 0, 0, 0].tolist()
    pairs = zip(pixels, data.y_train.tolist(), strict=True)
    return {int(pixel): data.class_names[label] for pixel, label in pairs}


def csv_text(columns: dict[str, Sequence[object]], separator: str = ",") -> str:
    """Return a table with a header."""
    rows = zip(*columns.values(), strict=True)
    lines = [separator.join(columns), *(separator.join(map(str, row)) for row in rows)]
    return "\n".join(lines) + "\n"
