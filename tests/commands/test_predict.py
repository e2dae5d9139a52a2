"""``s2e predict``, and the model that it loads."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from PIL import Image
from safetensors.torch import load_file, save_file

from s2e_optuna import load_model
from s2e_optuna.data import load_data
from s2e_optuna.errors import DataError
from s2e_optuna.training import TrainConfig, predict_proba, save_model, train

COLOURS = {"red": 0, "green": 1, "blue": 2}


def write_colours(folder: Path, grey: bool = False) -> Path:
    """Three classes of images of 8x6 pixels, each brightest in its own channel."""
    rng = np.random.default_rng(0)
    for i in range(30):
        name, channel = list(COLOURS.items())[i % 3]
        pixels = rng.integers(0, 60, (6, 8, 3)).astype(np.uint8)
        pixels[..., channel] += 150
        (folder / name).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels)
        (image.convert("L") if grey else image).save(folder / name / f"{i:02}.png")
    return folder


def trained_on(source, out: Path):
    data = load_data(source, validation="noisy")
    config = TrainConfig(epochs=12, batch_size=8, network="mlp", learning_rate=0.01)
    model = train("standard", [None], data, config)[0].model
    out.mkdir(parents=True)
    save_model(model, out / "model.safetensors")
    return data, model


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("predicted")
    trained_on(write_colours(root / "images"), root / "out")
    return root


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_folder_is_predicted_whatever_its_layout_and_size(place, tmp_path):
    for i, path in enumerate(sorted((place / "images").rglob("*.png"))):
        Image.open(path).resize((16, 12)).save(tmp_path / f"{path.parent.name}-{i}.png")
    result = run(f"predict {place / 'out'} {tmp_path} --probabilities")
    assert result.exit_code == 0 and "read as a folder of 30 images" in result.stderr
    rows = table(result.stdout)
    assert list(rows[0])[:3] == ["id", "predicted_label", "probability"]
    assert all(row["id"].startswith(row["predicted_label"]) for row in rows)
    for row in rows:
        every = [float(row[f"probability_{name}"]) for name in COLOURS]
        assert sum(every) == pytest.approx(1, abs=1e-5)
        assert float(row["probability"]) == max(every)


def test_the_same_numbers_as_in_python(place):
    model = load_model(place / "out")
    data = load_data(place / "images", validation="noisy")
    expected = predict_proba(model, data.x_train)
    paths = [str(place / "images" / name) for name in data.ids]
    np.testing.assert_allclose(model.predict_proba(paths), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(data.x_train.numpy()), expected, atol=1e-6)
    assert model.classes_.tolist() == ["blue", "green", "red"]
    names = model.predict(place / "images" / "red" / "00.png")
    assert names.tolist() == ["red"]


def test_a_file_is_written_and_said(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(
        f"predict {place / 'out' / 'model.safetensors'} {place / 'images'} --out p.csv -q"
    )
    assert result.stdout == "Wrote p.csv: 30 predictions (blue 10, green 10, red 10)\n"
    assert result.stderr == "" and len(table(Path("p.csv").read_text())) == 30


def test_a_parquet_file(place, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing")
    out = tmp_path / "p.parquet"
    assert run(f"predict {place / 'out'} {place / 'images'} --out {out}").exit_code == 0
    assert parquet.read_table(out).column_names == ["id", "predicted_label", "probability"]


def test_arrays_without_labels_and_with_several_parts(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 5)) * 1000.0
    np.savez(tmp_path / "train.npz", X=x, y=(x[:, 0] > 0).astype(int))
    trained_on(tmp_path / "train.npz", tmp_path / "out")
    np.savez(tmp_path / "new.npz", samples=x[:4])
    np.savez(tmp_path / "parts.npz", x_train=x[:2], x_test=x[2:3])
    rows = table(run(f"predict {tmp_path / 'out'} {tmp_path / 'new.npz'}").stdout)
    assert [row["id"] for row in rows] == ["0", "1", "2", "3"]
    parts = table(run(f"predict {tmp_path / 'out'} {tmp_path / 'parts.npz'}").stdout)
    assert [row["id"] for row in parts] == ["train/0", "train/1", "test/0"]
    assert [r["predicted_label"] for r in parts] == [r["predicted_label"] for r in rows[:3]]
    refused = run(f"predict {tmp_path / 'out'} {write_colours(tmp_path / 'images')}")
    assert refused.exit_code == 2 and "trained on rows of 5 numbers" in refused.stderr
    np.savez(tmp_path / "wide.npz", X=np.zeros((3, 6)))
    refused = run(f"predict {tmp_path / 'out'} {tmp_path / 'wide.npz'}")
    assert (
        refused.exit_code == 2 and "have 6 columns, the model was trained on 5" in refused.stderr
    )


def test_grey_and_coloured_images_are_brought_to_what_was_trained_on(place, tmp_path):
    greys = write_colours(tmp_path / "grey", grey=True)
    assert load_model(place / "out").predict_proba(greys).shape == (30, 3)
    trained_on(greys, tmp_path / "out")
    result = run(f"predict {tmp_path / 'out'} {place / 'images'}")
    assert "30 images turned grey, as those to train were" in result.stderr
    same = run(f"predict {tmp_path / 'out'} {greys}")
    assert same.stdout == result.stdout and "turned grey" not in same.stderr


def test_broken_images_are_named_or_left_out(place, tmp_path):
    write_colours(tmp_path)
    for name in ("red/00.png", "blue/02.png"):
        (tmp_path / name).write_bytes(b"no image")
    result = run(f"predict {place / 'out'} {tmp_path} --out {tmp_path / 'p.csv'}")
    assert result.exit_code == 2 and not (tmp_path / "p.csv").exists()
    assert "02.png" in result.stderr and "00.png" in result.stderr
    assert "--skip-broken" in result.stderr
    result = run(f"predict {place / 'out'} {tmp_path} --skip-broken")
    assert "2 broken images left out" in result.stderr and len(table(result.stdout)) == 28


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("nowhere {images}", "cannot read a model from nowhere"),
        ("{images} {images}", "there is no model.safetensors in"),
        ("{out} nowhere", "there is no nowhere: give a folder"),
        ("{out} {out}/model.safetensors", "is neither a folder of images"),
        ("{out} {images} --out p.txt", "no .csv or .parquet file"),
        ("{out} {images} --out no/p.csv", "does not exist"),
        ("{out} {images} --network a:b", "leave --network out"),
        ("{out} digits", "are [1, 8, 8] (channels, height, width), the model was trained on"),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(place, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    result = run("predict " + words.format(out=place / "out", images=place / "images"))
    assert result.exit_code == 2 and says in result.stderr and result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_a_later_version_or_without_a_part_says_so(place, tmp_path):
    tensors = load_file(place / "out" / "model.safetensors")
    path = tmp_path / "m.safetensors"
    save_file(tensors, path, metadata={"format": "s2e_optuna model 9"})
    with pytest.raises(DataError, match=r"of a later version .*update s2e_optuna"):
        load_model(path)
    save_file(tensors, path, metadata={"format": "s2e_optuna model 1", "network": "mlp"})
    with pytest.raises(DataError, match="lacks 'input_shape'"):
        load_model(path)


def test_a_network_of_ones_own_is_named_again(place, tmp_path):
    tensors = load_file(place / "out" / "model.safetensors")
    metadata = {"format": "s2e_optuna model 1", "network": "own:network"}
    save_file(tensors, tmp_path / "m.safetensors", metadata=metadata)
    result = run(f"predict {tmp_path / 'm.safetensors'} {place / 'images'}")
    assert result.exit_code == 2 and "own:network" in result.stderr
    assert "as --network" in result.stderr


def test_suspects_take_the_size_from_the_model(place, tmp_path):
    for path in (place / "images").rglob("*.png"):
        target = tmp_path / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        Image.open(path).resize((16, 12)).save(target)
    words = f"suspects {tmp_path} --model {place / 'out' / 'model.safetensors'} --json -q"
    result = run(words)
    assert result.exit_code == 0, result.stderr
    assert '"samples": 30' in result.stdout
