"""Images as Hugging Face stores them: bytes in parquet or Arrow files, class names beside them."""

import io
import json
import sys

import numpy as np
import pytest
from command_line import run
from PIL import Image

from s2e_optuna.data import load_data
from s2e_optuna.data.new_samples import new_samples
from s2e_optuna.errors import DataError

SHADES = {"cat": 40, "dog": 200}


def content(shade: int, number: int) -> bytes:
    pixels = np.full((6, 6, 3), shade, dtype=np.uint8)
    pixels[0, 0] = number
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def make_table(names, labels, *, first=0, **columns):
    """Make a table as `datasets` writes it: each image has the shade of its class."""
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is missing")
    images = [
        {"bytes": content(SHADES[names[max(label or 0, 0)]], first + i), "path": f"{i}.png"}
        for i, label in enumerate(labels)
    ]
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    found = {
        "image": arrow.array(images, kind),
        "label": arrow.array(labels, arrow.int64()),
        **{name: arrow.array(values) for name, values in columns.items()},
    }
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(names), "_type": "ClassLabel"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return arrow.table(found).replace_schema_metadata(metadata)


def write_parquet(place, *args, **options):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing")
    place.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(make_table(*args, **options), place)
    return place


@pytest.fixture
def load(tmp_path):
    return lambda source, **options: load_data(source, data_root=tmp_path / "cache", **options)


def shown(data):
    """Name of each training image's class, by its shade."""
    by_shade = {shade: name for name, shade in SHADES.items()}
    return [by_shade[shade] for shade in data.x_train[:, 0, 3, 3].tolist()]


def given(data):
    return [data.class_names[label] for label in data.y_train.tolist()]


def test_a_parquet_file_is_read_with_the_names_of_its_classes(tmp_path, load):
    file = write_parquet(tmp_path / "pets.parquet", ("cat", "dog"), [0, 1] * 15)
    data = load(file, validation="noisy")
    assert data.reading[0].startswith("read as images in 1 file of parquet: 24 to train, 6 to")
    assert data.name == "pets" and data.class_names == ("cat", "dog")
    assert given(data) == shown(data) and all(name.startswith("train-0") for name in data.ids)
    again = load(file, validation="noisy")
    assert again.files == data.files


def test_each_file_has_names_of_its_own(tmp_path, load):
    """Files of one data set may number their classes in another order."""
    write_parquet(tmp_path / "d" / "train-00000-of-00002.parquet", ("cat", "dog"), [0, 1] * 6)
    write_parquet(tmp_path / "d" / "train-00001-of-00002.parquet", ("dog", "cat"), [0, 0, 1] * 4,
                  first=50)  # fmt: skip
    write_parquet(tmp_path / "d" / "test-00000-of-00001.parquet", ("dog", "cat"), [0, 1] * 4,
                  first=90)  # fmt: skip
    data = load(tmp_path / "d")
    assert data.reading[0].startswith("read as images in 3 files of parquet (test, train): 24 to")
    assert given(data) == shown(data) and len(data.y_val) + len(data.y_test) == 8


