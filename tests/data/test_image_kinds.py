"""Images of all kinds become what people see, and nothing from below reaches the terminal."""

import warnings

import numpy as np
import pytest
from PIL import Image

from s2e_optuna.data import ImageFiles
from s2e_optuna.data.images import BrokenImages, decode_images, default_size

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def halves(left, right) -> Image.Image:
    """Return an image of 6x4 pixels, one colour on the left and one on the right."""
    image = Image.new("RGB", (6, 4), left)
    image.paste(right, (3, 0, 6, 4))
    return image


def palette(transparency=None) -> tuple[Image.Image, dict]:
    image = halves(RED, BLUE).quantize(4)
    return image, {} if transparency is None else {"transparency": transparency}


def with_alpha(mode) -> tuple[Image.Image, dict]:
    image = halves(RED, BLUE).convert(mode)
    alpha = Image.new("L", (6, 4), 255)
    alpha.paste(0, (3, 0, 6, 4))
    image.putalpha(alpha)
    return image, {}


def colours(path) -> tuple[list, list]:
    """Return the colours left and right, in memory and batch by batch; no warning is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = decode_images([path])[0]
        streamed = ImageFiles([path], (4, 6), workers=0).read()[0].numpy()
    assert (np.broadcast_to(pixels, streamed.shape) == streamed).all()
    return pixels[:, 1, 1].tolist(), pixels[:, 1, 4].tolist()


@pytest.mark.parametrize(
    ("image", "left", "right"),
    [
        (palette(), RED, BLUE),
        (with_alpha("RGB"), RED, WHITE),
        (with_alpha("L"), [76], [255]),
        ((halves(RED, BLUE).convert("L"), {"transparency": 29}), [76, 76, 76], WHITE),
    ],
    ids=["palette", "RGBA", "LA", "grey with a transparent value"],
)
def test_palettes_and_transparency(tmp_path, image, left, right):
    picture, options = image
    picture.save(tmp_path / "x.png", **options)
    found = colours(tmp_path / "x.png")
    assert found[0] in (list(left), list(left)[:1]) and found[1] in (list(right), list(right)[:1])


def test_a_palette_with_a_transparency_for_each_colour(tmp_path):
    image, _ = palette()
    shown = [image.getpixel((0, 0)), image.getpixel((5, 0))]
    alphas = [255] * 4
    alphas[shown[1]] = 0
    image.save(tmp_path / "x.png", transparency=bytes(alphas))
    assert colours(tmp_path / "x.png") == (list(RED), list(WHITE))


def test_cmyk_is_read_in_colours(tmp_path):
    halves(RED, BLUE).convert("CMYK").save(tmp_path / "x.tif")
    assert colours(tmp_path / "x.tif") == (list(RED), list(BLUE))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_camera_says(tmp_path, orientation):
    image = halves(RED, BLUE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "x.png", exif=exif)
    pixels = decode_images([tmp_path / "x.png"])[0]
    assert pixels.shape == ((3, 6, 4) if orientation >= 5 else (3, 4, 6))
    first = {1: RED, 2: BLUE, 3: BLUE, 4: RED, 5: RED, 6: RED, 7: BLUE, 8: BLUE}[orientation]
    assert tuple(pixels[:, 0, 0].tolist()) == first


def test_a_damaged_note_of_the_camera_says_nothing(tmp_path):
    halves(RED, BLUE).save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=100)
    assert decode_images([tmp_path / "x.jpg"]).shape == (1, 3, 4, 6)


def test_all_broken_images_are_named_at_once(tmp_path):
    paths = [tmp_path / f"{i:02}.png" for i in range(30)]
    for i, path in enumerate(paths):
        halves(RED, BLUE).save(path)
        if i % 5 == 0:
            path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BrokenImages, match=r"images .*00.png, .*25.png \(6 of 30\).*--skip"):
        decode_images(paths)
    with pytest.raises(BrokenImages, match=r"the image .*05.png \(.*\): it may be truncated"):
        decode_images(paths[1:9])


def test_large_images_have_a_size_by_default(tmp_path):
    for i, side in enumerate((100, 129, 300)):
        Image.new("L", (side, 50)).save(tmp_path / f"{i}.png")
    paths = [tmp_path / f"{i}.png" for i in (0, 1, 2)]
    size, words = default_size(paths)
    assert size == (64, 64) and "100x50 pixels are resized to 64x64; --image-size" in words
    assert default_size([paths[0], paths[0], paths[2]]) == (None, None)
