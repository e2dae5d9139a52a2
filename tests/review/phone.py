"""A real browser as narrow as a phone, for pages of this machine."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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


def address_of(process: Any) -> str:
    """Read the address that a command says its page has."""
    assert process.stderr is not None
    line = process.stderr.readline()
    return str(next(word for word in line.split() if word.startswith("http://")))
