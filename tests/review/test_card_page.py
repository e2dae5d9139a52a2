"""The page of a review: what it shows, takes and refuses."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Browser
from lists import write_list
from PIL import Image
from small_folders import CLASSES, write_class_folders, write_images

from s2e_optuna.data import load_data
from s2e_optuna.errors import InputError
from s2e_optuna.review import prepare
from s2e_optuna.review.card_page import CardPage, Finished
from s2e_optuna.review.cards import read_cards
from s2e_optuna.review.decisions import Decision, DecisionFile, read_decisions
from s2e_optuna.review.samples import Samples
from s2e_optuna.review.session import Review

Open = Callable[..., Browser]


class Ended:
    """In place of the process that prepares: it has ended."""

    def poll(self) -> int:
        return 0

    wait = kill = poll


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open the page of a list; what is prepared is prepared in this process."""
    closing: list[Any] = []

    def start(samples: Samples) -> Ended:
        prepare.main(str(samples.folder))
        return Ended()

    monkeypatch.setattr(Samples, "_start", start)

    def make(path: Path, data: dict[str, Any] | None = None, model: Path | None = None) -> Browser:
        cards = read_cards(path)
        file = DecisionFile(path.with_name("decisions.jsonl"))
        ask = None
        if data is not None:
            ask = {
                "list": str(path),
                "data": data,
                "model": None if model is None else str(model),
            }
        samples = Samples(len(cards), ask)
        closing.extend([file, samples])

        def finish() -> Finished:
            if not file.decisions:
                raise InputError("there is <nothing> to write.")
            return Finished(["1 < 2 relabelled"], "s2e search 'a b'")

        return Browser(CardPage(Review(cards, file), samples, finish))

    yield make
    for one in closing:
        one.close()


def heading(browser: Browser, address: str = "?c=me") -> str:
    (found,) = re.findall(r"<h1>(.*?)</h1>", browser.text(address))
    return str(found)


def decide(browser: Browser, row: int, label: object, client: str = "me", **more: object) -> str:
    form = {"c": client, "card": row, "label": label, "seen": 0, **more}
    return browser.post("decide", **form)[0]


def test_a_browser_gets_a_name_of_its_own(opened: Open, tmp_path: Path) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))
    status, headers, _ = browser.ask()
    assert status == "303 See Other" and re.fullmatch(r"\./\?c=[\w-]+", headers["Location"])
    assert headers["Location"] != browser.ask()[1]["Location"]
    assert browser.ask(f"?c={'x' * 1000}")[0] == "303 See Other"


def test_cards_are_decided_one_after_the_other(opened: Open, tmp_path: Path) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))
    text = browser.text("?c=me")
    assert "Given label: <strong>ant</strong>. Proposed: <strong>bee</strong>" in text
    assert "Wrong with a probability of 95%." in text
    assert 'data-key="w">Wrong, it is bee' in text and 'value="2" data-key="2">cow' in text
    status, headers, _ = browser.post("decide", c="me", card=0, label=1, seen=0, order="teaching")
    assert (status, headers["Location"]) == ("303 See Other", "./?c=me&order=teaching")
    assert heading(browser) == "s01"
    decide(browser, 1, 1)  # right
    decide(browser, 2, "?")
    decide(browser, 3, "", **{"class": "cow"})
    path = tmp_path / "decisions.jsonl"
    found = {name: one.label for name, one in read_decisions(path).items()}
    assert found == {"s00": "bee", "s01": "bee", "s02": None, "s03": "cow"}
    text = browser.text("?c=me")
    assert "4 of 8 decided. 2 of 3 were wrong: between 21 and 94%. 1 could not be told." in text
    assert "Of 4 cards left about " in text


def test_back_shows_what_was_decided_and_changes_it(opened: Open, tmp_path: Path) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))
    decide(browser, 0, 1)
    decide(browser, 1, 1)
    assert 'href="./?c=me&amp;order=probability&amp;card=1"' in browser.text("?c=me")
    text = browser.text("?c=me&card=1")
    assert "Your decision: <strong>bee</strong>" in text and "card=0" in text
    assert "ArrowLeft" not in browser.text("?c=me&card=0")
    assert "ArrowLeft" not in browser.text("?c=other")  # it has decided nothing
    assert decide(browser, 1, "?", seen=1).startswith("303")
    assert "unclear" in browser.text("?c=me&card=1")
    assert len((tmp_path / "decisions.jsonl").read_text().splitlines()) == 4


