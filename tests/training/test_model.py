import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from s2e_optuna.errors import DataError
from s2e_optuna.labels import suspects, unseen_probabilities
from s2e_optuna.training import (
    TrainConfig,
    load_model,
    model,
    predict_proba,
    save_model,
    train,
)


@pytest.fixture(scope="module")
def trained(blobs):
    config = TrainConfig(epochs=3, batch_size=20)
    return train("coteaching", [None], blobs, config, keep_probabilities=True)[0]


def test_a_model_predicts_what_the_training_saw(trained, blobs):
    probabilities = predict_proba(trained.model, blobs.x_train)
    np.testing.assert_allclose(probabilities, trained.training_probabilities, atol=1e-5)
    squeezed = predict_proba(trained.model, blobs.x_train[:5, 0].numpy())
    np.testing.assert_allclose(squeezed, probabilities[:5], atol=1e-6)


def test_a_model_predicts_on_a_device(trained, blobs, monkeypatch):
    elsewhere = torch.device("meta")
    seen, asked = [], []

    def make_network(*what, device_type):
        asked.append(device_type)
        return model_network

    def forward(network, state, images):
        seen.extend([*state.values(), images])
        return torch.zeros(2, len(images), 3)

    monkeypatch.setattr(model, "resolve_device", lambda name: {"cuda:1": elsewhere}[name])
    model_network = trained.model.stacked().network
    monkeypatch.setattr(type(model_network), "forward", forward)
    monkeypatch.setattr(model, "make_network", make_network)
    assert predict_proba(trained.model, blobs.x_train, "cuda:1").shape == (120, 3)
    assert asked == ["meta"]  # what is fastest differs by device
    assert len(seen) > 1 and {tensor.device for tensor in seen} == {elsewhere}


def test_a_training_and_its_suspects_predict_where_they_train(blobs, monkeypatch):
    devices = []
    monkeypatch.setattr(
        "s2e_optuna.training.setup.resolve_device", lambda name: torch.device("cpu")
    )
    monkeypatch.setattr(
        model, "resolve_device", lambda name: devices.append(name) or torch.device("cpu")
    )
    config = TrainConfig(epochs=1, network="mlp", device="cuda:1")
    unseen = unseen_probabilities("standard", None, blobs, config, 2)
    suspects(train("standard", [None], blobs, config), blobs, unseen, "cuda:1")
    assert devices == ["cuda:1"] * 5  # two folds, each with the clean samples, and the training


def test_its_modules_are_ordinary_torch_networks(trained, blobs):
    modules = trained.model.modules()
    assert [type(module) for module in modules] == [torch.nn.Sequential] * 2
    with torch.no_grad():
        averaged = sum(module(blobs.x_train).softmax(1) for module in modules) / 2
    np.testing.assert_allclose(averaged, trained.training_probabilities, atol=1e-5)


def test_it_comes_back_from_a_file(trained, blobs, tmp_path):
    save_model(trained.model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert (loaded.network, loaded.input_shape) == ("mlp", (1, 6, 6))
    assert loaded.class_names == blobs.class_names
    before, after = (predict_proba(m, blobs.x_test) for m in (trained.model, loaded))
    assert (before == after).all()


def test_images_of_another_size_are_refused(trained):
    with pytest.raises(DataError, match=r"are \[1, 5, 6\].*trained on \[1, 6, 6\]"):
        predict_proba(trained.model, np.zeros((2, 5, 6)))


def _cut(path):
    path.write_bytes(path.read_bytes()[:300])


def _foreign(path):
    save_file({"w": torch.zeros(3)}, str(path))


def _incomplete(path):
    metadata = {
        "format": "s2e_optuna model 1",
        "network": "mlp",
        "input_shape": "[1, 6, 6]",
        "class_names": '["a", "b"]',
    }
    save_file({"0.hidden.weight": torch.zeros(256, 36)}, str(path), metadata=metadata)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_cut, "cannot read a model"),
        (lambda path: path.unlink(), "cannot read a model"),
        (_foreign, "not a model saved by"),
        (_incomplete, "not complete"),
    ],
)
def test_bad_model_files(trained, tmp_path, spoil, says):
    path = tmp_path / "model.safetensors"
    save_model(trained.model, path)
    spoil(path)
    with pytest.raises(DataError, match=says):
        load_model(path)


def test_others_may_read_a_model(trained, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    save_model(trained.model, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").stat().st_mode == plain.stat().st_mode
