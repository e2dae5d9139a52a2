"""Changed labels and images are seen, and named."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_folders import csv_text, write_class_folders, write_images

from s2e_optuna.data import file_digests, from_arrays, load_data
from s2e_optuna.data.file_digests import digests_of_files
from s2e_optuna.data.fingerprint import Fingerprint, differences, fingerprint
from s2e_optuna.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 4, 4)).astype(np.uint8)
LABELS = np.arange(60) % 3


def changed(values, *places):
    found = np.array(values)
    found[list(places)] = (found[list(places)] + 1) % (3 if found.ndim == 1 else 200)
    return found


def look(*arrays, **options) -> Fingerprint:
    return fingerprint(from_arrays(*arrays, **options))


def difference(*arrays, before=(IMAGES, LABELS)) -> str | None:
    return differences(look(*before), look(*arrays))


def test_the_same_data_have_the_same_fingerprint_wherever_they_come_from(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=IMAGES.astype(int), y_train=LABELS + 1.0)
    names = look(IMAGES, LABELS, class_names=["1", "2", "3"])
    assert fingerprint(load_data(tmp_path / "a.npz")).digest == names.digest
    assert difference(IMAGES, LABELS) is None
    noisy = {"noise": "pair", "noise_rate": 0.3}
    assert look(IMAGES, LABELS, **noisy).digest == look(IMAGES, LABELS, **noisy).digest
    assert look(IMAGES, LABELS, **noisy).digest != look(IMAGES, LABELS, **noisy, seed=1).digest


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ((IMAGES, changed(LABELS, 3)), "1 label of the training part differs"),
        (
            (changed(IMAGES, 5, 6), changed(LABELS, *range(14))),
            "14 labels and 2 images of the training part differ",
        ),
        ((IMAGES[:58], LABELS[:58]), "2 samples of the training part are gone"),
        ((IMAGES[::-1], LABELS[::-1]), "the samples of the training part are in another order"),
        (
            (IMAGES, LABELS, IMAGES[:9], LABELS[:9]),
            "there is a validation part",
        ),
        ((IMAGES[:, :3], LABELS), "the images are read as 1x3x4 pixels and were 1x4x4 pixels"),
    ],
)
def test_what_differs_is_counted(arrays, says):
    assert says in (difference(*arrays) or "")


def test_parts_and_true_labels_are_compared_on_their_own():
    part = (IMAGES[:20], LABELS[:20])
    before = (IMAGES, LABELS, *part, *part)
    words = difference(IMAGES, LABELS, *part, part[0], changed(part[1], 1, 2), before=before)
    assert words == "2 labels of the test part differ"
    one, other = (look(IMAGES, LABELS, y_clean=changed(LABELS, *k)) for k in ((), (1, 2)))
    assert differences(one, other) == "2 true labels of the training part differ"


def test_classes_that_come_and_go_do_not_shift_the_others():
    names = np.array(["ant", "bee", "cow"])[LABELS]
    words = difference(IMAGES, np.append(names[:59], "aaa"), before=(IMAGES, names))
    assert words == "1 class new (aaa); 1 label of the training part differs"


def test_it_is_kept_in_a_file_and_of_its_digest_alone_less_is_known(tmp_path):
    before, now = look(IMAGES, LABELS), look(IMAGES, changed(LABELS, 3))
    before.save(tmp_path / "f.npz")
    assert differences(Fingerprint.load(tmp_path / "f.npz"), now) == differences(before, now)
    summary = Fingerprint(json.loads(json.dumps(dict(before.summary))))
    assert differences(summary, before) is None
    assert differences(summary, now) == "labels of the training part differ"
    (tmp_path / "f.npz").write_bytes(b"PK nonsense")
    assert Fingerprint.load(tmp_path / "f.npz") is None
    assert Fingerprint.load(tmp_path / "none.npz") is None


def test_of_a_folder_files_are_compared_by_their_paths_wherever_the_folder_lies(tmp_path):
    for name in ("one", "two"):
        for part, count in (("train", 12), ("valid", 6)):
            write_class_folders(tmp_path / name / part, count)
    before, again = (fingerprint(load_data(tmp_path / n), tmp_path / "c") for n in ("one", "two"))
    assert before.digest == again.digest
    write_images(tmp_path / "two", ["train/ant/00.png", "valid/bee/99.png"], first=200)
    assert differences(before, fingerprint(load_data(tmp_path / "two"), tmp_path / "c")) == (
        "1 image of the training part differs; 1 sample of the validation part is new"
    )


def test_corrected_labels_of_a_table_are_counted(tmp_path):
    folder = write_images(tmp_path / "images", [f"{i:02}.png" for i in range(24)])
    looks = []
    for wrong in ((), (3, 7)):
        labels = ["bee" if i in wrong else ["ant", "bee", "cow"][i % 3] for i in range(24)]
        columns = {"file": [f"{i:02}.png" for i in range(24)], "label": labels}
        (tmp_path / "t.csv").write_text(csv_text(columns))
        data = load_data(folder, labels=tmp_path / "t.csv")
        looks.append(fingerprint(data, tmp_path / "cache"))
    assert differences(*looks) == "1 label of the training part differs"  # 7 was bee already


def test_files_are_read_once_and_again_where_they_changed(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(file_digests, "_digest", lambda file: read.append(file) or len(read))
    files = []
    for i in range(4):
        files.append(str(tmp_path / f"{i}.bin"))
        Path(files[i]).write_bytes(b"x" * i)
        os.utime(files[i], (1e9, 1e9 + i))
    first = digests_of_files(files, tmp_path / "cache")
    assert (digests_of_files(files, tmp_path / "cache") == first).all() and len(read) == 4
    Path(files[2]).write_bytes(b"y" * 2)  # just now: it may change again in the same moment
    for _ in range(2):
        again = digests_of_files(files, tmp_path / "cache")
    assert read[4:] == [files[2]] * 2 and (again != first).tolist() == [False, False, True, False]
    assert (digests_of_files(files[:1], tmp_path / "cache") == first[:1]).all()
    digests_of_files(files[1:], tmp_path / "cache")  # only the changed one again
    assert read[6:] == [files[2]]
    next((tmp_path / "cache").iterdir()).write_bytes(b"damaged")
    digests_of_files(files, tmp_path / "cache")
    assert len(read) == 11
    with pytest.raises(DataError, match=r"cannot read .*none"):
        digests_of_files([str(tmp_path / "none")], None)


def test_samples_that_change_parts_are_noticed():
    data = from_arrays(IMAGES, LABELS)
    order = torch.arange(len(data.y_val)).flip(0)
    other = replace(
        data,
        x_val=data.x_val[order],
        y_val=data.y_val[order],
        val_ids=tuple(data.val_ids[i] for i in order),
    )
    words = differences(fingerprint(data), fingerprint(other))
    assert words == "the samples are in another order or in other parts"
