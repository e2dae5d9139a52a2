"""``s2e review`` in a real browser: by keyboard, killed on the way, exported, searched again."""

import csv
import json
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest
from command_line import run
from phone import FOLDER, NEEDS_CHROMIUM, PATIENCE, end, page_of, phone
from sklearn.datasets import load_digits

DATA = "digits --noise pair --noise-rate 0.45 --train-size 160 --epochs 12 --seeds 1 --folds 4"
COMMANDS = {
    "train": f"train {DATA} --method standard",
    "search": f"search {DATA} --trials 2",
}


def accuracy(kind: str, printed: str) -> float:
    """Return the test accuracy of plain training that a command has printed as JSON."""
    found = json.loads(printed.splitlines()[-1])["test_accuracy"]
    return float(found["mean"] if kind == "train" else found["standard"])


pytestmark = NEEDS_CHROMIUM


def decide(page: Any, last: int, decided: dict[str, str]) -> None:
    """Review by keyboard until so many are decided, as the true labels are."""
    from playwright.sync_api import expect

    truth = load_digits().target
    while len(decided) < last:
        heading = page.get_by_role("heading")
        sample = heading.inner_text()
        assert sample not in decided
        labels = page.locator(".given strong")
        expect(labels).to_have_count(2, timeout=PATIENCE)
        given, proposed = labels.all_inner_texts()
        picture = page.locator("#sample img")
        expect(picture).to_have_js_property("naturalWidth", 8, timeout=PATIENCE)
        expect(page.locator(".similar img")).to_have_count(3, timeout=PATIENCE)
        right = str(truth[int(sample)])
        if len(decided) == 4:  # a mistake, taken back
            page.keyboard.press("u")
            expect(heading).not_to_have_text(sample, timeout=PATIENCE)
            page.keyboard.press("ArrowLeft")
            expect(page.locator(".given")).to_contain_text("Your decision: unclear")
        if len(decided) == 10 and FOLDER:
            page.screenshot(path=f"{FOLDER}/review-card.png")
        page.keyboard.press({given: "r", proposed: "w"}.get(right, right))
        expect(heading).not_to_have_text(sample, timeout=PATIENCE)
        decided[sample] = right


@pytest.mark.parametrize("kind", ["train", pytest.param("search", marks=pytest.mark.slow)])
def test_from_suspicion_to_a_better_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from playwright.sync_api import expect

    monkeypatch.chdir(tmp_path)
    options = "--device cpu --quiet --json"
    first = run(f"{COMMANDS[kind]} {options} --out out")
    assert first.exit_code == 0, first.output
    decided: dict[str, str] = {}
    with phone() as (page, problems):
        with page_of("review out", tmp_path) as (process, address):
            page.goto(address)
            decide(page, 8, decided)
            end(process, signal.SIGKILL, page, problems)
        with page_of("review out", tmp_path) as (process, address):
            page.goto(address)
            decide(page, 20, decided)
            assert page.evaluate("document.body.scrollWidth") <= 400
            expect(page.get_by_role("status")).to_contain_text("20 of ", timeout=PATIENCE)
            page.get_by_text("Order and filter").click()
            if FOLDER:
                page.screenshot(path=f"{FOLDER}/review-filter.png", full_page=True)
            page.locator("td a").first.click()
            expect(page.get_by_text("All classes")).to_be_visible(timeout=PATIENCE)
            page.get_by_role("button", name="Write labels").click()
            expect(page.locator("code")).to_contain_text(f"s2e {kind} digits", timeout=PATIENCE)
            if FOLDER:
                page.screenshot(path=f"{FOLDER}/review-labels.png", full_page=True)
            again = page.locator("code").inner_text()
            printed = end(process, signal.SIGINT, page, problems)
    assert process.returncode == 0 and "s2e apply out" in printed
    assert re.search(r"20 of \d+ decided\. \d+ of 20 were wrong", printed)
    with Path("out/labels.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    by_person = {name: row["label"] for name, row in rows.items() if row["decided_by"] == "person"}
    assert by_person == decided
    applied = run("apply out --posterior 0.9 --json")  # the rest by what the decisions calibrate
    assert json.loads(applied.output)["relabelled_by_posterior"] > 0
    second = run(f"{again.removeprefix('s2e ')} --quiet --json")
    assert second.exit_code == 0, second.output
    assert accuracy(kind, second.output) > accuracy(kind, first.output) + 0.05
    if kind == "search":
        words, study = shlex.split(again), json.loads(first.output.splitlines()[-1])["study"]
        assert words[words.index("--warm-from") + 1] == study
