"""Labels of a table go to the samples that its values name, or the table is refused."""

from pathlib import Path

import numpy as np
import pytest
from small_folders import CLASSES, csv_text, label_by_number, write_images

from s2e_optuna.data import load_data, save_labels
from s2e_optuna.data.matching import SEVERAL, UNKNOWN, Samples
from s2e_optuna.errors import DataError

COUNT = 24
NAMES = [f"{i:02}.png" for i in range(COUNT)]
LABELS = [CLASSES[i % 3] for i in range(COUNT)]
RIGHT = dict(enumerate(LABELS))
SHUFFLED = np.random.default_rng(0).permutation(COUNT)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return write_images(tmp_path / "photos" / "images", NAMES)


def table(folder: Path, name: str, text: str) -> Path:
    path = folder.parent / name
    path.write_text(text, encoding="utf-8")
    return path


def shuffled(values):
    return [values[i] for i in SHUFFLED]


@pytest.mark.parametrize("header", ["file_name", "Image Index", "x"])
@pytest.mark.parametrize("above", ["", "images/", "photos/images/", "/somewhere/photos/images/"])
def test_a_column_is_known_by_its_values_whatever_its_name_and_the_order(flat, header, above):
    columns = {header: [above + name for name in shuffled(NAMES)], "label": shuffled(LABELS)}
    data = load_data(flat, labels=table(flat, "metadata.csv", csv_text(columns)), train_size=20)
    found = label_by_number(data)
    assert found == {number: RIGHT[number] for number in found} and len(found) > 12
    said = f"labels of metadata.csv, column label, samples named by the column {header}"
    assert said in data.reading


def test_a_column_of_names_wins_over_one_of_numbers_called_id(flat):
    columns = {"id": range(COUNT), "photo": shuffled(NAMES), "label": shuffled(LABELS)}
    data = load_data(flat, labels=table(flat, "t.csv", csv_text(columns)))
    assert label_by_number(data).items() <= RIGHT.items()


def test_two_columns_that_name_other_samples_are_refused(flat):
    columns = {"path": NAMES, "file": shuffled(NAMES), "label": LABELS}
    with pytest.raises(DataError, match=r"columns .* both name samples, .*--path-column"):
        load_data(flat, labels=table(flat, "t.csv", csv_text(columns)))
    path = table(flat, "t.csv", csv_text(columns))
    assert label_by_number(load_data(flat, labels=path, path_column="path")).items() <= (
        RIGHT.items()
    )


def test_names_without_endings_in_several_folders(tmp_path):
    names = [f"part_{i % 2}/ISIC_{i:05}.png" for i in range(COUNT)]
    folder = write_images(tmp_path / "images", names)
    columns = {"image_id": [f"ISIC_{i:05}" for i in SHUFFLED], "dx": shuffled(LABELS)}
    data = load_data(folder, labels=table(folder, "metadata.csv", csv_text(columns)))
    assert label_by_number(data).items() <= RIGHT.items() and data.class_names == CLASSES


def test_the_order_tells_only_where_no_column_names_files(flat):
    data = load_data(flat, labels=table(flat, "t.csv", csv_text({"label": LABELS})))
    assert label_by_number(data).items() <= RIGHT.items()
    assert any("in the order of the samples (00.png, 01.png, …)" in s for s in data.reading)
    for columns in (
        {"name": [f"IMG_{i}.jpg" for i in range(COUNT)], "label": LABELS},
        {"image": [f"scan {i}" for i in range(COUNT)], "label": LABELS},
    ):
        with pytest.raises(DataError, match=r"24 of 24 rows of the labels .* has not"):
            load_data(flat, labels=table(flat, "t.csv", csv_text(columns)))


def test_numbers_of_samples_are_counted_from_zero(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x_train=rng.random((30, 4, 4)), y_train=np.arange(30) % 3)
    for start, count in ((0, 30), (1, 29), (1, 30)):
        path = tmp_path / "t.csv"
        labels = [CLASSES[i % 3] for i in range(count)]
        path.write_text(csv_text({"id": range(start, start + count), "y": labels}))
        if start == 0:
            assert load_data(tmp_path / "a.npz", labels=path).ids[0] == "0"
        else:
            with pytest.raises(DataError, match=r"counted from 0|1 of 30 rows"):
                load_data(tmp_path / "a.npz", labels=path)


def test_true_labels_in_another_order_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    own = rng.integers(0, 5, 200)
    np.savez(tmp_path / "a.npz", x_train=rng.random((200, 4, 4)), y_train=own)
    np.savez(tmp_path / "l.npz", given=(own + 1) % 5, clean=own)
    assert load_data(tmp_path / "a.npz", labels=tmp_path / "l.npz").noise_rate == 1.0
    np.savez(tmp_path / "l.npz", given=(own + 1) % 5, clean=rng.permutation(own))
    with pytest.raises(DataError, match=r"agree with those of the data in \d+% .* another order"):
        load_data(tmp_path / "a.npz", labels=tmp_path / "l.npz")


def test_saved_numbers_mean_the_classes_that_were_saved(tmp_path):
    images = np.random.default_rng(0).random((30, 4, 4))
    labels = np.array(CLASSES)[np.arange(30) % 3]
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels)
    save_labels(tmp_path / "l.npz", load_data(tmp_path / "a.npz"))
    renamed = np.where(labels == "cow", "a cow", labels)  # all classes have other numbers now
    np.savez(tmp_path / "a.npz", x_train=images, y_train=renamed)
    with pytest.raises(DataError, match=r"hold 'cow', which is no class: .* a cow, ant, bee"):
        load_data(tmp_path / "a.npz", labels=tmp_path / "l.npz")
    assert load_data(tmp_path / "a.npz").y_train[0] == 1


SAMPLES = Samples(
    ["train/cat/0.png", "train/dog/0.png", "train/dog/1.png", "val/cat/0.png"],
    Path("/data/photos"),
    parts=["train", "train", "train", "val"],
)


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("train/cat/0.png", 0),
        ("./train\\cat\\0.png", 0),
        ("/elsewhere/photos/train/dog/0.png", 1),
        ("cat/0.png", 0),
        ("dog/0.jpg", 1),
        ("1.png", 2),
        ("1", 2),
        ("old/1.png", 2),
        ("val/cat/0.png", 3),
        ("0.png", SEVERAL),
        ("test/cat/0.png", UNKNOWN),
        ("cat/1.png", UNKNOWN),
        ("val/dog/1.png", UNKNOWN),
        ("2.png", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_a_name_belongs_to_the_sample_with_the_longest_common_end(name, position):
    assert SAMPLES.tie([name]).positions.tolist() == [position]


def test_a_name_that_could_be_two_samples_names_both():
    assert SAMPLES.tie(["0.png"]).several == ("0.png", "train/cat/0.png", "train/dog/0.png")


def test_of_two_names_for_one_sample_the_closer_one_stays():
    samples = Samples(["0.png", "1.png"], Path("/data/train"))
    assert samples.tie(["train/0.png", "other/0.png"]).positions.tolist() == [0, UNKNOWN]
    assert samples.tie(["val/0.png"]).positions.tolist() == [UNKNOWN]


def test_the_part_of_a_row_decides_between_samples_of_equal_names():
    assert SAMPLES.tie(["cat/0.png"] * 2, ["train", "val"]).positions.tolist() == [0, 3]
