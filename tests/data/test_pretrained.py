"""Features in place of images: computed once, kept by content, fitted on the training part."""

import numpy as np
import pytest
import torch
from feature_networks import seen
from PIL import Image

from s2e_optuna.data import DataSpec, load_data
from s2e_optuna.data import pretrained_vectors as vectors_module
from s2e_optuna.data.fingerprint import differences, fingerprint
from s2e_optuna.data.pretrained_networks import feature_network
from s2e_optuna.data.pretrained_vectors import (
    FilePictures,
    PixelPictures,
    Vectors,
    VectorStore,
    vectors_of,
)
from s2e_optuna.data.projection import Projection
from s2e_optuna.errors import DataError

OWN = "feature_networks:small"


def write(folder, count=30, seed=0):
    """Class folders of coloured noise."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        name = ("ant", "bee", "cow")[i % 3]
        (folder / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (12, 14, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture
def images(tmp_path):
    return write(tmp_path / "images")


@pytest.fixture
def load(tmp_path):
    def loading(source, **options):
        return load_data(source, data_root=tmp_path / "cache", validation="noisy", **options)

    seen.update(images=0, batches=0)
    return loading


def of_paths(paths, name=OWN):
    network = feature_network(name)
    return vectors_of(FilePictures(list(map(str, paths)), None), network, VectorStore(None))[:]


def test_images_become_vectors_once(images, load):
    data = load(images, features=OWN)
    assert data.input_shape == (1, 1, 24) and data.preparation.kind == "floats"
    assert seen["images"] == 30
    again = load(images, features=OWN)
    assert seen["images"] == 30
    assert torch.equal(data.x_train, again.x_train) and torch.equal(data.x_val, again.x_val)
    said = f"features of {OWN}: 24 numbers an image"
    assert data.reading[1] == said and len(data.files["train"]) == len(data.ids)


def test_they_are_known_by_their_content(images, load):
    load(images, features=OWN)
    (images / "ant" / "00.png").rename(images / "bee" / "renamed.png")
    write(images, 33)  # three new ones, and 00.png again
    load(images, features=OWN)
    assert seen["images"] == 33


def test_other_weights_preprocessing_views_and_sizes_are_other_features(images, load):
    name = "feature_networks:"
    load(images, features=OWN)
    for others in (
        {"features": name + "other_weights"},
        {"features": name + "other_preprocessing"},
        {"features": name + "plain"},
        {"features": name + "plain", "image_size": 7},
    ):
        before = seen["images"]
        load(images, **others)
        assert seen["images"] == before + 30, others
    load(images, features=OWN, views=2)
    assert seen["images"] == before + 30 + 60


def test_two_views_are_the_mean_of_an_image_and_its_mirror_image(images, load):
    paths = sorted(images.rglob("*.png"))
    network = feature_network(OWN)
    pictures = FilePictures([str(path) for path in paths], None)
    both = vectors_of(pictures, network, VectorStore(None), views=2)[:]
    prepared = torch.stack([network.prepared(pictures.image(i)) for i in range(len(paths))])
    mirrored = network.vectors(prepared.flip(3))
    expected = (network.vectors(prepared) + mirrored) / 2
    np.testing.assert_allclose(both, expected.numpy(), rtol=1e-5)


def test_what_was_killed_goes_on(images, load, monkeypatch):
    monkeypatch.setattr(vectors_module, "BLOCK", 8)
    monkeypatch.setitem(vectors_module._BATCH, "cpu", 4)

    def stop(done, total):
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(images, features=OWN, progress=stop)
    assert seen["images"] == 20
    told = []
    load(images, features=OWN, progress=lambda *numbers: told.append(numbers))
    assert told[-1] == (14, 14) and seen["images"] == 34  # 16 were written


def test_a_damaged_block_is_computed_anew(images, load, tmp_path):
    load(images, features=OWN)
    (block,) = (tmp_path / "cache").rglob("*.block")
    block.write_bytes(block.read_bytes()[:-100])
    load(images, features=OWN)
    assert seen["images"] == 60


def test_a_folder_that_cannot_be_written_does_no_harm(images, load, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "features").write_text("a file")
    assert load(images, features=OWN).input_shape == (1, 1, 24)


def test_broken_images_are_all_named_and_can_be_left_out(images, load):
    for name in ("ant/00.png", "bee/01.png"):
        (images / name).write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"00\.png, .*01\.png \(2 of 30\)"):
        load(images, features=OWN)
    data = load(images, features=OWN, skip_broken=True)
    assert len(data.y_train) + len(data.y_val) == 28 and seen["images"] == 28


def test_files_are_read_as_everywhere(tmp_path):
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    grey = colour.convert("L")
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    palette = colour.quantize(8)
    cmyk = colour.convert("CMYK")
    pairs = {
        "palette": (palette, palette.convert("RGB")),
        "deep": (deep, grey.convert("RGB")),
        "grey": (grey, grey.convert("RGB")),
        "with alpha": (grey.convert("LA"), grey.convert("RGB")),
    }
    for name, (one, other) in pairs.items():
        one.save(tmp_path / "one.png")
        other.save(tmp_path / "other.png")
        first, second = of_paths([tmp_path / "one.png", tmp_path / "other.png"])
        np.testing.assert_allclose(first, second, atol=1e-6, err_msg=name)
    cmyk.save(tmp_path / "cmyk.tiff")
    cmyk.convert("RGB").save(tmp_path / "rgb.png")
    colour.save(tmp_path / "turned.png", exif=turned)
    colour.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
    found = of_paths([tmp_path / n for n in ("cmyk.tiff", "rgb.png", "turned.png", "upright.png")])
    np.testing.assert_allclose(found[::2], found[1::2], atol=1e-6)


def test_arrays_are_brought_to_pixels_by_their_range(tmp_path, load):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    small = rng.integers(0, 17, (40, 8, 8))
    np.savez(tmp_path / "small.npz", x_train=small.astype(float), y_train=y)
    pixels = np.round(small / small.max() * 255).astype(np.uint8)
    np.savez(tmp_path / "pixels.npz", x_train=pixels, y_train=y)
    np.savez(tmp_path / "colour.npz", x_train=np.stack([pixels / 255] * 3, 3), y_train=y)
    data = [load(tmp_path / f"{name}.npz", features=OWN) for name in ("small", "pixels", "colour")]
    assert all(torch.equal(one.x_train, data[0].x_train) for one in data)
    assert data[0].encoder.pixels.kind == "range"


def test_what_is_no_image_is_refused(tmp_path, load):
    y = np.arange(40) % 2
    np.savez(
        tmp_path / "rows.npz", x_train=np.random.default_rng(0).normal(size=(40, 5)), y_train=y
    )
    with pytest.raises(DataError, match=r"pretrained features are those of images: .* `features`"):
        load(tmp_path / "rows.npz", features=OWN)
    noise = np.random.default_rng(0).normal(size=(40, 3, 6, 6))
    np.savez(tmp_path / "noise.npz", x_train=noise, y_train=y)
    with pytest.raises(
        DataError, match=r"a pretrained network takes pixels: give 0..255, or 0..1"
    ):
        load(tmp_path / "noise.npz", features=OWN)
    (tmp_path / "t.csv").write_text("a,label\n1,x\n2,y\n")
    with pytest.raises(DataError, match="gets the texts of a column, for the data are a table"):
        load(tmp_path / "t.csv", features=OWN)


def test_networks_that_cannot_take_the_images(images, load):
    Image.new("RGB", (5, 5)).save(images / "ant" / "small.png")
    with pytest.raises(DataError, match="images of different sizes, such as 14x12 and 5x5: say"):
        load(images, features="feature_networks:plain")
    with pytest.raises(DataError, match=r"cannot take images of \[3, 9, 9\]"):
        load(images, features="feature_networks:broken")
    with pytest.raises(DataError, match="gives NaN or infinite features"):
        load(images, features="feature_networks:not_finite")


def test_labels_of_a_table_and_noise_by_instance(images, load, tmp_path):
    table = tmp_path / "labels.csv"
    rows = [f"{path.relative_to(images)},{'ab'[i % 2]}" for i, path in enumerate(
        sorted(images.rglob("*.png")))]  # fmt: skip
    table.write_text("file,label\n" + "\n".join(rows) + "\n")
    assert load(images, features=OWN, labels=table).class_names == ("a", "b")
    noisy = load(images, features=OWN, noise="instance", noise_rate=0.3)
    assert noisy.y_clean is not None and noisy.input_shape == (1, 1, 24)


def test_a_named_set(load):
    data = load("digits", features=OWN, train_size=60)
    assert data.input_shape == (1, 1, 24) and set(data.contents) == {"train", "val", "test"}


def test_wide_vectors_are_reduced_on_the_training_part_only(images, load):
    data = load(images, features="feature_networks:wide")
    assert data.input_shape == (1, 1, 23)  # of 24 to train
    assert "600 numbers an image, reduced to 23 principal components (100% of" in data.reading[1]
    assert load(images, features="feature_networks:wide", components=0).input_shape[2] == 600
    assert load(images, features="feature_networks:wide", components=5).input_shape[2] == 5
    assert data.x_train.mean(0).abs().max() < 1e-6 < data.x_val.mean(0).abs().max()


def of_rows(rows):
    places = np.stack([np.zeros(len(rows), dtype=np.int64), np.arange(len(rows))], axis=1)
    return Vectors([rows.astype(np.float32)], places)


def test_components_keep_their_weights():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 12)) * np.linspace(3, 0.1, 12) + 5
    found = Projection.fit(of_rows(rows), 4)
    reduced = found.apply(of_rows(rows))[:, 0, 0].numpy()
    deviations = reduced.std(axis=0)
    axes = np.linalg.svd(rows - rows.mean(0), full_matrices=False)[1]
    np.testing.assert_allclose(deviations / deviations[0], axes[:4] / axes[0], rtol=1e-3)
    assert np.square(deviations).mean() == pytest.approx(1, rel=1e-3)
    assert found.kept == pytest.approx(np.square(axes[:4]).sum() / np.square(axes).sum())
    whole = Projection.fit(of_rows(rows), 0).apply(of_rows(rows))
    assert np.square(whole.numpy()).mean() == pytest.approx(1, rel=1e-3)


def test_never_more_components_than_rows_allow():
    rows = np.random.default_rng(0).normal(size=(6, 20))
    fitted = Projection.fit(of_rows(rows), 10)
    assert fitted.components.shape == (20, 5)
    new = np.random.default_rng(1).normal(size=(50, 20))
    assert np.abs(fitted.apply(of_rows(new)).numpy()).max() < 5
    same = Projection.fit(of_rows(np.ones((4, 3))), None).apply(of_rows(np.ones((4, 3))))
    assert not same.any()


def test_other_features_are_other_data(images, load, tmp_path):
    plain, one = load(images), load(images, features=OWN)
    other = load(images, features=OWN, views=2)
    cache = tmp_path / "prints"
    prints = [fingerprint(data, cache) for data in (plain, one, other)]
    assert len({one.digest for one in prints}) == 3
    assert f"features {OWN} " in differences(prints[0], prints[1])
    assert fingerprint(load(images, features=OWN), cache).digest == prints[1].digest


def test_of_arrays_the_images_are_looked_at_and_not_the_vectors(load):
    data = load("digits", features=OWN, train_size=60)
    same = load("digits", train_size=60)
    found, plain = (fingerprint(one).samples["train"] for one in (data, same))
    assert len(set(found["contents"].tolist())) > 30
    np.testing.assert_array_equal(found["names"], plain["names"])
    assert torch.equal(data.pictures["train"], same.x_train)  # for the report


def test_duplicates_are_computed_once():
    pixels = torch.zeros(5, 1, 12, 12, dtype=torch.uint8)
    seen.update(images=0)
    found = vectors_of(PixelPictures(pixels), feature_network(OWN), VectorStore(None))
    assert seen["images"] == 1 and len(found) == 5


def test_options_that_do_not_go_together():
    for options, says in {
        (("views", 3), ("features", "x")): "`views` must be 1 or 2",
        (("views", 2),): "`views` is about `features`",
        (("components", -1), ("features", "x")): "`components` must be an integer of at least 0",
    }.items():
        with pytest.raises(DataError, match=says):
            DataSpec("images", **dict(options))
    spec = DataSpec("images", features="resnet18", views=2, components=0)
    assert DataSpec.from_settings(spec.settings()).components == 0
    assert DataSpec.from_settings({"data": "images"}).features is None
