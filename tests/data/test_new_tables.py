"""New rows of a table: what was fitted to the columns travels with the model."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from safetensors import safe_open

from s2e_optuna import load_model
from s2e_optuna.data import load_data
from s2e_optuna.data.new_samples import new_samples
from s2e_optuna.data.table_columns import TableColumns
from s2e_optuna.errors import DataError
from s2e_optuna.training import TrainConfig, predict_proba, save_model, train


def write(path: Path, columns: dict[str, list]) -> Path:
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def patients(size: int = 60) -> dict[str, list]:
    rng = np.random.default_rng(0)
    label = np.arange(size) % 2
    return {
        "id": [f"p{i}" for i in range(size)],
        "age": [float(x) for x in rng.normal(3 * label, 1)],
        "pay": ["" if i % 10 == 3 else 1000.1 * i for i in range(size)],
        "city": ["NA" if i == 7 else ("Oslo", "Rome", "Bern")[i % 3] for i in range(size)],
        "note": [f"free text {i}" for i in range(size)],
        "diagnosis": [("ill", "well")[i] for i in label],
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    table = write(root / "patients.csv", patients())
    data = load_data(table, label_column="diagnosis", drop_columns=["note"])
    config = TrainConfig(epochs=12, batch_size=8, network="mlp", learning_rate=0.01)
    model = train("standard", [None], data, config)[0].model
    (root / "out").mkdir()
    save_model(model, root / "out" / "model.safetensors")
    return root


def training_data(place):
    return load_data(place / "patients.csv", label_column="diagnosis", drop_columns=["note"])


def rows_of(columns, chosen):
    return {name: [cells[i] for i in chosen] for name, cells in columns.items()}


def test_new_rows_become_the_same_numbers_to_the_bit(place, tmp_path):
    data, model = training_data(place), load_model(place / "out")
    chosen = [int(name[1:]) for name in data.ids]
    columns = rows_of(patients(), chosen)
    table = write(tmp_path / "new.csv", dict(reversed(columns.items())))
    raw = new_samples(table).raw
    found = model.encoder.apply(model.encoder.cast(raw.columns, "new"), np.arange(len(raw)))
    np.testing.assert_array_equal(found, data.x_train[:, 0, 0].numpy())
    np.testing.assert_array_equal(model.predict_proba(table), predict_proba(model, data.x_train))


def test_the_command_names_rows_by_their_own_column(place, tmp_path):
    columns = rows_of(patients(), range(40, 46))
    del columns["diagnosis"], columns["note"]
    result = run(f"predict {place / 'out'} {write(tmp_path / 'new.csv', columns)}")
    assert result.exit_code == 0 and "read as a table of 6 rows, 4 columns" in result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["id"] for row in rows] == [f"p{i}" for i in range(40, 46)]
    assert {row["predicted_label"] for row in rows} <= {"ill", "well"}


def test_missing_columns_are_named(place, tmp_path):
    columns = patients()
    del columns["age"], columns["city"]
    table = write(tmp_path / "new.csv", columns)
    with pytest.raises(DataError, match=r"new.csv lacks the columns age, city, which the model"):
        load_model(place / "out").predict(table)


def test_cells_are_cast_to_what_their_column_was_in_fitting():
    fitted = TableColumns({"n": 2.0}, ("n",), {"c": ("", "1", "true", "x")})
    raw = fitted.cast({"n": ["?", "7"], "c": ["1.0", "True"]}, "t")
    assert fitted.apply(raw, np.arange(2)).tolist() == [[2, 1, 0, 1, 0, 0], [7, 0, 0, 0, 1, 0]]
    raw = fitted.cast({"n": ["", ""], "c": ["new", "NA"]}, "t")  # only gaps, and one unknown
    assert fitted.apply(raw, np.arange(2)).tolist() == [[2, 1, 0, 0, 0, 0], [2, 1, 1, 0, 0, 0]]
    for cell in ("abc", "inf"):
        with pytest.raises(DataError, match=rf"column n of t holds '{cell}', and the model was"):
            fitted.cast({"n": [cell], "c": ["x"]}, "t")


def test_what_was_fitted_is_text_and_comes_back():
    fitted = TableColumns({"a": 0.1 + 0.2}, (), {"é": ("", "ü")}, "id")
    text = fitted.stored()
    assert json.loads(text)["naming"] == "id"
    assert vars(TableColumns.from_stored(text)) == vars(fitted)


def test_a_data_frame(place):
    pandas = pytest.importorskip("pandas", reason="pandas is missing")
    model = load_model(place / "out")
    frame = pandas.read_csv(place / "patients.csv")
    np.testing.assert_array_equal(
        model.predict_proba(frame), model.predict_proba(place / "patients.csv")
    )


def test_missing_values_of_any_kind_in_a_data_frame(place):
    pandas = pytest.importorskip("pandas", reason="pandas is missing")
    model = load_model(place / "out")
    columns = rows_of(patients(), range(4))
    empty = {"pay": ["", "", "", ""], "city": ["", "", "", ""]}
    expected = model.predict_proba(Frame(columns | empty))
    for missing in (None, float("nan"), pandas.NA, pandas.NaT):
        frame = pandas.DataFrame(columns | {name: [missing] * 4 for name in empty})
        np.testing.assert_array_equal(model.predict_proba(frame), expected)
        frame = frame.astype({"city": "string", "pay": "Float64"}, errors="ignore")
        np.testing.assert_array_equal(model.predict_proba(frame), expected)


class Frame:
    """As much of a DataFrame as is looked at."""

    def __init__(self, columns):
        self.columns = list(columns)
        self._cells = columns

    def __len__(self):
        return len(next(iter(self._cells.values())))

    def __getitem__(self, name):
        return Series(self._cells[name])


class Series:
    def __init__(self, values):
        self.to_list = lambda: values


def test_values_of_a_frame_are_read_as_they_would_stand_in_a_file(place):
    model = load_model(place / "out")
    columns = patients()
    columns["pay"] = [float("nan") if value == "" else value for value in columns["pay"]]
    columns["city"] = [None if value == "NA" else value for value in columns["city"]]
    found = model.predict_proba(Frame(columns))
    np.testing.assert_array_equal(found, model.predict_proba(place / "patients.csv"))


def test_a_model_without_columns_refuses_a_table(place, tmp_path):
    data = load_data("digits", train_size=100)
    model = train("standard", [None], data, TrainConfig(epochs=1, network="mlp"))[0].model
    with pytest.raises(DataError, match=r"patients.csv is a table, and the model knows no"):
        model.predict(place / "patients.csv")


def test_a_model_of_an_earlier_version_loads_and_takes_its_numbers(place, tmp_path):
    with safe_open(str(place / "out" / "model.safetensors"), framework="np") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    del metadata["columns"]
    from safetensors.numpy import save_file

    save_file(tensors, tmp_path / "model.safetensors", metadata)
    old, data = load_model(tmp_path), training_data(place)
    assert old.encoder is None
    found = old.predict_proba(data.x_train.numpy())
    np.testing.assert_array_equal(found, load_model(place / "out").predict_proba(data.x_train))


def test_another_table_is_judged_by_the_columns_of_the_model(place, tmp_path):
    columns = rows_of(patients(), range(20))
    columns["city"] = ["Rome"] * 20  # constant here, and not in the model's
    columns["age"] = [x + 100 for x in columns["age"]]
    table = write(tmp_path / "more.csv", columns)
    model = place / "out" / "model.safetensors"
    result = run(f"suspects {table} --model {model} --label-column diagnosis --json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["samples"] == 20


def test_a_dropped_column_is_not_learnt_from(place):
    data = training_data(place)
    assert "1 column left out by name (note)" in "; ".join(data.reading)
    assert data.input_shape[2] == 7  # age, pay, pay is missing, four cities


def test_columns_that_cannot_be_dropped(place):
    table = place / "patients.csv"
    with pytest.raises(DataError, match=r"has no column 'nothing'.*--drop-column"):
        load_data(table, label_column="diagnosis", drop_columns=["nothing"])
    with pytest.raises(DataError, match=r"was named for its use and to be left out"):
        load_data(table, label_column="diagnosis", drop_columns=["diagnosis"])
    with pytest.raises(DataError, match="--drop-column is for a table"):
        load_data("digits", drop_columns=["a"])
    with pytest.raises(DataError, match="leave it out with --drop-column note"):
        load_data(table, label_column="diagnosis")


def test_the_flag_may_be_repeated_and_is_stored(place, tmp_path):
    from s2e_optuna.commands.takes import flags
    from s2e_optuna.data import DataSpec

    spec = DataSpec("t.csv", drop_columns=("a", "b"))
    assert flags(spec)[-4:] == ["--drop-column", "a", "--drop-column", "b"]
    stored = json.loads(json.dumps(spec.settings()))
    assert DataSpec.from_settings(stored).drop_columns == ("a", "b")
    assert DataSpec.from_settings({"data": "t.csv"}).drop_columns is None
    command = (
        f"train {place / 'patients.csv'} --label-column diagnosis --drop-column note "
        f"--drop-column city --method standard --epochs 1 --seeds 1 --out {tmp_path / 'o'} -q"
    )
    assert run(command).exit_code == 0
    assert load_model(tmp_path / "o").encoder.values == {}
