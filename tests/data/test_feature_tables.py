"""Tables as data: numbers, categories, labels, parts; prepared on the training part only."""

import sys

import numpy as np
import pytest

from s2e_optuna.data import load_data
from s2e_optuna.data.table_columns import TableColumns, raw_columns
from s2e_optuna.errors import DataError


def _write(path, columns):
    rows = [columns, *zip(*columns.values(), strict=True)]
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def _columns(size=60):
    rng = np.random.default_rng(0)
    label = np.arange(size) % 2
    return {
        "id": [f"p{i}" for i in range(size)],
        "age": [round(x, 3) for x in rng.normal(3 * label, 1)],
        "pay": ["" if i % 10 == 3 else 1000 + i for i in range(size)],
        "city": ["NA" if i == 7 else ("Oslo", "Rome", "Bern")[i % 3] for i in range(size)],
        "unit": ["kg"] * size,
        "diagnosis": [("ill", "well")[i] for i in label],
    }


@pytest.fixture
def table(tmp_path):
    return _write(tmp_path / "patients.csv", _columns())


def test_a_table_is_read_as_numbers_and_categories(table):
    data = load_data(table, label_column="diagnosis")
    assert data.reading[0].startswith(
        "read as a table: 2 numbers, 1 category (city: 4 values), 6 missing values imputed: 48 to "
    )
    said = "; ".join(data.reading)
    assert (
        "labels of patients.csv, column diagnosis, names of the samples of the column id" in said
    )
    assert "1 constant column left out (unit)" in said
    assert data.name == "patients" and data.class_names == ("ill", "well")
    assert set(data.ids) | set(data.val_ids) == set(_columns()["id"])
    assert data.input_shape[:2] == (1, 1) and data.preparation.kind == "columns"


def test_it_is_fitted_to_the_training_part_only(tmp_path):
    columns = _columns() | {"part": ["train"] * 40 + ["val"] * 10 + ["test"] * 10}
    columns["pay"] = [*([1.0, 2.0, 30.0, ""] * 10), *[1e6] * 19, ""]
    columns["city"] = [*(["Oslo", "Rome"] * 20), *["Paris"] * 20]
    data = load_data(_write(tmp_path / "t.csv", columns), label_column="diagnosis")
    assert (len(data.y_train), len(data.y_val), len(data.y_test)) == (40, 10, 10)
    assert data.input_shape == (1, 1, 5)  # age, pay, pay is missing, Oslo, Rome
    assert data.x_train[3, 0, 0, 1:].tolist() == [2.0, 1.0, 0.0, 1.0]
    assert data.x_test[-1, 0, 0, 1:].tolist() == [2.0, 1.0, 0.0, 0.0]


def test_a_missing_category_is_one_of_its_own_and_an_unknown_one_is_none():
    raw = raw_columns({"c": ["a", "", "b", "a"], "n": ["1", "?", "3", "4"]}, "t")
    fitted = TableColumns.fit(raw, np.array([0, 1]))
    found = fitted.apply(raw, np.arange(4))
    assert fitted.values == {"c": ("", "a")} and fitted.medians == {"n": 1.0}
    assert found.tolist() == [[1, 0, 0, 1], [1, 1, 1, 0], [3, 0, 0, 0], [4, 0, 0, 1]]


def test_rows_without_a_label_and_true_labels(tmp_path):
    columns = _columns()
    columns["clean"] = list(columns["diagnosis"])
    columns["diagnosis"][:3] = ["", "NA", "well"]
    data = load_data(_write(tmp_path / "t.csv", columns), label_column="diagnosis")
    assert "2 rows left out without a label" in data.reading
    assert len(data.y_train) + len(data.y_val) == 58
    assert data.y_clean is not None
    assert int((data.y_clean != data.y_train).sum() + (data.y_val != data.y_val_clean).sum()) == 1


def test_labels_of_the_usual_names_and_noise(tmp_path):
    columns = _columns()
    columns["Class"] = columns.pop("diagnosis")
    del columns["id"]
    path = _write(tmp_path / "t.csv", columns)
    data = load_data(path, noise="instance", noise_rate=0.3)
    assert data.y_clean is not None and int(data.ids[0]) < 60
    tabs = tmp_path / "t.tsv"
    tabs.write_text(path.read_text().replace(",", "\t"))
    assert (load_data(tabs).x_train == load_data(path).x_train).all()


