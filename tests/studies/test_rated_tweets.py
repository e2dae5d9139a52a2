"""Tweets that many people have rated, out of the package that brings them."""

import csv
import io
import tarfile
import zipfile
from pathlib import Path

from studies.human_noise import rated_tweets, write_tweets

RATINGS = {"1": [2, 3, 1], "2": [-1, 0, -2], "3": [1, -1], "4": [0, 0, 4]}
TEXTS = {"1": "lucky", "2": "bad luck", "3": "so so", "4": "on Monday"}


def write_package(path: Path) -> None:
    inside = io.BytesIO()
    with tarfile.open(fileobj=inside, mode="w:gz") as tar:
        for kind, cells in (
            ("anonDataRatings", {key: f"0.5\t0.1\t{said}" for key, said in RATINGS.items()}),
            ("GroundTruth", {key: f"0.5\t{text.split()[-1]}" for key, text in TEXTS.items()}),
        ):
            content = "".join(f"{key}\t{cell}\r\n" for key, cell in cells.items()).encode()
            about = tarfile.TarInfo(f"hutto_ICWSM_2014/tweets_{kind}.txt")
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x-0.5/more/hutto_ICWSM_2014.tar.gz", inside.getvalue())


def test_one_rater_s_word_is_given_and_the_majority_s_is_true(tmp_path: Path) -> None:
    write_package(tmp_path / "package.zip")
    assert dict(rated_tweets(tmp_path / "package.zip"))["luck"] == [-1, 0, -1]
    place = write_tweets(tmp_path / "package.zip", tmp_path / "tweets")["texts"]
    with Path(place).open(encoding="utf-8", newline="") as file:
        rows = {row["text"]: row for row in csv.DictReader(file)}
    assert [rows[text]["clean"] for text in rows] == ["positive", "negative", "neutral"]
    assert "so" not in rows  # as many say good as bad
    for row in rows.values():
        assert row["one rater"] == row["clean"] or row["split"] == "train"
