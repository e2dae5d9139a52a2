"""Tables of labels: matched by name or by order, saved and restored."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from s2e_optuna.data import load_data, read_labels, save_labels
from s2e_optuna.data.class_numbers import table_classes
from s2e_optuna.errors import DataError

HERE = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve training images and six test images of two classes, in class folders."""
    for part, count in (("train", 6), ("test", 3)):
        for value, name in enumerate(("cat", "dog")):
            place = tmp_path / "images" / part / name
            place.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (6, 5), (value * 200, i, 0)).save(place / f"{i}.png")
    return tmp_path / "images"


def table(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder.parent / name
    path.write_text(text)
    return path


def rows(names, labels, header="path,label"):
    return "\n".join([header, *(",".join(row) for row in zip(names, labels, strict=True))])


ALL = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(6)]


@pytest.mark.parametrize("prefix", ["train/", "", "./train/"])
def test_labels_are_matched_by_path_whatever_their_order(folder, prefix):
    shuffled = ALL[::-1]
    labels = ["dog"] * 6 + ["cat"] * 5 + ["dog"]  # train/cat/0.png is called a dog
    path = table(folder, rows([prefix + name for name in shuffled], labels))
    data = load_data(folder, labels=path)
    assert data.ids == tuple(f"train/{name}" for name in ALL)
    assert data.y_train.tolist() == [1, 0, 0, 0, 0, 0] + [1] * 6
    assert data.x_train[0, 1, 0, 0] == 0 and data.x_train[11, 0, 0, 0] == 200
    assert data.noise == "labels of t.csv, column label"
    assert (data.y_clean, data.validation, len(data.y_val)) == (None, "clean", 3)


def test_columns_are_chosen_by_name_and_the_truth_is_for_reports(folder):
    text = "file name;x\n".replace(";x", ",worst,clean,aggregate")
    text += "\n".join(
        f"{name},{'dog' if i == 0 else name[:3]},{name[:3]},cat" for i, name in enumerate(ALL)
    )
    path = table(folder, text)
    data = load_data(folder, labels=path, path_column="file name", label_column="worst")
    assert data.noise_rate == pytest.approx(1 / 12)
    with pytest.raises(DataError, match="no column 'nope', only file name, worst"):
        read_labels(path, label_column="nope", path_column="file name")


def test_what_the_table_does_not_list_is_left_out(folder):
    data = load_data(folder, labels=table(folder, rows(ALL[:4] + ALL[6:9], ["0"] * 4 + ["1"] * 3)))
    assert len(data.y_train) == 7 and data.class_names == ("cat", "dog")


def test_images_need_no_class_folders_when_a_table_has_the_labels(tmp_path):
    (tmp_path / "flat").mkdir()
    for i in range(12):
        Image.new("L", (4, 4), i).save(tmp_path / "flat" / f"{i:02}.png")
    text = rows([f"{i:02}.png" for i in range(12)], ["b", "a", "c"] * 4)
    data = load_data(tmp_path / "flat", labels=table(tmp_path / "flat", text))
    assert data.class_names == ("a", "b", "c") and data.validation == "noisy"
    values = {
        name: int(pixels[0, 0, 0]) for name, pixels in zip(data.ids, data.x_train, strict=True)
    }
    assert all(int(name[:2]) == value for name, value in values.items())


def test_a_compressed_table_for_arrays_goes_by_row(tmp_path):
    with gzip.open(tmp_path / "l.csv.gz", "wt") as file:
        file.write("label\n" + "\n".join(str((i + 1) % 10) for i in range(1000)))
    data = load_data("digits", labels=tmp_path / "l.csv.gz")
    assert data.y_train[:3].tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", ["drawn.csv", "drawn.csv.gz", "drawn.npz"])
@pytest.mark.parametrize("validation", ["clean", "noisy"])
def test_drawn_labels_are_saved_and_loaded(tmp_path, name, validation):
    options = {"validation": validation, "train_size": 300}
    drawn = load_data("digits", noise="pair", noise_rate=0.4, seed=3, **options)
    save_labels(tmp_path / name, drawn)
    again = load_data("digits", labels=tmp_path / name, **options)
    for part in ("x_train", "y_train", "y_clean", "x_val", "y_val"):
        assert torch.equal(getattr(again, part), getattr(drawn, part)), part
    assert (again.ids, again.val_ids) == (drawn.ids, drawn.val_ids)


