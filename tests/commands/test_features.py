"""Pretrained features from the command line, and in the model that is kept."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run
from feature_networks import other_weights, small
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from s2e_optuna import load_model
from s2e_optuna.commands.search import next_commands
from s2e_optuna.data import load_data
from s2e_optuna.errors import DataError
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.training import TrainConfig, predict_proba, save_model, train

OWN = "feature_networks:small"
COLOURS = ("blue", "green", "red")


def write(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(36):
        pixels = rng.integers(0, 60, (8, 10, 3)).astype(np.uint8)
        pixels[..., 2 - i % 3] += 150
        (folder / COLOURS[i % 3]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / COLOURS[i % 3] / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("features")
    data = load_data(
        write(root / "images"), features=OWN, validation="noisy", data_root=root / "cache"
    )
    config = TrainConfig(epochs=12, batch_size=8, network="mlp", learning_rate=0.01)
    model = train("standard", [None], data, config)[0].model
    (root / "out").mkdir()
    save_model(model, root / "out" / "model.safetensors")
    return root


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_model_predicts_images_in_one_step(place):
    data = load_data(place / "images", features=OWN, validation="noisy")
    model = load_model(place / "out", features=OWN)
    expected = predict_proba(model, data.x_train)
    paths = [str(place / "images" / name) for name in data.ids]
    np.testing.assert_allclose(model.predict_proba(paths), expected, atol=1e-5)
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    np.testing.assert_allclose(model.predict_proba(pixels), expected, atol=1e-5)
    assert set(model.predict(place / "images" / "red")) == {"red"}
    by_function = load_model(place / "out", features=small)
    np.testing.assert_array_equal(by_function.predict_proba(paths), model.predict_proba(paths))


def test_the_command_names_the_network_again_where_it_is_ones_own(place):
    result = run(f"predict {place / 'out'} {place / 'images'}")
    assert result.exit_code == 2
    assert f"features of your own, {OWN}: hand load_model" in " ".join(result.stderr.split())
    result = run(f"predict {place / 'out'} {place / 'images'} --features {OWN}")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == 36 and all(r["id"].startswith(r["predicted_label"]) for r in rows)


def test_broken_images_are_left_out_of_a_prediction(place, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no")
    Image.new("RGB", (5, 5), (200, 0, 0)).save(tmp_path / "good.png")
    command = f"predict {place / 'out'} {tmp_path} --features {OWN}"
    assert "bad.png" in run(command).stderr
    result = run(f"{command} --skip-broken")
    assert "1 broken image left out" in result.stderr and "good.png,red" in result.stdout


def test_other_weights_are_refused(place):
    model = load_model(place / "out", features=other_weights)
    with pytest.raises(DataError, match=r"weights of .*:small are others than those that the"):
        model.predict(place / "images")


def test_features_are_named_for_models_that_have_them(place, tmp_path):
    data = load_data("digits", train_size=100)
    model = train("standard", [None], data, TrainConfig(epochs=1, network="mlp"))[0].model
    save_model(model, tmp_path / "m.safetensors")
    with pytest.raises(DataError, match="has no pretrained features: leave `features` out"):
        load_model(tmp_path / "m.safetensors", features="resnet18")
    with safe_open(str(tmp_path / "m.safetensors"), framework="pt") as file:
        assert file.metadata()["format"] == "s2e_optuna model 1"


def test_what_was_fitted_lies_in_the_file_as_text_and_arrays(place, tmp_path):
    file = place / "out" / "model.safetensors"
    with safe_open(str(file), framework="pt") as opened:
        metadata = opened.metadata()
    assert metadata["format"] == "s2e_optuna model 2"  # earlier versions say that it is later
    stored = json.loads(metadata["features"])
    assert stored["name"] == OWN and stored["views"] == 1 and stored["side"] is None
    tensors = load_file(file)
    assert tensors["features.mean"].dtype == torch.float64
    del tensors["features.mean"]
    save_file(tensors, tmp_path / "model.safetensors", metadata)
    with pytest.raises(DataError, match="is not complete, for it lacks 'mean'"):
        load_model(tmp_path, features=OWN)


def test_suspects_are_judged_by_the_features_of_the_model(place):
    model = place / "out" / "model.safetensors"
    result = run(f"suspects {place / 'images'} --model {model} --features {OWN} --json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["samples"] == 36 and found["listed"] <= 2


def test_a_training_on_features(place, tmp_path):
    result = run(
        f"train {place / 'images'} --features {OWN} --views 2 --components 6 --method standard "
        f"--epochs 3 --seeds 1 --out {tmp_path / 'out'}"
    )
    assert result.exit_code == 0, result.stderr
    assert "24 numbers an image (mean of an image and its mirror image), reduced to 6 princ" in (
        " ".join(result.stderr.split())
    )
    model = load_model(tmp_path / "out", features=OWN)
    assert model.input_shape == (1, 1, 6) and model.encoder.views == 2
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"of 6 features of {OWN}, 3 classes" in report
    assert "data:image/png;base64," in report  # the images themselves are shown


def test_the_report_shows_images_of_arrays(tmp_path):
    result = run(
        f"train digits --train-size 60 --features {OWN} --method standard --epochs 2 --seeds 1 "
        f"--out {tmp_path}"
    )
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("image/png;base64") > 40


def test_what_to_do_next_names_a_network_of_ones_own():
    files = {"model": Path("out/model.safetensors")}
    for name, words in ((OWN, f"NEW_DATA --features {OWN}"), ("resnet18", "NEW_DATA")):
        config = SearchConfig.of(data="images", features=name)
        assert next_commands(config, files)[-1][1].endswith(words)


def test_samples_to_check_are_drawn_as_the_search_divides_them(place, tmp_path):
    command = f"check {place / 'images'} --validation noisy -n 4 --list {tmp_path / 'l.csv'}"
    assert run(command).exit_code == 0
    plain = (tmp_path / "l.csv").read_text()
    assert run(f"{command} --features {OWN}").exit_code == 0
    assert (tmp_path / "l.csv").read_text() == plain
