"""Folders as people have them: what is read, what is left out, and what is said."""

import os
import shutil

import pytest
from PIL import Image
from small_folders import CLASSES, csv_text, label_by_number, write_class_folders, write_images

from s2e_optuna.data import load_data
from s2e_optuna.errors import DataError


def sizes(data) -> list[int]:
    return [len(data.y_train), len(data.y_val), 0 if data.y_test is None else len(data.y_test)]


def said(data) -> str:
    return "\n".join(data.reading)


@pytest.mark.parametrize(
    "names",
    [("train", "val", "test"), ("Train", "Valid", "Test"), ("training", "validation", "TESTING")],
)
def test_the_usual_names_of_parts_in_any_case(tmp_path, names):
    for name, count in zip(names, (12, 6, 9), strict=True):
        write_class_folders(tmp_path / name, count)
    data = load_data(tmp_path)
    assert (sizes(data), data.class_names) == ([12, 6, 9], CLASSES)
    assert data.reading[0] == (
        f"read as class folders in {', '.join(names)}: 12 to train, 6 to validate, 9 to test; "
        "3 classes"
    )


def test_two_folders_for_one_part_are_refused(tmp_path):
    for name in ("train", "val", "valid"):
        write_class_folders(tmp_path / name, 6)
    with pytest.raises(DataError, match="val and valid, which both look like the val part"):
        load_data(tmp_path)