def test_two_browsers_get_different_cards_and_do_not_overwrite_each_other(
    opened: Open, tmp_path: Path
) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))
    assert heading(browser, "?c=me") == "s00" == heading(browser, "?c=me")
    assert heading(browser, "?c=you") == "s01"
    assert decide(browser, 0, 1, "me").startswith("303")
    status, _, content = browser.post("decide", c="you", card=0, label=2, seen=0)
    assert status.startswith("422") and b"Somebody has decided" in content
    assert read_decisions(tmp_path / "decisions.jsonl")["s00"].label == "bee"
    assert decide(browser, 0, 2, "you", seen=1).startswith("303")
    assert read_decisions(tmp_path / "decisions.jsonl")["s00"].label == "cow"


def test_what_killed_pages_have_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, others = tmp_path / "s2e-review-left", tmp_path / "another"
    for folder in (left, others):
        folder.mkdir()
        (folder / "images.npy").write_bytes(b"")
    with Samples(3, None) as one, Samples(3, None) as other:
        assert sorted(tmp_path.iterdir()) == sorted([others, one.folder, other.folder])
    assert list(tmp_path.iterdir()) == [others]


def test_it_goes_on_where_it_stopped(opened: Open, tmp_path: Path) -> None:
    path = write_list(tmp_path / "suspects.csv")
    with DecisionFile(tmp_path / "decisions.jsonl") as file:
        file.add(Decision("s00", "ant", "bee"))
        file.add(Decision("of another list", "ant", "bee"))
    assert heading(opened(path)) == "s01"


def test_orders_and_filters(opened: Open, tmp_path: Path) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))
    assert heading(browser, "?c=me&order=teaching") == "s06"  # one half
    assert heading(browser, "?c=me&given=1&proposed=2") == "s01"
    text = browser.text("?c=me")
    assert 'aria-label="3 left, given ant, proposed bee">3</a>' in text
    assert "given=0&amp;proposed=1" in text
    text = browser.text("?c=me&given=1&proposed=2")
    assert "All classes" in text and "<details open>" in text
    for row in (1, 4, 7):
        decide(browser, row, 1)
    text = browser.text("?c=me&given=1&proposed=2")
    assert "No card is left here" in text and "3 of 3 decided. 0 of 3 were wrong" in text
    for words in ("order=x", "given=3", "given=-1", "proposed=x"):
        assert browser.ask(f"?c=me&{words}")[0] == "404 Not Found"


def test_at_random_all_labels_are_asked_about(opened: Open, tmp_path: Path) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))
    seen = []
    for _ in range(12):
        name = heading(browser, "?c=me&order=random")
        seen.append(name)
        row = int(name[1:])
        decide(browser, row, row % 3)
    assert sorted(seen) == [f"s{i:02}" for i in range(12)] != seen
    text = browser.text("?c=me&order=random")
    assert "0 of 12 were wrong: between 0 and 24% of all labels are." in text


def test_advice_to_stop(opened: Open, tmp_path: Path) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv", 300))
    for row in range(60):
        decide(browser, row, row % 3)
    assert "You can stop: the next 100 are probably right in" in browser.text("?c=me")


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"card": 0, "label": 3}, "422"),
        ({"card": 0, "label": "-1"}, "422"),
        ({"card": 0, "class": "<script>"}, "422"),
        ({"card": 0}, "422"),
        ({"card": 0, "label": 1}, "422"),  # has seen nothing
        ({"card": 0, "label": 1, "seen": 7}, "422"),
        ({"card": 12, "label": 1, "seen": 0}, "404"),
        ({"card": "٠", "label": 1, "seen": 0}, "404"),
        ({"label": 1, "seen": 0}, "404"),
        ({"card": 0, "label": 1, "seen": 0, "x": "x" * 10_000}, "413"),
        ({"card": 0, "label": 1, "seen": 0, "order": "x"}, "404"),
    ],
)
def test_what_is_no_decision_is_not_written(
    opened: Open, tmp_path: Path, form: dict[str, Any], status: str
) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))
    got, _, content = browser.post("decide", c="me", **form)
    assert got.startswith(status) and b"<script>" not in content
    assert read_decisions(tmp_path / "decisions.jsonl") == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_HOST": "evil.example:8000"},
        {"HTTP_HOST": ""},
        {"HTTP_ORIGIN": "http://evil.example"},
        {"HTTP_ORIGIN": "null"},
        {"at": "/"},
        {"at": "/wrong-token/decide"},
        {"at": "/wrong-token/picture/0"},
    ],
)
def test_strangers_are_refused(opened: Open, tmp_path: Path, headers: dict[str, str]) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))
    for path, body in (("", None), ("decide", b"c=me&card=0&label=1&seen=0"), ("finish", b"c=me")):
        status, _, content = browser.ask(path, body, **headers)
        assert status == "403 Forbidden" and b"s00" not in content
    assert read_decisions(tmp_path / "decisions.jsonl") == {}


