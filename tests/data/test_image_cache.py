"""Decoded images are kept in a file and mapped."""

import os
import time

import numpy as np
import pytest
from PIL import Image

from s2e_optuna.data import image_cache
from s2e_optuna.data.image_cache import read_images


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache, "SMALLEST", 0)
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tmp_path


PATHS = [f"{i}.png" for i in range(5)]


def _kept(images):
    return sorted((images / "cache").glob("*"))


def test_the_second_reader_maps_what_the_first_decoded(images, monkeypatch):
    first = read_images(images, PATHS, None, images / "cache")
    monkeypatch.setattr(image_cache, "decode_images", None)
    second = read_images(images, PATHS, None, images / "cache")
    assert isinstance(second, np.memmap)
    assert (first == second).all() and second.shape == (5, 3, 4, 6)
    second[:] = 0  # a private copy of the pages
    assert (read_images(images, PATHS, None, images / "cache") == first).all()


def test_another_list_size_or_content_is_another_file(images):
    read_images(images, PATHS, None, images / "cache")
    read_images(images, PATHS[:3], None, images / "cache")
    read_images(images, PATHS, (2, 2), images / "cache")
    Image.new("RGB", (6, 4)).save(images / "0.png")
    changed = read_images(images, PATHS, None, images / "cache")
    assert len(_kept(images)) == 4 and changed[0].max() == 0


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_file_is_made_anew(images, content):
    first = np.array(read_images(images, PATHS, None, images / "cache"))
    (file,) = _kept(images)
    file.write_bytes(file.read_bytes()[:200] if content is None else content)
    assert (read_images(images, PATHS, None, images / "cache") == first).all()


def test_without_a_writable_folder_images_are_read_all_the_same(images):
    (images / "cache").write_text("a file")
    assert read_images(images, PATHS, None, images / "cache").shape == (5, 3, 4, 6)


def test_small_sets_leave_nothing_behind(images, monkeypatch):
    monkeypatch.setattr(image_cache, "SMALLEST", 1 << 20)
    read_images(images, PATHS, None, images / "cache")
    assert not (images / "cache").exists()


def test_files_that_nobody_uses_are_removed(images):
    read_images(images, PATHS, None, images / "cache")
    (old,) = _kept(images)
    long_ago = time.time() - 100 * 86_400
    os.utime(old, (long_ago, long_ago))
    read_images(images, PATHS[:2], None, images / "cache")
    assert old not in _kept(images) and len(_kept(images)) == 1
