"""One preparation for arrays, files and the classifier, fitted to the training part."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

from s2e_optuna import S2EClassifier
from s2e_optuna.data import from_arrays, load_data
from s2e_optuna.data.noisy_data import as_images
from s2e_optuna.data.preparation import PIXELS, Preparation
from s2e_optuna.errors import DataError
from s2e_optuna.training import (
    TrainConfig,
    load_model,
    predict_proba,
    save_model,
    train,
)

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (20, 4, 4))
LABELS = np.arange(20) % 2


def fitted(values) -> Preparation:
    return Preparation.fit(as_images(values, "training"))


def as_network_sees(values) -> torch.Tensor:
    found = fitted(values).apply(as_images(values, "training"))
    return found.float() / 255 if found.dtype == torch.uint8 else found


@pytest.mark.parametrize(
    ("values", "kind", "scale"),
    [
        (BYTES.astype(np.uint8), "pixels", 255),
        (BYTES, "pixels", 255),
        (BYTES.astype(float), "range", 255),
        (BYTES + 0.5 * (BYTES < 200), "range", 255),
        (BYTES / 255, "floats", 1),
        (BYTES // 16, "range", 15),
        ((BYTES // 16).astype(np.uint8), "range", 15),
        ((BYTES // 16).astype(float), "range", 15),
        (BYTES > 128, "range", 1),
        ((BYTES > 128).astype(float), "floats", 1),
        (BYTES * 16, "range", int(BYTES.max()) * 16),
        (BYTES / 255 / 255, "range", BYTES.max() / 255 / 255),
        ((BYTES - 128) / 60, "floats", 1),
        (BYTES // 8, "range", 31),
    ],
)
def test_images_are_scaled_by_what_their_numbers_are(values, kind, scale):
    assert fitted(values).kind == kind
    np.testing.assert_allclose(as_network_sees(values)[:, 0], values / scale, rtol=1e-5)


def test_numbers_below_zero_are_scaled_by_their_own_range():
    values = BYTES * 16.0 - 1000.5
    seen = as_network_sees(values)
    assert (seen.min(), seen.max()) == (0.0, 1.0)


def test_the_same_digits_are_the_same_to_a_network_however_they_are_stored():
    digits = load_digits().images[:50]
    ways = [digits, digits.astype(np.uint8), digits.astype(np.int64), digits / 16]
    first, *others = map(as_network_sees, ways)
    assert all(torch.allclose(first, other) for other in others)


def test_vectors_are_standardised_and_cut_off_and_constant_columns_are_safe():
    values = RNG.normal(1e9, 1e3, (500, 4))
    values[:, 1] = 0.1
    values[7, 2] = 1e15
    seen = as_network_sees(values)[:, 0, 0]
    assert not seen[:, 1].any()
    assert seen[7, 2] == 20.0 and seen.abs().max() == 20.0
    assert seen[:, [0, 3]].mean(0).abs().max() < 1e-5
    assert seen[:, [0, 3]].std(0) == pytest.approx([1.0, 1.0], abs=0.01)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.uint8, np.int32])
def test_vectors_of_any_type(kind):
    seen = as_network_sees((RNG.random((300, 5)) * 200).astype(kind))
    assert seen.dtype == torch.float32 and seen.std() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("training", "others", "says"),
    [
        (BYTES // 16, BYTES, r"hold 0 to 255, the training images 0 to 15"),
        (BYTES / 255, BYTES // 16, "whole numbers up to 15, the training images"),
        (BYTES, BYTES + 0.5, "floats from 0.5 to 255.5, the training images were pixels"),
    ],
)
def test_parts_of_another_scale_are_refused(training, others, says):
    with pytest.raises(DataError, match=f"the validation images .*{says}"):
        from_arrays(training, LABELS, others, LABELS)
    data = from_arrays(training, LABELS, training, LABELS)
    model = train("standard", [None], data, TrainConfig(epochs=1, network="mlp"))[0].model
    with pytest.raises(DataError, match=says):
        predict_proba(model, others)


def test_what_is_done_is_said():
    assert "numbers from 0 to 15 scaled to 0 to 1" in from_arrays(BYTES // 16, LABELS).reading
    assert "3 columns standardised" in from_arrays(RNG.random((20, 3)), LABELS).reading
    as_it_is, warning = from_arrays(BYTES, LABELS, validation="noisy").reading
    assert as_it_is.startswith("read as arrays") and warning.startswith("warning: ")


def test_arrays_files_and_the_classifier_prepare_alike(tmp_path):
    X = RNG.normal(300, 40, (60, 5))
    y = (X[:, 0] > 300).astype(int)
    np.savez(tmp_path / "a.npz", x_train=X, y_train=y, x_val=X, y_val=y)
    data = load_data(tmp_path / "a.npz")
    options = {"n_trials": 1, "epochs": 2, "n_seeds": 1, "cross_validate": None, "batch_size": 16}
    classifier = S2EClassifier(**options, random_state=0).fit(X, y)
    model = classifier.models_[0]
    for prepared in (data.preparation, model.preparation):
        np.testing.assert_allclose(prepared.mean, X.mean(0))
        np.testing.assert_allclose(prepared.deviation, X.std(0))
    np.testing.assert_allclose(classifier.predict_proba(X), predict_proba(model, X), atol=1e-6)


def test_a_model_predicts_raw_numbers_and_carries_their_preparation(tmp_path):
    X = np.column_stack([RNG.normal(1e6, 1, 400), RNG.normal(0, 1e-3, 400)])
    y = (X[:, 0] > 1e6).astype(int)
    data = from_arrays(X[:300], y[:300], X[300:], y[300:])
    config = TrainConfig(epochs=8, network="mlp", batch_size=32)
    run = train("standard", [None], data, config)[0]
    assert run.validation_accuracy[-1] > 0.9
    save_model(run.model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    predicted = predict_proba(loaded, X[300:]).argmax(1)
    assert (predicted == y[300:]).mean() == pytest.approx(run.validation_accuracy[-1], abs=0.02)


def test_models_of_earlier_versions_take_pixels(tmp_path):
    data = from_arrays(BYTES, LABELS, BYTES, LABELS)
    model = train("standard", [None], data, TrainConfig(epochs=1, network="mlp"))[0].model
    save_model(model, tmp_path / "m.safetensors")
    with safe_open(str(tmp_path / "m.safetensors"), "pt") as file:
        metadata = file.metadata()
    del metadata["preparation"]
    save_file(load_file(tmp_path / "m.safetensors"), tmp_path / "old.safetensors", metadata)
    old = load_model(tmp_path / "old.safetensors")
    assert old.preparation.stored() == PIXELS.stored()
    assert (predict_proba(old, BYTES) == predict_proba(model, BYTES)).all()
