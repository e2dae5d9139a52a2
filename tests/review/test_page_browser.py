"""``s2e check --page`` in a real browser: twenty samples by keyboard, killed on the way."""

import csv
import signal
from pathlib import Path

from phone import FOLDER, NEEDS_CHROMIUM, PATIENCE, end, page_of, phone
from sklearn.datasets import load_digits

pytestmark = NEEDS_CHROMIUM


def test_twenty_by_keyboard_with_a_kill_in_between(tmp_path: Path) -> None:
    from playwright.sync_api import expect

    truth = load_digits().target
    words = "check digits --validation noisy --noise pair --noise-rate 0.4 --page -q"
    given: dict[str, str] = {}
    with phone() as (page, problems):
        for first, last in ((1, 7), (8, 20)):
            with page_of(words, tmp_path) as (process, address):
                page.goto(address)
                for number in range(first, last + 1):
                    heading = page.get_by_role("heading")
                    expect(heading).to_contain_text(f"{number} of 20: ", timeout=PATIENCE)
                    picture = page.locator("img")
                    expect(picture).to_have_js_property("naturalWidth", 8, timeout=PATIENCE)
                    sample = heading.inner_text().rpartition(" ")[2]
                    given[sample] = page.locator(".given strong").inner_text()
                    right = str(truth[int(sample)])
                    if number == 5:  # a mistake, taken back
                        page.keyboard.press(str((int(given[sample]) + 1) % 10))
                        expect(heading).to_contain_text("6 of 20", timeout=PATIENCE)
                        page.keyboard.press("ArrowLeft")
                        expect(page.locator(".given")).to_contain_text("Your answer")
                    if number == 3 and FOLDER:
                        page.screenshot(path=f"{FOLDER}/check.png")
                    page.keyboard.press("Enter" if given[sample] == right else right)
                after = f"{last + 1} of 20" if last < 20 else "All 20 are checked"
                expect(page.get_by_role("heading")).to_contain_text(after, timeout=PATIENCE)
                if last == 20 and FOLDER:
                    page.screenshot(path=f"{FOLDER}/checked.png")
                if last == 20:
                    assert page.evaluate("document.body.scrollWidth") <= 400
                    wrong = sum(given[name] != str(truth[int(name)]) for name in given)
                    expect(page.locator("main")).to_contain_text(f"{wrong} of 20 w")
                printed = end(
                    process, signal.SIGKILL if last < 20 else signal.SIGINT, page, problems
                )
        assert process.returncode == 0 and f"{wrong} of 20 w" in printed
    with (tmp_path / "s2e-out" / "checked-digits-pair-0.4.csv").open(encoding="utf-8") as file:
        answers = {row["id"]: row["label"] for row in csv.DictReader(file)}
    assert answers == {name: str(truth[int(name)]) for name in given}
    assert len(answers) == 20
