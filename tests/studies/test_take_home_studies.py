"""The studies of face verification and of human label noise, at their smallest."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studies import bench_suspects, human_noise, table2


def test_table2_writes_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table2, "RESULTS", tmp_path)
    command = ["table2", "--scale", "tiny", "--device", "cpu", "--methods", "standard", "s2e"]
    monkeypatch.setattr("sys.argv", command)
    table2.main()
    page = (tmp_path / "tiny.md").read_text(encoding="utf-8")
    assert "drawings of faces, not on photographs" in page and "(93.20) |" in page
    rows = json.loads((tmp_path / "tiny.json").read_text(encoding="utf-8"))["methods"]
    assert all(len(rows["s2e"]["accuracy"][test]) == 1 for test in table2.TESTS)
    assert rows["standard"]["schedule"] is None and len(rows["s2e"]["schedule"]) == 8
    capsys.readouterr()
    table2.main()
    assert capsys.readouterr().out == ""  # nothing is trained again


def test_human_noise_from_a_folder_and_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(human_noise, "RESULTS", tmp_path / "results")
    rng = np.random.default_rng(0)
    lines = ["path,clean,aggregate,worst"]
    for part, count in (("train", 80), ("test", 20)):
        for value, name in enumerate(("ant", "bee", "cat")):
            place = tmp_path / "images" / part / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 60, (8, 8, 3)) + 90 * np.eye(3)[value]
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i}.jpg")
                if part == "train":
                    worst = "bee" if i % 3 == 0 else name
                    lines.append(f"train/{name}/{i}.jpg,{name},{name},{worst}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    command = "human_noise --scale tiny --images images --labels labels.csv --columns worst"
    monkeypatch.setattr("sys.argv", f"{command} --storage sqlite:///s.db --device cpu".split())
    human_noise.main()
    (found,) = (tmp_path / "results").glob("*.json")
    content = json.loads(found.read_text(encoding="utf-8"))
    assert 0.15 < content["noise_rate"] < 0.3 and content["n_trials"] == 3
    assert content["recall_at"]["200"] == 1.0
    page = (tmp_path / "results" / "tiny.md").read_text(encoding="utf-8")
    assert "JPEG" in page and "| worst |" in page and str(tmp_path) not in page
    assert (tmp_path / "results" / "tiny.png").stat().st_size > 5000


def test_scores_of_suspects_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_suspects, "RESULTS", tmp_path)
    monkeypatch.setattr(bench_suspects, "DIGITS_EPOCHS", 8)
    monkeypatch.setattr(bench_suspects, "SEEDS", (1, 2))
    monkeypatch.setattr("sys.argv", ["bench_suspects", "digits-sym10"])
    bench_suspects.main()
    content, other = json.loads((tmp_path / "digits-sym10.json").read_text(encoding="utf-8"))
    assert other["task"] == "digits-sym10, keeps all"
    chosen = content["scores"][bench_suspects.CHOSEN]
    assert chosen["average_precision"] > content["noise_rate"] * 3  # far above a random order
    assert "| digits-sym10, keeps all |" in (tmp_path / "README.md").read_text(encoding="utf-8")
