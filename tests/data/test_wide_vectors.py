"""Vectors of many numbers in arrays: fewer, fitted to train; models take them as they were."""

import numpy as np
import optuna
import pytest
import torch

from s2e_optuna import open_storage
from s2e_optuna.data import DataSpec, load_data
from s2e_optuna.data import wide_vectors as wide_module
from s2e_optuna.data.fingerprint import fingerprint
from s2e_optuna.errors import DataError
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.search import search
from s2e_optuna.stored_names import CONFIG_ATTR, TARGET_ATTR
from s2e_optuna.training import TrainConfig, load_model, predict_proba, save_model, train

WIDTH = 600


@pytest.fixture(scope="module")
def arrays():
    """Two classes that one direction tells apart; columns of very different scale."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    found = rng.normal(size=(120, WIDTH)) + 4 * labels[:, None] * rng.normal(size=WIDTH)
    return (found * 10.0 ** rng.integers(-3, 4, WIDTH)).astype(np.float32), labels


@pytest.fixture
def load(tmp_path):
    def loading(source, **options):
        return load_data(source, data_root=tmp_path / "cache", **options)

    return loading


def test_wide_vectors_become_narrow(arrays, load, tmp_path):
    data = load(arrays)
    assert data.input_shape == (1, 1, 95) and data.preparation.kind == "floats"
    assert "600 columns standardised, reduced to 95 principal components (100%" in data.reading[1]
    assert data.x_train.square().mean() == pytest.approx(1, rel=1e-3)
    assert load(arrays, components=7).input_shape == (1, 1, 7)
    assert load(arrays, components=0).input_shape == (1, 1, WIDTH)
    assert load((arrays[0][:, :512], arrays[1])).input_shape == (1, 1, 512)
    assert load((arrays[0][:, :512], arrays[1]), components=7).input_shape == (1, 1, 7)
    spec = DataSpec(arrays, components=7, data_root=tmp_path / "cache")
    assert spec.of_images().load().input_shape == (1, 1, WIDTH)


def test_columns_of_one_kind_keep_their_weights(load):
    rng = np.random.default_rng(0)
    found = rng.normal(size=(80, WIDTH)) * np.where(np.arange(WIDTH) % 3, 0.01, 0.05)
    found[:, 7] = 3.0
    data = load((found, np.arange(80) % 2), validation="noisy")
    assert "600 columns on one scale, reduced to" in data.reading[1]
    fitted = data.encoder.projection
    assert fitted.components is not None
    weight = np.square(fitted.components[:, :5]).sum(axis=1)
    assert weight[::3].mean() > 5 * np.delete(weight, np.s_[::3]).mean()
    found[:, 0] *= 50
    assert "600 columns standardised" in load((found, np.arange(80) % 2)).reading[1]


def test_too_wide_ones_stay_unless_asked(arrays, load, monkeypatch):
    monkeypatch.setattr(wide_module, "WIDEST", 599)
    assert load(arrays).input_shape == (1, 1, WIDTH)
    wide = np.zeros((20, 8193), dtype=np.uint8), np.arange(20) % 2
    with pytest.raises(DataError, match="have 8,193 numbers, too many for principal components"):
        load(wide, components=3)


def test_images_have_no_components(load, tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="--components is for features and for rows of numbers"):
        load(tmp_path / "images", components=3)
    with pytest.raises(DataError, match="--components is for features and for rows of numbers"):
        load("digits", components=3)
    assert load("digits", components=0).input_shape == (1, 8, 8)


def test_what_was_fitted_is_kept_and_told_by_the_vectors(arrays, load, tmp_path, monkeypatch):
    data = load(arrays)
    prints = fingerprint(data, tmp_path / "prints")
    monkeypatch.setattr(wide_module.Projection, "fit", None)
    again = load(arrays)
    assert torch.equal(data.x_train, again.x_train)
    assert fingerprint(again, tmp_path / "prints").digest == prints.digest
    monkeypatch.undo()
    changed = arrays[0].copy()
    changed[3, 5] += 1
    assert fingerprint(load((changed, arrays[1])), tmp_path / "prints").digest != prints.digest


def test_a_model_takes_vectors_as_they_were(arrays, load, tmp_path):
    data = load(arrays, validation="noisy")
    config = TrainConfig(epochs=3, network="mlp", device="cpu")
    save_model(train("standard", [None], data, config)[0].model, tmp_path / "model.safetensors")
    model = load_model(tmp_path)
    new, labels = arrays
    assert (model.predict(new) == labels.astype(str)).mean() > 0.95
    assert np.array_equal(model.predict_proba(new), predict_proba(model, new))
    narrow = predict_proba(model, data.x_val)
    rows = [int(one) for one in data.val_ids]
    np.testing.assert_allclose(narrow, model.predict_proba(new[rows]), atol=1e-5)
    known = load(arrays, encoder=model.encoder, components=0)
    torch.testing.assert_close(known.x_train, data.x_train)
    with pytest.raises(DataError, match="had 600 columns: give the same columns"):
        model.predict(new[:, :500])
    with pytest.raises(DataError, match="rows of 600 numbers, and these are images"):
        model.predict([tmp_path / "a.png"])


def test_a_study_begun_before_keeps_all_columns(arrays, tmp_path, caplog):
    np.savez(tmp_path / "wide.npz", x_train=arrays[0], y_train=arrays[1])
    config = SearchConfig.of(
        data=tmp_path / "wide.npz",
        **{"epochs": 1, "trials": 1, "final_seeds": 0, "workers": 1, "device": "cpu"},
        **{"storage": f"sqlite:///{tmp_path}/s.db", "study": "wide", "out": tmp_path / "out"},
    )
    storage = open_storage(config.storage)
    study = optuna.create_study(storage=storage, study_name="wide")
    stored = {name: value for name, value in config.stored().items() if name != "components"}
    study.set_user_attr(CONFIG_ATTR, stored)
    study.set_user_attr(TARGET_ATTR, 1)
    storage.dispose()
    found = search(config)
    assert found.data.input_shape == (1, 1, WIDTH) and found.config.data.components == 0
    assert "was begun with components=0 and goes on so" in caplog.text