@pytest.mark.parametrize(
    "path",
    [
        *("picture/0", "picture/99999", "picture/../../etc/passwd", "small/..%2f..%2fx"),
        *("sample/99", "similar/x", "x?c=me", "decide?c=me", "?c=me&card=99"),
    ],
)
def test_nothing_else_is_served(opened: Open, tmp_path: Path, path: str) -> None:
    """Without data there are no pictures, either."""
    browser = opened(write_list(tmp_path / "suspects.csv"))
    assert browser.ask(path)[0] == "404 Not Found"
    assert browser.ask("picture/0", b"c=me")[0] == "404 Not Found"


def test_names_and_texts_are_text(opened: Open, tmp_path: Path) -> None:
    path, bad = tmp_path / "suspects.csv", "<img src=x onerror=alert(1)>"
    path.write_text(
        f'id,given,proposed,text\n{bad},<b>ant,"""bee",{bad}\n../../etc/passwd,<b>ant,,x\n',
        encoding="utf-8",
    )
    browser = opened(path)
    status, headers, content = browser.ask('?c="><b>')
    text = content.decode()
    assert status == "200 OK" and "<img src=x" not in text and "<b>" not in text
    assert text.count("&lt;img src=x") >= 3 and "&lt;b&gt;ant" in text
    policy = headers["Content-Security-Policy"]
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', text))
    assert f"script-src 'nonce-{nonce}'" in policy and "default-src 'none'" in policy
    assert browser.ask("picture/1")[0] == "404 Not Found"
    assert b"<img src=x" not in browser.ask("sample/0")[2]


def test_a_list_alone_says_how_to_see_its_samples(opened: Open, tmp_path: Path) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))
    assert "name the data with --data" in browser.text("?c=me")


def test_many_classes_are_named_and_chosen_as_pairs(opened: Open, tmp_path: Path) -> None:
    classes = tuple(f"c{i:02}" for i in range(25))
    browser = opened(write_list(tmp_path / "suspects.csv", 75, classes))
    text = browser.text("?c=me")
    assert '<input name="class" list="classes" required data-key="a">' in text
    assert "given c00, proposed c01: 2 left of 2" in text and "<table>" not in text


def test_labels_are_written_from_the_page(opened: Open, tmp_path: Path) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))
    assert "there is &lt;nothing&gt; to write." in browser.post("finish", c="me")[2].decode()
    decide(browser, 0, 1)
    text = browser.post("finish", c="me")[2].decode()
    assert "1 &lt; 2 relabelled" in text and "<code>s2e search &#39;a b&#39;</code>" in text


def test_a_decision_that_cannot_be_written_is_asked_for_again(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DecisionFile, "append", full)
    status, _, content = browser.post("decide", c="me", card=0, label=1, seen=0)
    assert status.startswith("507") and b"No space left on device" in content
    assert heading(browser) == "s00"


def numbered(path: Path, names: list[str], classes: tuple[str, ...] = CLASSES) -> Path:
    """Write a list of these samples; the last third is trusted."""
    rows = [
        f'"{name}",{classes[i % len(classes)]},,{0.9 - 0.8 * i / len(names):.3f},'
        f"{'yes' if i < 2 * len(names) / 3 else 'no'}"
        for i, name in enumerate(names)
    ]
    header = "id,given_label,predicted_label,wrong_probability,suspicious"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def pixel(browser: Browser, path: str) -> int:
    status, headers, content = browser.ask(path)
    assert (status, headers["Content-Type"]) == ("200 OK", "image/png")
    return int(np.asarray(Image.open(io.BytesIO(content)).convert("L"))[0, 0])


