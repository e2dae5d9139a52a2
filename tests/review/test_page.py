"""The page on which labels are checked: what it shows, takes and refuses."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import HOST, Browser
from PIL import Image
from small_folders import write_images

from s2e_optuna.data import NoisyData, from_arrays, load_data
from s2e_optuna.review.answers import AnswerFile
from s2e_optuna.review.drawn import draw
from s2e_optuna.review.page import Page

Open = Callable[..., tuple[Browser, AnswerFile]]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    files: list[AnswerFile] = []

    def make(data: NoisyData, number: int = 3) -> tuple[Browser, AnswerFile]:
        answers = AnswerFile(tmp_path / f"answers{len(files)}.csv")
        files.append(answers)
        cards = draw(data, number, 0)
        page = Page(cards, data, answers, lambda: "1 < 2 were wrong", "s2e search 'a b'")
        return Browser(page), answers

    yield make
    for one in files:
        one.__exit__()


def images(**options: Any) -> NoisyData:
    x = np.random.default_rng(0).integers(0, 256, (60, 5, 5, 3), dtype=np.uint8)
    return from_arrays(x, np.arange(60) % 3, validation="noisy", **options)


def test_cards_are_answered_one_after_the_other(opened: Open) -> None:
    browser, answers = opened(images(class_names=["ant", "bee", "cow"]))
    assert "1 of 3" in browser.text()
    status, headers, _ = browser.ask("answer", b"card=1&label=2", HTTP_ORIGIN=f"http://{HOST}")
    assert (status, headers["Location"]) == ("303 See Other", "./")
    assert "2 of 3" in browser.text()
    browser.ask("answer", b"card=2&label=%3F")
    browser.ask("answer", b"card=3&class=bee")
    assert list(answers.labels.values()) == ["cow", "", "bee"]
    end = browser.text()
    assert "All 3 are checked" in end and "1 &lt; 2 were wrong" in end
    assert "Your answer: <strong>cannot say</strong>" in browser.text("?card=2")
    _, headers, _ = browser.ask("answer", b"card=1&label=0")
    assert headers["Location"] == "?card=2"  # where one looks through them again
    assert answers.path.read_text(encoding="utf-8").count("\n") == 5


@pytest.mark.parametrize(
    ("form", "status"),
    [
        (b"card=1&label=3", "422"),
        (b"card=1&label=-1", "422"),
        (b"card=1&label=%D9%A1", "422"),
        (b"card=1&class=<script>", "422"),
        (b"card=1", "422"),
        (b"card=0&label=1", "404"),
        (b"card=4&label=1", "404"),
        (b"label=1", "404"),
        (b"\xff\xfe", "404"),
        (b"card=1&label=1&x=" + b"x" * 10_000, "413"),
    ],
)
def test_what_is_no_answer_is_not_written(opened: Open, form: bytes, status: str) -> None:
    browser, answers = opened(images())
    got, _, content = browser.ask("answer", form)
    assert got.startswith(status) and b"<script>" not in content
    assert answers.labels == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_HOST": "evil.example:8000"},
        {"HTTP_HOST": "127.0.0.1:80"},
        {"HTTP_HOST": ""},
        {"HTTP_ORIGIN": "http://evil.example"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_ORIGIN": "http://127.0.0.1:9"},
        {"at": "/"},
        {"at": ""},
        {"at": "/wrong-token/answer"},
        {"at": "/\xe9/answer"},
    ],
)
def test_strangers_are_refused(opened: Open, headers: dict[str, str]) -> None:
    browser, answers = opened(images())
    for path, body in (("", None), ("answer", b"card=1&label=1")):
        status, _, content = browser.ask(path, body, **headers)
        assert status == "403 Forbidden"
        assert b"1 of 3" not in content
    assert answers.labels == {}


@pytest.mark.parametrize(
    "path", ["picture/0", "picture/4", "picture/../../etc/passwd", "picture/", "x", "?card=x"]
)
def test_nothing_else_is_served(opened: Open, path: str) -> None:
    browser, _ = opened(images())
    assert browser.ask(path)[0] == "404 Not Found"


def test_names_are_text_and_nothing_runs_that_is_not_ours(tmp_path: Path, opened: Open) -> None:
    classes = ("<b>ant", '"bee')
    names = [f"{classes[i % 2]}/<img src=x onerror=alert(1)>{i:02}.png" for i in range(40)]
    folder = write_images(tmp_path / "pictures", [f"train/{name}" for name in names])
    browser, _ = opened(load_data(folder, validation="noisy"))
    status, headers, content = browser.ask()
    text = content.decode()
    assert status == "200 OK" and "&lt;img src=x" in text and "&lt;b&gt;ant" in text
    assert "<img src=x" not in text and "<b>" not in text
    policy = headers["Content-Security-Policy"]
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', text))
    assert f"script-src 'nonce-{nonce}'" in policy and "default-src 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert nonce not in browser.text()  # another one each time


def test_pictures_are_those_of_the_cards(tmp_path: Path, opened: Open) -> None:
    folder = tmp_path / "pictures"
    write_images(folder, [f"{'ab'[i % 2]}/{i}.png" for i in range(40)])
    data = load_data(folder, validation="noisy")
    browser, _ = opened(data)
    first = draw(data, 1, 0)[0]
    status, headers, content = browser.ask("picture/1")
    assert (status, headers["Content-Type"]) == ("200 OK", "image/png")
    shown = Image.open(io.BytesIO(content)).convert("L").getpixel((0, 0))
    assert shown == int(Path(first.id).stem)  # each image shows its number
    Path(str(first.file)).unlink()
    assert browser.ask("picture/1")[0] == "404 Not Found"


def test_arrays_become_pictures_and_rows_become_numbers(opened: Open, tmp_path: Path) -> None:
    data = images()
    browser, _ = opened(data)
    shown = np.asarray(Image.open(io.BytesIO(browser.ask("picture/1")[2])))
    row = draw(data, 1, 0)[0].row
    assert np.array_equal(shown, data.x_val[row].permute(1, 2, 0).numpy())
    table = from_arrays(np.arange(120.0).reshape(60, 2), np.arange(60) % 2, validation="noisy")
    browser, _ = opened(table)
    number = int(table.val_ids[draw(table, 1, 0)[0].row])
    assert f"<p>{2 * number}, {2 * number + 1}</p>" in browser.text()
    assert "<img" not in browser.text()


def test_keys_are_the_numbers_that_classes_are_called_by(opened: Open) -> None:
    keys = {}
    for names in (("3", "1", "2"), ("ant", "bee", "cow"), ("10", "2", "3")):
        browser, _ = opened(images(class_names=names))
        found = re.findall(r'value="(\d)" data-key="(\d?)">(\w+)', browser.text())
        keys[names] = {name: (value, key) for value, key, name in found}
        assert len(found) == 2  # all but the given one
    for name, (value, key) in keys["3", "1", "2"].items():
        assert key == name and ("3", "1", "2")[int(value)] == name
    assert all(value == key for value, key in keys["ant", "bee", "cow"].values())
    assert keys["10", "2", "3"].get("10", ("0", ""))[1] == ""


def test_an_answer_that_cannot_be_written_is_asked_for_again(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, answers = opened(images())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(answers, "_write", full)
    status, _, content = browser.ask("answer", b"card=1&label=1")
    assert status.startswith("507") and b"No space left on device" in content
    assert "1 of 3" in browser.text()
