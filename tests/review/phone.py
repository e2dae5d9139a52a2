"""A real browser as narrow as a phone, for pages of this machine."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import PATIENCE as SECONDS
from command_line import start

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 120_000.0  # milliseconds for what hangs; how long the rest takes says nothing
FOLDER = os.environ.get("S2E_SCREENSHOTS")
"""Where pictures of pages go, if somebody wants them."""

NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}"),
]


@contextlib.contextmanager
def phone() -> Iterator[tuple[Any, list[str]]]:
    """Open a page; give it and what its console says."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.set_default_timeout(PATIENCE)
        problems: list[str] = []
        page.on("console", lambda said: problems.append(said.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page, problems
        browser.close()


@contextlib.contextmanager
def page_of(words: str, folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start a command that shows a page; give its process and the address that it prints."""
    with start(words, folder) as process:  # its pipes are closed however the test ends
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            yield process, next(word for word in line.split() if word.startswith("http://"))
        finally:
            process.kill()


def end(process: "subprocess.Popen[str]", by: int, page: Any, problems: list[str]) -> str:
    """End the server behind a page that had no problems; return what the command has printed."""
    assert problems == []
    process.send_signal(by)
    printed, _ = process.communicate(timeout=SECONDS)
    page.goto("about:blank")  # once it shows, what the lost connection broke has been told
    problems.clear()
    return str(printed)
