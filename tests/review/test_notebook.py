"""A review from Python, with its page in the background."""

import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from lists import write_list

from s2e_optuna.errors import InputError
from s2e_optuna.labels import Suspect
from s2e_optuna.review import review

ROWS = [
    Suspect(str(i), i % 2, 1 - i % 2, 0.9 - i / 50, 0.1, 0.9, wrong_probability=0.9 - i / 50)
    for i in range(40)
]


def fetch(address: str, **form: object) -> str:
    body = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(address, body, timeout=120) as answer:
        return str(answer.read().decode())


def test_rows_and_arrays_are_reviewed_and_it_goes_on(tmp_path: Path) -> None:
    x = np.arange(40, dtype=np.uint8)[:, None, None].repeat(6, 1).repeat(6, 2)
    with review(ROWS, (x, np.arange(40) % 2), folder=tmp_path) as reviewing:
        page = fetch(f"{reviewing.address}?c=me")
        assert "Given label: <strong>0</strong>. Proposed: <strong>1</strong>" in page
        assert '<img class="small" src="picture/0"' in fetch(f"{reviewing.address}sample/0")
        fetch(f"{reviewing.address}decide", c="me", card=0, label=1, seen=0)
        fetch(f"{reviewing.address}decide", c="me", card=1, label="?", seen=0)
        assert reviewing.labels()["0"] == "1" and "1" not in reviewing.labels()
        assert reviewing.labels(posterior_above=0.7)["2"] == "1"
        assert "2 of 20 decided. 1 of 1 was wrong" in repr(reviewing)
        assert reviewing.address in reviewing._repr_html_()
        assert "Wrote" in fetch(f"{reviewing.address}finish", c="me")
        assert (tmp_path / "labels.csv").exists()
        with pytest.raises(InputError, match="another s2e review has"):
            review(ROWS, folder=tmp_path)
    with review(ROWS, folder=tmp_path) as again:
        assert again.labels()["0"] == "1"


def test_a_page_that_is_closed_answers_no_more(tmp_path: Path) -> None:
    reviewing = review(write_list(tmp_path / "suspects.csv"))
    assert "s00" in fetch(f"{reviewing.address}?c=me")
    port = int(reviewing.address.split(":")[2].split("/")[0])
    with pytest.raises(InputError, match="nothing can listen on"):
        review(write_list(tmp_path / "other" / "suspects.csv"), port=port)
    reviewing.close()
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        for _ in range(1000):  # until the thread has seen it
            fetch(f"{reviewing.address}?c=me")