def test_a_folder_that_was_saved(tmp_path, load):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is missing")
    place = tmp_path / "saved"
    for part, count in (("train", 20), ("validation", 6)):
        (place / part).mkdir(parents=True)
        table = make_table(("cat", "dog"), [0, 1] * (count // 2), first=count)
        with arrow.OSFile(str(place / part / "data-00000-of-00001.arrow"), "wb") as file, \
             arrow.ipc.new_stream(file, table.schema) as writer:  # fmt: skip
            writer.write_table(table)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": part}
        (place / part / "state.json").write_text(json.dumps(state))
        (place / part / "dataset_info.json").write_text("{}")
    (place / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    data = load(place)
    assert (len(data.y_train), len(data.y_val), data.validation_source) == (20, 6, "val")
    assert given(data) == shown(data) and load(place / "train").name == "train"
    (place / "dataset_dict.json").write_text("{}")
    with pytest.raises(DataError, match=r"cannot read .*saved: KeyError"):
        load(place)


def test_what_is_wrong_names_the_file_and_not_the_cache(tmp_path, load):
    file = write_parquet(tmp_path / "p.parquet", ("cat", "dog"), [0, 1] * 15)
    with pytest.raises(DataError, match="no column 'breed'") as error:
        load(file, label_column="breed")
    assert str(file) in str(error.value) and "cache" not in str(error.value)


def test_rows_without_a_label(tmp_path, load):
    labels = [None, -1, *[0, 1] * 15]
    file = write_parquet(tmp_path / "p.parquet", ("cat", "dog"), labels)
    data = load(file, validation="noisy")
    assert "2 rows left out without a label" in "; ".join(data.reading)
    assert len(data.y_train) + len(data.y_val) == 30


def test_another_column_of_labels_and_true_ones(tmp_path, load):
    noisy = ["dog" if i % 5 == 0 else ("cat", "dog")[i % 2] for i in range(30)]
    file = write_parquet(tmp_path / "p.parquet", ("cat", "dog"), [0, 1] * 15, worse=noisy,
                         number=list(range(2**24, 2**24 + 30)))  # fmt: skip
    data = load(file, label_column="worse", clean_column="label", validation="noisy")
    assert 0 < data.noise_rate < 0.3
    table = next((tmp_path / "cache" / "extracted").rglob("p.csv")).read_text().splitlines()
    assert table[0] == "path,label,worse,number"
    assert table[2].endswith(f",{2**24 + 1}")  # whole, though others would be floats


def test_a_label_beyond_the_names(tmp_path, load):
    file = write_parquet(tmp_path / "p.parquet", ("cat", "dog"), [0, 1])
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(file)
    broken = table.set_column(1, "label", [[0, 7]]).replace_schema_metadata(table.schema.metadata)
    parquet.write_table(broken, file)
    with pytest.raises(DataError, match="a label is 7, and there are 2 names of classes"):
        load(file)
    assert not list((tmp_path / "cache" / "extracted").iterdir())


def test_a_file_without_rows(tmp_path, load):
    file = write_parquet(tmp_path / "p.parquet", ("cat", "dog"), [])
    with pytest.raises(DataError, match=r"p\.parquet has a column of images and no rows"):
        load(file)


def test_corrected_labels_of_images_are_a_table_of_their_own(tmp_path):
    """They are no table of measurements, whose labels are a column of it."""
    file = write_parquet(tmp_path / "p.parquet", ("cat", "dog"), [0, 1] * 15)
    rows = [f"train-{i:06}.png,{('cat', 'dog')[i % 2]},{('dog', 'cat')[i % 2]},0.9,yes"
            for i in range(30)]  # fmt: skip
    header = "id,given_label,predicted_label,wrong_probability,suspicious"
    listed = tmp_path / "suspects.csv"
    listed.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    result = run(f"apply {listed} --data {file} --posterior 0.5")
    assert result.exit_code == 0, result.stderr
    assert "--copy" not in result.stdout
    assert f"--labels {tmp_path / 'labels.csv'}" in result.stdout.replace("\n", "")
    result = run(f"apply {listed} --data {file} --posterior 0.5 --copy {tmp_path / 'c.csv'}")
    assert result.exit_code == 2 and "no folder of images and no table" in result.stderr


def test_a_table_of_numbers_stays_one(tmp_path, load):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing")
    import pyarrow

    columns = {"a": np.arange(40.0), "label": ["x", "y"] * 20}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet").reading[0].startswith("read as a table")


def test_features_and_prediction(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = write_parquet(tmp_path / "p.parquet", ("cat", "dog"), [0, 1] * 15)
    out, own = tmp_path / "out", "feature_networks:small"
    result = run(f"train {file} --validation noisy --features {own} --method standard --epochs 9 "
                 f"--seeds 1 --out {out} -q")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    result = run(f"predict {out} {file} --features {own}")
    lines = result.stdout.splitlines()[1:]
    assert len(lines) == 30 and lines[0].startswith("train-000000.png,")
    assert {line.split(",")[1] for line in lines} == {"cat", "dog"}
    assert new_samples(file).words[0] == "read as a folder of 30 images"


def test_without_pyarrow_it_is_said_what_to_install(tmp_path, load, monkeypatch):
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"that pyarrow reads: install s2e-optuna\[parquet\]"):
        load(tmp_path)
