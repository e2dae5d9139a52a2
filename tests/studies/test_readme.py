"""Numbers in README and documentation are those of the results files."""

import json
import re
from pathlib import Path

import pytest

from studies.readme import BLOCKS, README, filled, without_blocks
from studies.settings import RESULTS

ROOT = README.parent
TEXTS = [README, *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_pages_say_what_the_results_say(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert filled(text) == text, "run python -m studies.readme"


def test_every_block_is_used() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in TEXTS)
    assert all(f"<!-- results: {name} -->" in texts for name in BLOCKS)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_measured_numbers_are_nowhere_else(path: Path) -> None:
    rest = without_blocks(path.read_text(encoding="utf-8"))
    assert re.findall(r".*\d ± \d.*", rest) == []


def test_a_changed_number_is_noticed(tmp_path: Path) -> None:
    content = json.loads((RESULTS / "figure6/small.json").read_text(encoding="utf-8"))
    content["searches"]["mnist-pair45"]["newton"][0]["test"][-1] += 0.01
    (tmp_path / "figure6").mkdir()
    (tmp_path / "figure6/small.json").write_text(json.dumps(content), encoding="utf-8")
    text = (ROOT / "docs" / "optuna.md").read_text(encoding="utf-8")
    changed = filled(text, tmp_path)
    assert changed != text and without_blocks(changed) == without_blocks(text)


def test_an_unknown_block_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        filled("<!-- results: nonsense -->\n<!-- end of results -->")


@pytest.mark.parametrize(
    ("path", "words", "name", "key"),
    [
        ("docs/index.md", r"\(red\) reaches ([\d.]+)% test", "mnist-pair45", "coteaching"),
        ("docs/index.md", r"that was found ([\d.]+)%", "mnist-pair45", "s2e"),
        ("docs/index.md", r"plain training ([\d.]+)%", "mnist-pair45", "standard"),
    ],
)
def test_numbers_in_sentences(path: str, words: str, name: str, key: str) -> None:
    """The main job's mean test accuracies, rounded to one digit."""
    text = re.sub(r"\s+", " ", (ROOT / path).read_text(encoding="utf-8"))
    found = re.findall(words, text)
    content = json.loads((RESULTS / "main_job" / f"{name}.json").read_text(encoding="utf-8"))
    assert found == [f"{100 * content['test_accuracy'][key]:.1f}"]
