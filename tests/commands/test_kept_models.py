"""Models that have been kept come back and predict new samples, as classifiers do."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run
from small_folders import write_images

import s2e_optuna
from s2e_optuna.data import from_arrays, load_data
from s2e_optuna.errors import DataError
from s2e_optuna.training import Model, TrainConfig, predict_proba, save_model, train

MLP = TrainConfig(epochs=6, batch_size=32, network="mlp")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    """Folder with a model of two networks, and with ``new.npz``."""
    folder = tmp_path_factory.mktemp("digits")
    data = load_data("digits", noise=None, train_size=500)
    model = train("coteaching", [None], data, MLP)[0].model
    save_model(model, folder / "model.safetensors")
    np.savez(folder / "new.npz", images=data.x_test[:300, 0], y=data.y_test[:300])
    return folder, model


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_digits_come_back_from_the_folder_of_a_training(digits: tuple[Path, Model]) -> None:
    folder, model = digits
    assert len(model.states) == 2
    printed = run(f"predict {folder} {folder}/new.npz --probabilities")
    assert printed.exit_code == 0
    assert "read as arrays" in printed.stderr or "read as an array" in printed.stderr
    rows = rows_of(printed.stdout)
    with np.load(folder / "new.npz") as stored:
        new = dict(stored)
    expected = predict_proba(model, new["images"])  # the mean of both networks
    given = np.array([[float(row[f"probability_{c}"]) for c in range(10)] for row in rows])
    np.testing.assert_allclose(given, expected, atol=1e-6)
    assert [row["id"] for row in rows] == [str(i) for i in range(300)]
    named = np.array([int(row["predicted_label"]) for row in rows])
    assert (named == expected.argmax(1)).all() and (named == new["y"]).mean() > 0.7


def test_load_model_predicts_as_classifiers_do(digits: tuple[Path, Model]) -> None:
    folder, _ = digits
    model = s2e_optuna.load_model(folder)
    with np.load(folder / "new.npz") as stored:
        new = stored["images"]
    assert model.classes_.tolist() == [str(c) for c in range(10)]
    probabilities = model.predict_proba(new)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (model.predict(new) == model.classes_[probabilities.argmax(1)]).all()
    assert (model.predict_proba(str(folder / "new.npz")) == probabilities).all()


def test_many_networks_are_averaged(digits: tuple[Path, Model], tmp_path: Path) -> None:
    """As in the models that are trained on the posterior."""
    _, model = digits
    what = (model.network, model.input_shape, model.class_names)
    shifted = [{k: v + 0.05 * n for k, v in model.states[0].items()} for n in range(3)]
    states = (*model.states, *shifted)
    each = [Model(*what, (state,)) for state in states]
    save_model(Model(*what, states), tmp_path / "model.safetensors")
    new = torch.rand(7, 8, 8)
    expected = sum(predict_proba(one, new) for one in each) / 5
    found = s2e_optuna.load_model(tmp_path).predict_proba(new)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_columns_keep_their_scale_and_their_number(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(1e6, 1, (200, 2))
    y = (x[:, 0] > 1e6).astype(int)
    data = from_arrays(x[:150], y[:150], x[150:], y[150:], class_names=["below", "above"])
    save_model(train("standard", [None], data, MLP)[0].model, tmp_path / "model.safetensors")
    model = s2e_optuna.load_model(tmp_path)
    assert (model.predict(x[150:]) == np.array(["below", "above"])[y[150:]]).mean() > 0.8
    with pytest.raises(DataError, match="3 columns, the model was trained on 2"):
        model.predict(np.zeros((4, 3)))
    write_images(tmp_path / "images", ["a.png"])
    with pytest.raises(DataError, match="these are images"):
        model.predict(tmp_path / "images")