def test_numbers_of_classes_whose_names_are_numbers_too(tmp_path):
    images = np.random.default_rng(0).random((30, 4, 4))
    np.savez(tmp_path / "a.npz", x_train=images, y_train=np.arange(30) % 3 + 1)
    given = np.arange(30) % 3
    np.savez(tmp_path / "l.npz", given=given, clean=np.maximum(given, 1))
    data = load_data(tmp_path / "a.npz", labels=tmp_path / "l.npz")
    assert data.class_names == ("1", "2", "3")
    assert data.y_clean.tolist() == data.y_train.clamp(min=1).tolist()


def test_a_table_names_its_classes_by_any_numbers():
    assert table_classes([["10", "3"], ["3"]], ()) == ("3", "10")


BAD = {
    "paths": (rows([*ALL[:5], *"abcdefg"], ["cat"] * 12), "7 of 12 .* such as a, b, c, d, e:"),
    "twice": (
        rows([*ALL, ALL[0]], ["cat"] * 6 + ["dog"] * 7),
        "name the sample train/cat/0.png twice, once cat and once dog",
    ),
    "no labels": (rows(ALL, [""] * 12), r"no training sample has a label in the labels \(t.csv"),
    "short line": (rows(ALL, ["cat"] * 12) + "\nx", "1 of 13 rows .* such as x:"),
    "unknown class": (rows(ALL, ["cat"] * 11 + ["cow"]), "'cow', which is no class: .*cat, dog"),
    "number too high": (rows(ALL, ["0"] * 11 + ["2"]), "hold '2', which is no class"),
    "not integers": (rows(ALL, ["0.5"] * 12), "hold '0.5', which is no class"),
    "no label column": (
        rows(ALL, ["cat,1"] * 12, "path,x,y"),
        "no column label or .*only path, x, y: name one with --label-column",
    ),
    "empty class": (rows(ALL, ["cat"] * 12), r"no training sample \(class dog\)"),
    "empty": ("", "is empty"),
    "header only": ("path,label\n", "no labels below"),
    "order": ("label\ncat\ndog", "are 2 and the training samples of .* 12"),
    "quote": ('path,label\n"cat', "1 of 1 rows .* such as cat:"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_explained(folder, case):
    text, says = BAD[case]
    with pytest.raises(DataError, match=says):
        load_data(folder, labels=table(folder, text))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.csv.gz", b"no gzip", "cannot read the labels"),
        ("l.csv", b"label\n\xff\xfe", "cannot read the labels"),
        ("l.npz", b"", "cannot read"),
        ("l.xlsx", b"", "is no table"),
        ("l.csv", None, "there is no file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        load_data("digits", labels=tmp_path / name)


def test_saved_arrays_without_some_labels_are_refused(tmp_path):
    np.savez(tmp_path / "l.npz", given=[0.0, np.nan, 1.0])
    with pytest.raises(DataError, match=r"1 of the labels in .*, array given, are missing"):
        read_labels(tmp_path / "l.npz")


def test_labels_and_noise_exclude_each_other(tmp_path):
    with pytest.raises(DataError, match="leave noise out"):
        load_data("digits", labels="x.csv", noise="pair", noise_rate=0.2)
    with pytest.raises(DataError, match="without a table"):
        load_data("digits", label_column="x")


def test_where_labels_cannot_be_saved(tmp_path, digits):
    with pytest.raises(DataError, match=r"name a \.csv"):
        save_labels(tmp_path / "x.txt", digits)
    with pytest.raises(DataError, match="folder does not exist"):
        save_labels(tmp_path / "no" / "x.csv", digits)


def test_saved_names_are_those_of_the_classes(tmp_path, digits):
    save_labels(tmp_path / "x.csv", digits)
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert lines[0] == "id,label,clean" and len(lines) == 1001
    assert np.genfromtxt(lines[1:], delimiter=",", dtype=int)[:, 1].tolist() == (
        digits.y_train.tolist()
    )