def test_parts_beside_class_folders(tmp_path):
    write_class_folders(tmp_path, 12)
    write_class_folders(tmp_path / "test", 6)
    assert sizes(load_data(tmp_path)) == [12, 3, 3] and load_data(tmp_path).class_names == CLASSES
    shutil.rmtree(tmp_path / "test")
    write_images(tmp_path / "test", ["1.png"])
    with pytest.raises(DataError, match=r"test in .* could be a part or a class"):
        load_data(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    write_images(tmp_path, [f"{c}/{i}.png" for c in ("bus", "train") for i in range(6)])
    assert load_data(tmp_path).class_names == ("bus", "train")


def test_a_test_part_without_a_training_part_is_refused(tmp_path):
    write_class_folders(tmp_path / "test", 6)
    with pytest.raises(DataError, match="no folder train beside test"):
        load_data(tmp_path)


def test_an_unlabelled_test_part_is_left_out(tmp_path):
    write_class_folders(tmp_path / "train", 12)
    write_images(tmp_path / "test", [f"{i}.png" for i in range(5)])
    data = load_data(tmp_path)
    assert sizes(data)[2] == 0
    assert "5 images of the test part left out: without labels" in said(data)


def test_what_systems_and_programs_leave_is_not_even_mentioned(tmp_path):
    write_class_folders(tmp_path / "train", 12)
    plain = load_data(tmp_path)
    for name in (
        *("train/ant/._00.png", "train/__MACOSX/ant/._00.png", "train/ant/.DS_Store"),
        *("train/ant/.ipynb_checkpoints/00-checkpoint.png", "train/bee/Thumbs.db"),
        *("__MACOSX/train/ant/00.png", ".git/x.png", "train/@eaDir/x.png", "labels.csv"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    data = load_data(tmp_path)
    assert (data.ids, data.reading) == (plain.ids, plain.reading)


def test_other_files_are_counted_by_kind_and_stray_images_and_folders_named(tmp_path):
    write_class_folders(tmp_path / "train", 12)
    for name in ("ant/a.txt", "ant/b.TXT", "bee/c.heic", "bee/README"):
        (tmp_path / "train" / name).write_bytes(b"no image")
    write_images(tmp_path, ["stray.png", "train/other.png", "extra/1.png", "extra/2.png"])
    words = said(load_data(tmp_path))
    assert "4 files left out: 2 .txt, 1 .heic, 1 without ending" in words
    assert "2 images left out: in no folder that is read" in words
    assert "the folder extra left out: neither a part nor a class" in words


@pytest.mark.parametrize("ending", ["jfif", "JPG", "jpe", "webp", "tiff", "pgm"])
def test_images_of_many_endings_are_read(tmp_path, ending):
    write_class_folders(tmp_path, 12)
    kind = {"jfif": "JPEG", "jpe": "JPEG", "JPG": "JPEG", "tiff": "TIFF", "pgm": "PPM"}
    Image.new("L", (6, 6)).save(tmp_path / "ant" / f"x.{ending}", kind.get(ending, "WEBP"))
    data = load_data(tmp_path)
    assert sum(sizes(data)) == 13
    assert "left out" not in said(data)


def test_what_a_search_writes_is_no_class(tmp_path):
    write_class_folders(tmp_path, 12)
    before = load_data(tmp_path).ids
    (tmp_path / "artifacts").mkdir()  # made by a search that has just begun
    (tmp_path / "artifacts" / "5f0c.svg").write_text("<svg/>")
    (tmp_path / "s2e.db").write_bytes(b"")
    for folder in ("s2e-out/photos", "again"):
        write_images(tmp_path / folder, ["schedule.png", "learning.png"])
        (tmp_path / folder / "model.safetensors").write_bytes(b"")
        (tmp_path / folder / "suspects.csv").write_text("id\n")
    data = load_data(tmp_path)
    assert (data.class_names, data.ids) == (CLASSES, before)
    assert "the folders again, artifacts, s2e-out left out: written by s2e" in said(data)


def test_a_class_of_artifacts_is_a_class(tmp_path):
    write_images(tmp_path, [f"{c}/{i}.png" for c in ("artifacts", "clear") for i in range(6)])
    assert load_data(tmp_path).class_names == ("artifacts", "clear")


def test_broken_images_are_left_out_when_asked_for(tmp_path, monkeypatch):
    folder = write_class_folders(tmp_path / "photos", 24)
    for name in ("ant/00.png", "bee/01.png", "cow/02.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:40])
    with pytest.raises(DataError, match=r"00.png.*01.png.*02.png \(3 of 24\).*--skip-broken"):
        load_data(folder, data_root=tmp_path)
    for _ in range(2):  # the second time they are known
        data = load_data(folder, skip_broken=True, data_root=tmp_path)
        assert "3 broken images left out: ant/00.png, bee/01.png, cow/02.png" in said(data)
        assert sum(sizes(data)) == 21
        monkeypatch.setattr("s2e_optuna.data.image_folder.remember_broken", None)
    monkeypatch.undo()
    monkeypatch.setattr("s2e_optuna.data.streaming.MEMORY_SHARE", 0.0)
    streamed = load_data(folder, skip_broken=True, data_root=tmp_path / "new", image_size=6)
    assert streamed.ids == data.ids and not hasattr(streamed.x_train, "numpy")


@pytest.mark.parametrize(
    ("names", "pattern", "classes"),
    [
        ("{label}_{i:06}.png", "auto", ("0", "1", "10")),
        ("cat{label}.{i}.png", "auto", ("cat0", "cat1", "cat10")),
        ("img-{i}-{label}-x.png", "img-*-{label}-x", ("0", "1", "10")),
    ],
)
def test_labels_in_the_names_of_files(tmp_path, names, pattern, classes):
    labels = ["0", "1", "10"]
    for part, count in (("training", 24), ("testing", 6)):
        files = [names.format(label=labels[i % 3], i=i) for i in range(count)]
        write_images(tmp_path / part, files)
    data = load_data(tmp_path, label_from_name=pattern)
    assert data.class_names == classes and sizes(data) == [24, 3, 3]
    assert label_by_number(data) == {i: classes[i % 3] for i in range(24)}
    if pattern == "auto":
        with pytest.raises(DataError, match=r"holds no folders: .*--label-from-name auto"):
            load_data(tmp_path / "training")
    with pytest.raises(DataError, match=r"24 file names of 24 do not fit x_\{label\}"):
        load_data(tmp_path / "training", label_from_name="x_{label}")
    with pytest.raises(DataError, match=r"has to hold \{label\} once"):
        load_data(tmp_path / "training", label_from_name="x_*")


def test_a_split_column_divides_and_clean_labels_validate(tmp_path):
    names = [f"{i:02}.png" for i in range(30)]
    folder = write_images(tmp_path / "images", names)
    labels = [CLASSES[i % 3] for i in range(30)]
    split = ["train"] * 18 + ["valid"] * 6 + ["test"] * 6
    columns = {"path": names, "label": labels, "part of it": split}
    (tmp_path / "t.csv").write_text(csv_text(columns))
    data = load_data(folder, labels=tmp_path / "t.csv")
    assert sizes(data) == [18, 6, 6]
    assert "samples named by the column path, parts by the column part of it" in said(data)
    with pytest.raises(DataError, match=r"column label .* says ant, bee, cow, which are no parts"):
        load_data(folder, labels=tmp_path / "t.csv", label_column="path", split_column="label")


def test_flags_of_validation_rows(tmp_path):
    for part, count in (("train", 12), ("val", 12)):
        write_class_folders(tmp_path / part, count)
    names = [f"{p}/{CLASSES[i % 3]}/{i:02}.png" for p in ("train", "val") for i in range(12)]
    true = [CLASSES[i % 3] for i in range(12)] * 2
    given = ["bee", *true[1:]]
    columns = {"path": names, "noisy": given, "true": true, "is_valid": [False] * 12 + [True] * 12}
    (tmp_path / "t.csv").write_text(csv_text(columns))
    options = {"labels": tmp_path / "t.csv", "label_column": "noisy", "clean_column": "true"}
    data = load_data(tmp_path, **options)
    assert sizes(data)[:2] == [12, 12] and data.noise_rate == pytest.approx(1 / 12)


def test_a_partly_filled_clean_column_validates(tmp_path):
    names = [f"{i:02}.png" for i in range(30)]
    folder = write_images(tmp_path / "images", names)
    given = [CLASSES[i % 3] for i in range(30)]
    checked = ["cow" if i in (0, 1, 2) else given[i] if i < 9 else "" for i in range(30)]
    (tmp_path / "t.csv").write_text(csv_text({"path": names, "label": given, "clean": checked}))
    data = load_data(folder, labels=tmp_path / "t.csv")
    assert sizes(data)[:2] == [21, 9] and data.validation == "clean"
    assert data.y_val.tolist() == [2, 2, 2, 0, 1, 2, 0, 1, 2] and data.y_clean is None
    assert "9 samples with a true label validate, the other 21 train" in said(data)
    noisy = load_data(folder, labels=tmp_path / "t.csv", validation="noisy")
    assert sum(sizes(noisy)) == 30 and "known for 9 of 30" in said(noisy)


def test_lists_of_validation_and_test_labels(tmp_path):
    names = [f"images/{i:02}.jpg.png" for i in range(30)]
    folder = write_images(tmp_path / "clothing", names)
    lines = [f"{name} {i % 3}" for i, name in enumerate(names)]
    (tmp_path / "noisy_label_kv.txt").write_text("\n".join(lines[:24]))
    (tmp_path / "clean_label_kv.txt").write_text("\n".join(lines[20:26]))
    (tmp_path / "test.txt").write_text("\n".join(lines[26:]))
    data = load_data(
        folder,
        labels=tmp_path / "noisy_label_kv.txt",
        val_labels=tmp_path / "clean_label_kv.txt",
        test_labels=tmp_path / "test.txt",
    )
    assert sizes(data) == [20, 6, 4]
    assert "4 samples of the other lists left out of the training part" in said(data)


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile;label\n" + "".join(f"{i:02}.png;{CLASSES[i % 3]}\n" for i in range(12)),
        "".join(f"{i:02}.png,{CLASSES[i % 3]}\n" for i in range(12)),
        "".join(f"{i:02}.png {CLASSES[i % 3]}\n" for i in range(12)),
        "name\tlabel\n" + "".join(f"{i:02}.png\t{CLASSES[i % 3]}\n" for i in range(12)),
        "image,ant,bee,cow\n"
        + "".join(
            f"{i:02},{','.join(str(float(i % 3 == c)) for c in range(3))}\n" for i in range(12)
        ),
    ],
    ids=["semicolons", "no header", "spaces", "tabs", "one-hot"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_of_many_kinds(tmp_path, text, encoding):
    folder = write_images(tmp_path / "images", [f"{i:02}.png" for i in range(12)])
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    data = load_data(folder, labels=tmp_path / "t.csv")
    assert data.class_names == CLASSES
    assert label_by_number(data).items() <= {i: CLASSES[i % 3] for i in range(12)}.items()


def test_rows_that_say_nothing_are_left_out_and_counted(tmp_path):
    names = [f"{i:02}.png" for i in range(40)]
    folder = write_images(tmp_path / "images", names)
    rows = [f"{name},{CLASSES[i % 3]}" for i, name in enumerate(names)]
    rows[3], rows[4] = "03.png,NA", "04.png,"
    rows += [rows[0], "gone.png,ant"]
    (tmp_path / "t.csv").write_text("path,label\n" + "\n".join(rows))
    data = load_data(folder, labels=tmp_path / "t.csv")
    assert sum(sizes(data)) == 38 and data.class_names == CLASSES
    words = said(data)
    assert "1 row of 42 left out, for" in words and "has no gone.png" in words
    assert "1 row left out that repeats another" in words
    assert "2 rows left out without a label" in words
    (tmp_path / "t.csv").write_text("path,label\n" + "\n".join([*rows, "a,ant", "b,bee"]))
    with pytest.raises(DataError, match=r"3 of 44 rows .* has not, such as gone.png, a, b"):
        load_data(folder, labels=tmp_path / "t.csv")


def test_shares_and_several_classes_at_once_are_refused(tmp_path):
    folder = write_images(tmp_path / "images", ["0.png", "1.png"])
    for cells, says in (("0.5,0.5", "hold shares between 0 and 1"), ("1,1", "several classes at")):
        (tmp_path / "t.csv").write_text(f"image,ant,bee\n0.png,1,0\n1.png,{cells}\n")
        with pytest.raises(DataError, match=says):
            load_data(folder, labels=tmp_path / "t.csv")


def test_names_that_are_no_utf_8_are_named(tmp_path):
    write_class_folders(tmp_path, 6)
    with open(os.fsencode(tmp_path / "ant") + b"/b\xfcrste.png", "wb"):
        pass
    with pytest.raises(DataError, match=r"ant/b\\xfcrste.png has a name that is no UTF-8"):
        load_data(tmp_path)


def test_a_column_without_a_table_is_refused_in_the_words_of_what_was_asked(tmp_path):
    folder = write_class_folders(tmp_path / "photos", 6)
    with pytest.raises(DataError, match=r"^--label-column was given without .*--labels, or leave"):
        load_data(folder, label_column="x")
    (tmp_path / "metadata.csv").write_text("x\n")
    with pytest.raises(DataError, match=r"--clean-column .*for example .*metadata.csv, or leave"):
        load_data(folder, clean_column="x")


def test_a_class_with_nearly_all_labels_and_few_validation_samples_are_warned_of(tmp_path):
    write_images(tmp_path / "train", [f"{'b' if i else 'a'}/{i}.png" for i in range(20)])
    write_images(tmp_path / "val", [f"{'b' if i else 'a'}/{i}.png" for i in range(16)])
    words = said(load_data(tmp_path))
    assert "warning: 95.0% of the training labels are b" in words
    assert "warning: 16 validation samples are too few to choose schedules by" in words
    cut = said(load_data(tmp_path, validation="noisy"))
    assert "4 validation samples are too few to choose schedules by: add data" in cut
