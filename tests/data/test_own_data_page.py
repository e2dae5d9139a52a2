"""The first lines that docs/own_data.md shows are those that are printed."""

import re
from pathlib import Path

import numpy as np
from small_folders import CLASSES, write_class_folders, write_images

from s2e_optuna.data import load_data

PAGE = Path(__file__).parents[2] / "docs" / "own_data.md"


def test_every_layout_on_the_page_is_called_what_the_page_says(tmp_path):
    flat = [f"{i:02}.png" for i in range(12)]
    images = np.random.default_rng(0).random((12, 4, 4))
    labels = np.arange(12) % 3
    write_images(tmp_path / "flat", flat)
    (tmp_path / "l.csv").write_text("".join(f"{n},{CLASSES[i % 3]}\n" for i, n in enumerate(flat)))
    for part in ("train", "val", "test"):
        write_class_folders(tmp_path / "parts" / part, 6)
    write_images(tmp_path / "named", [f"{i % 3}_{i:06}.png" for i in range(12)])
    np.savez(tmp_path / "plain.npz", x_train=images, y_train=labels)
    np.savez(tmp_path / "xy.npz", X=images, y=labels)
    np.savez(tmp_path / "medmnist.npz", train_images=images, train_labels=labels[:, None])
    rows = "".join(f"{i},{CLASSES[i % 3]}\n" for i in range(12))
    (tmp_path / "table.csv").write_text(f"age,diagnosis\n{rows}")
    found = [
        load_data(tmp_path / "table.csv", label_column="diagnosis"),
        load_data(write_class_folders(tmp_path / "classes", 12)),
        load_data(tmp_path / "parts"),
        load_data(tmp_path / "flat", labels=tmp_path / "l.csv"),
        load_data(tmp_path / "named", label_from_name="auto"),
        *(load_data(tmp_path / f"{name}.npz") for name in ("plain", "xy", "medmnist")),
    ]
    said = {data.reading[0].partition(":")[0] for data in found}
    shown = set(re.findall(r"`(read as [^:`]+):", PAGE.read_text(encoding="utf-8")))
    of_others = {
        "read as cifar10 of torchvision",
        "read as images in 3 files of parquet (test, train)",
    }
    assert shown - said == of_others and said <= shown