BAD = {
    "no such column": ({}, {"label_column": "y"}, r"no column 'y', only id, .* --label-column"),
    "no label": ({}, {}, "without a column label or given .* --label-column"),
    "shares": (
        {"diagnosis": np.linspace(0, 1, 60).round(3)},
        {"label_column": "diagnosis"},
        "holds numbers such as 0.017, which are no classes",
    ),
    "measurements": (
        {"diagnosis": range(60)},
        {"label_column": "diagnosis"},
        "60 different values in 60 rows, which are no classes",
    ),
    "text": (
        {"city": [f"word {i}" for i in range(60)]},
        {"label_column": "diagnosis"},
        "column city of .* holds text, 60 different values in 60 cells.*--drop-column city",
    ),
    "a word among numbers": (
        {"age": [*range(59), "old"]},
        {"label_column": "diagnosis"},
        "column age of .* holds numbers and 1 text such as 'old': leave cells",
    ),
    "infinite": ({"age": ["inf", *range(59)]}, {"label_column": "diagnosis"}, "infinite numbers"),
    "files": (
        {"id": [f"{i}.png" for i in range(60)]},
        {"label_column": "diagnosis"},
        "table of labels, for its column id names files.* --labels",
    ),
    "nothing left": (
        {"age": [1] * 60, "pay": [""] * 60, "city": ["Rome"] * 60},
        {"label_column": "diagnosis"},
        "no column to learn from",
    ),
    "names twice": ({}, {"label_column": "diagnosis", "path_column": "city"}, "names rows twice"),
    "one for two": (
        {},
        {"label_column": "diagnosis", "clean_column": "diagnosis"},
        "named for two things",
    ),
    "no parts": ({}, {"label_column": "diagnosis", "split_column": "city"}, "which are no parts"),
    "other labels": ({}, {"labels": "other.csv"}, "leave --labels out"),
    "labels left out": (
        {"label": ["x", "y"] * 30},
        {"drop_columns": ["label"]},
        "column label of .* was left out, and no other one looks like labels: .*--label-column",
    ),
    "a list of labels": (
        {},
        {"label_column": "diagnosis", "drop_columns": ["age", "pay", "city", "unit"]},
        r"names samples \(id\) and their labels \(diagnosis\), and nothing to learn.*--labels",
    ),
    "name pattern": ({}, {"label_from_name": "auto"}, "--label-from-name is for a folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path, case):
    changed, options, says = BAD[case]
    path = _write(tmp_path / "t.csv", _columns() | changed)
    with pytest.raises(DataError, match=says) as error:
        load_data(path, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,y\n", "holds no rows below its header"),
        ("a,y\n1,0\n2\n3,1\n", "line 3 of .* has 1 cell and the first 2"),
        ("a,a,y\n1,2,0\n", "two columns 'a'"),
        ("", "is empty"),
    ],
)
def test_broken_tables(tmp_path, text, says):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        load_data(tmp_path / "t.csv", label_column="y")


def test_workbooks_and_parquet_without_pyarrow(tmp_path, monkeypatch):
    for name, says in (("t.xlsx", "save its table as a .csv"), ("t.parquet", "install pyarrow")):
        (tmp_path / name).write_bytes(b"no table")
        for module in ("pyarrow", "pyarrow.parquet"):
            monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(DataError, match=says):
            load_data(tmp_path / name, label_column="y")


def test_parquet_is_the_same_table(tmp_path, table):
    parquet = pytest.importorskip("pyarrow.parquet")
    csv = pytest.importorskip("pyarrow.csv")
    parquet.write_table(csv.read_csv(table), tmp_path / "patients.parquet")
    one = load_data(table, label_column="diagnosis")
    other = load_data(tmp_path / "patients.parquet", label_column="diagnosis")
    assert (one.x_train == other.x_train).all() and one.reading[0] == other.reading[0]
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot read"):
        load_data(tmp_path / "cut.parquet", label_column="diagnosis")