def test_pictures_are_those_of_the_samples_and_nothing_outside_is_served(
    opened: Open, tmp_path: Path
) -> None:
    data = tmp_path / "photos"
    write_class_folders(data, 30)
    write_images(tmp_path, ["secret.png"], 200)
    names = [f"{CLASSES[i % 3]}/{i:02}.png" for i in range(20)]
    path = numbered(tmp_path / "suspects.csv", [*names[::-1], "../secret.png"])
    browser = opened(path, {"data": str(data)})
    assert [pixel(browser, f"picture/{row}") for row in (0, 5)] == [19, 14]
    text = browser.text("?c=me&card=4")
    assert '<img src="picture/4" alt="Sample ant/15.png">' in text and " data-load=" not in text
    assert browser.ask("picture/20")[0] == "404 Not Found"  # ../secret.png
    assert "nothing to show" in browser.text("?c=me&card=20")
    # Those of the data that are not on the list come behind it, and are trusted.
    assert len(re.findall(r'src="small/\d+"', text)) == 3
    assert {pixel(browser, f"small/{row}") for row in range(21, 31)} == set(range(20, 30))
    (data / names[19]).unlink()
    assert browser.ask("picture/0")[0] == "404 Not Found"
    (data / names[18]).write_bytes(b"no picture")
    assert browser.ask("picture/1")[0] == "404 Not Found"


def test_similar_samples_have_trusted_labels(opened: Open, tmp_path: Path) -> None:
    """Of digits the nearest ones show the same digit."""
    digits = load_data("digits")
    names, truth = digits.ids, digits.y_train.numpy()
    path = numbered(tmp_path / "suspects.csv", list(names), tuple("0123456789"))
    browser = opened(path, {"data": "digits"})
    right = 0
    for row in range(0, 100, 10):
        text = browser.ask(f"similar/{row}")[2].decode()
        found = [int(one) for one in re.findall(r'small/(\d+)"', text)]
        assert len(found) == 3
        assert all(one >= 833 for one in found)  # the less doubtful half of those not listed
        right += int((truth[found] == truth[row]).sum())
    assert right >= 20
    browser.post("decide", c="me", card=found[0], label=7, seen=0)  # what a person says counts
    first, *_ = re.findall(r"<strong>(\d)</strong>", browser.ask(f"similar/{row}")[2].decode())
    assert first == "7"


def test_rows_of_a_table_are_shown_with_their_columns(opened: Open, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = "".join(f"{i},{i % 7},<b>{i % 5},{'ab'[i % 2]}\n" for i in range(60))
    table.write_text(f"name,height,colour,label\n{rows}", encoding="utf-8")
    path = numbered(tmp_path / "suspects.csv", [str(i) for i in range(40)], ("a", "b"))
    browser = opened(path, {"data": str(table), "path_column": "name", "validation": "noisy"})
    text = browser.text("?c=me&card=9")
    assert "name: 9, height: 2, colour: &lt;b&gt;4" in text and "<img" not in text


def test_numbers_are_shown_where_there_is_no_more(opened: Open, tmp_path: Path) -> None:
    arrays = tmp_path / "x.npz"
    np.savez(arrays, x_train=np.arange(120.0).reshape(60, 2), y_train=np.arange(60) % 2)
    path = numbered(tmp_path / "suspects.csv", [str(i) for i in range(60)], ("0", "1"))
    browser = opened(path, {"data": str(arrays), "validation": "noisy"})
    assert '<p class="text">8, 9</p>' in browser.text("?c=me&card=4")


def test_classes_of_the_data_may_be_chosen(opened: Open, tmp_path: Path) -> None:
    path = numbered(tmp_path / "suspects.csv", [str(i) for i in range(30)], ("3", "5"))
    browser = opened(path, {"data": "digits"})
    browser.text("?c=me")
    assert "it is 9" not in browser.text("?c=me")
    names = re.findall(r'data-key="(\d)">\d', browser.text("?c=me"))
    assert sorted(names) == [str(i) for i in range(10) if i != 3]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"data": "nowhere"}, "unknown data set &#39;nowhere&#39;"),
        ({"data": "digits"}, "the data have none of the samples of the list"),
    ],
)
def test_why_there_is_nothing_to_show_is_said(
    opened: Open, tmp_path: Path, data: dict[str, Any], said: str
) -> None:
    browser = opened(write_list(tmp_path / "suspects.csv"), data)
    text = browser.text("?c=me")
    assert f"Samples cannot be shown: {said}" in text and "Wrong, it is bee" in text
