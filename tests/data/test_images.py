import numpy as np
import pytest
from PIL import Image

from s2e_optuna.data import load_data
from s2e_optuna.data.images import decode_images
from s2e_optuna.errors import DataError

COLOURS = {"blue": (0, 0, 255), "red": (255, 0, 0)}


def write_classes(folder, count, size=(6, 5), mode="RGB", names=tuple(COLOURS)):
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = Image.new("RGB", size, COLOURS.get(name, (9, 9, 9))).convert(mode)
            image.save(folder / name / f"{i:03}.png")


def test_classes_directly_below_the_folder(tmp_path):
    write_classes(tmp_path, 10)
    (tmp_path / "red" / "notes.txt").write_text("no image")
    data = load_data(tmp_path)
    assert data.class_names == ("blue", "red")
    assert data.input_shape == (3, 5, 6)
    assert data.validation == "noisy"
    assert data.name == tmp_path.name
    for image, label, path in zip(data.x_train, data.y_train.tolist(), data.ids, strict=True):
        name = data.class_names[label]
        assert path.startswith(f"{name}/")
        assert tuple(image[:, 2, 3].tolist()) == COLOURS[name]


def test_train_val_and_test_folders(tmp_path):
    for part, count in (("train", 6), ("val", 3), ("test", 4)):
        write_classes(tmp_path / part, count)
    data = load_data(tmp_path)
    assert data.y_test is not None
    assert [len(y) for y in (data.y_train, data.y_val, data.y_test)] == [12, 6, 8]
    assert data.ids[0] == "train/blue/000.png"


def test_grey_images_keep_one_channel(tmp_path):
    write_classes(tmp_path, 5, mode="L")
    assert load_data(tmp_path).input_shape == (1, 5, 6)


def test_grey_among_colour_becomes_colour(tmp_path):
    write_classes(tmp_path, 5)
    Image.new("L", (6, 5), 77).save(tmp_path / "blue" / "grey.png")
    data = load_data(tmp_path, train_size=11)
    assert data.input_shape == (3, 5, 6)


@pytest.mark.parametrize(("kind", "order"), [("png", "<u2"), ("tif", "<u2"), ("tif", ">u2")])
def test_of_16_bits_the_upper_8_are_kept(tmp_path, kind, order):
    ramp = np.arange(0, 1 << 16, 1 << 6, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(ramp.astype(order)).save(tmp_path / f"ramp.{kind}")
    pixels = decode_images([tmp_path / f"ramp.{kind}"])
    assert pixels.shape == (1, 1, 32, 32)  # grey
    np.testing.assert_array_equal(pixels[0, 0], ramp >> 8)


@pytest.mark.parametrize("largest", [65535, 1023])
def test_a_pgm_file_of_16_bits_states_its_range(tmp_path, largest):
    ramp = np.arange(1024, dtype=np.uint32).reshape(32, 32) * largest // 1023
    header = f"P5 32 32 {largest}\n".encode()
    (tmp_path / "ramp.pgm").write_bytes(header + ramp.astype(">u2").tobytes())
    pixels = decode_images([tmp_path / "ramp.pgm"])
    assert pixels.shape == (1, 1, 32, 32)  # grey
    np.testing.assert_array_equal(pixels[0, 0], np.round(ramp * 65535 / largest).astype(int) >> 8)


def test_images_can_be_resized(tmp_path):
    write_classes(tmp_path, 5)
    Image.new("RGB", (20, 30)).save(tmp_path / "red" / "large.png")
    assert load_data(tmp_path, image_size=8).input_shape == (3, 8, 8)
    assert load_data(tmp_path, image_size=(4, 7)).input_shape == (3, 4, 7)


def _large(folder):
    Image.new("RGB", (20, 30)).save(folder / "red" / "large.png")


def _truncated(folder):
    path = folder / "red" / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:80])


def _text(folder):
    (folder / "red" / "text.png").write_text("hello")


def _float(folder):
    Image.fromarray(np.full((5, 6), 0.5, dtype=np.float32)).save(folder / "red" / "half.tif")


def _wide(folder):
    Image.fromarray(np.full((5, 6), 1 << 20, dtype=np.int32)).save(folder / "red" / "wide.tif")


def _bomb(folder):
    Image.new("1", (20_000, 20_000)).save(folder / "red" / "bomb.png")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_large, "large.png is 20x30 pixels and .*000.png 6x5: give an image size"),
        (_truncated, "cannot read the image .*cut.png"),
        (_text, "cannot read the image .*text.png"),
        (_float, "half.tif has float pixels of unknown range: save it with 8 bits, or with 16"),
        (_wide, "wide.tif has 32-bit pixels of unknown range: save it with 8 bits, or with 16"),
        (_bomb, "bomb.png is too large"),
    ],
)
def test_bad_images_are_named(tmp_path, spoil, says):
    write_classes(tmp_path, 3)
    spoil(tmp_path)
    with pytest.raises(DataError, match=says):
        load_data(tmp_path)


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match="holds no folders"):
        load_data(tmp_path)


def test_class_folders_without_images(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        load_data(tmp_path)


def test_an_empty_class(tmp_path):
    write_classes(tmp_path, 6)
    (tmp_path / "green").mkdir()
    with pytest.raises(DataError, match=r"no training sample \(class green\)"):
        load_data(tmp_path)


def test_a_class_that_only_the_test_part_has(tmp_path):
    write_classes(tmp_path / "train", 4)
    write_classes(tmp_path / "test", 2, names=("blue", "green"))
    with pytest.raises(DataError, match="has the class 'green'"):
        load_data(tmp_path)


def test_image_size_out_of_range(tmp_path):
    write_classes(tmp_path, 3)
    with pytest.raises(DataError, match="image_size 0"):
        load_data(tmp_path, image_size=0)


def test_only_what_is_needed_is_decoded(tmp_path):
    for part in ("train", "test"):
        write_classes(tmp_path / part, 10)
    chosen = {name.removeprefix("train/") for name in load_data(tmp_path, train_size=4).ids}
    for path in (tmp_path / "train").glob("*/*.png"):
        if path.relative_to(tmp_path / "train").as_posix() not in chosen:
            path.write_text("no image at all")
    assert len(load_data(tmp_path, train_size=4).y_train) == 4
    with pytest.raises(DataError, match="cannot read the image"):
        load_data(tmp_path)
