"""The dashboard in a real browser, after a real search.

With S2E_SCREENSHOTS=FOLDER the search is longer, and the pages are saved there as the pictures of
the documentation.
"""

import io
import os
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from PIL import Image

from s2e_optuna import S2ESampler, open_storage
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.stored import objective_of
from s2e_optuna.stored_names import CONFIG_ATTR
from s2e_optuna.web.dashboard import publish_all
from s2e_optuna.web.serve import serve

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE = 120_000.0  # milliseconds for what hangs; how long the rest takes says nothing
FOLDER = os.environ.get("S2E_SCREENSHOTS")
STACKS, EPOCHS, SIZE = (6, 60, None) if FOLDER else (2, 5, 200)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}"),
]


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    """Address of a dashboard with one study, of id 1, and the number of its best trial."""
    folder = tmp_path_factory.mktemp("dashboard")
    config = SearchConfig.of(
        noise="symmetric",
        noise_rate=0.5,
        train_size=SIZE,
        epochs=EPOCHS,
        storage=f"sqlite:///{folder / 's2e.db'}",
    )
    (folder / "artifacts").mkdir()  # as a search does
    storage = open_storage(config.storage)
    study = optuna.create_study(
        storage=storage,
        study_name=config.study_name,
        sampler=S2ESampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
    )
    study.set_user_attr(CONFIG_ATTR, config.stored())
    objective = objective_of(config.stored(), "cpu")
    for _ in range(STACKS):
        trials = [study.ask() for _ in range(4)]
        for trial, outcome in zip(trials, objective.evaluate(trials), strict=True):
            for name, value in outcome.attrs.items():
                trial.set_user_attr(name, value)
            study.tell(trial, outcome.value, state=outcome.state)
    publish_all(storage)
    answer: queue.Queue[str] = queue.Queue()
    threading.Thread(
        target=serve,
        args=(storage,),
        kwargs={"port": 0, "artifacts": folder / "artifacts", "on_ready": answer.put},
        daemon=True,
    ).start()
    return answer.get(timeout=120), study.best_trial.number


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=str(CHROMIUM), args=ARGUMENTS, timeout=PATIENCE
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def is_drawn(place: Any) -> bool:
    """Whether a picture is seen there sooner or later: more than a background and a frame."""
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        picture = Image.open(io.BytesIO(place.screenshot())).convert("RGB")
        if len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 20:
            return True
    return False


def keep(name: str, picture: bytes) -> None:
    if FOLDER:
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        # Few colours, no gradients: a palette halves the size without a visible loss.
        image.quantize(128).save(Path(FOLDER) / name, optimize=True)


def test_a_trial_shows_its_schedule(page: Any, dashboard: tuple[str, int]) -> None:
    address, best = dashboard
    page.goto(f"{address}dashboard/studies/1/trials?numbers={best}")
    picture = page.locator("img[src*='artifacts']").first
    picture.wait_for()
    page.wait_for_function("document.querySelector(\"img[src*='artifacts']\").complete")
    assert picture.evaluate("image => image.naturalWidth") == 440
    picture.scroll_into_view_if_needed()
    assert is_drawn(picture)
    page.get_by_text("curves.csv").wait_for()
    page.set_viewport_size({"width": 1280, "height": 1500})  # all of it, without scrolling
    page.evaluate("window.scrollTo(0, 0)")
    keep("dashboard-trial.png", page.screenshot())
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(address.rstrip("/") + picture.get_attribute("src"))
    keep("trial-schedule.png", page.screenshot(clip={"x": 0, "y": 0, "width": 440, "height": 400}))


def test_the_study_shows_how_the_search_went(page: Any, dashboard: tuple[str, int]) -> None:
    page.goto(f"{dashboard[0]}dashboard/studies/1")
    for title in ("R(t) of", "Distribution of R(t)", "Entropy of p_theta", "Best validation"):
        plot = page.locator(".js-plotly-plot", has=page.get_by_text(title)).first
        plot.wait_for()
        plot.scroll_into_view_if_needed()
        plot.locator(".trace, .scatter").first.wait_for(state="attached")
        assert is_drawn(plot)
    page.set_viewport_size({"width": 1280, "height": 4000})  # all of it, without scrolling
    page.wait_for_timeout(1500 if FOLDER else 0)
    plots = [
        page.locator(".js-plotly-plot", has=page.get_by_text(title)).first.bounding_box()
        for title in ("R(t) of", "Distribution of R(t)", "Entropy of p_theta", "Best validation")
    ]
    left, top = (min(box[side] for box in plots) for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in plots)
    bottom = max(box["y"] + box["height"] for box in plots)
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    keep("dashboard-plots.png", page.screenshot(clip=clip))
    page.set_viewport_size({"width": 1280, "height": 900})


def test_the_note_says_how_to_read_it(page: Any, dashboard: tuple[str, int]) -> None:
    page.goto(f"{dashboard[0]}dashboard/studies/1/note")
    page.get_by_text("How to read it").wait_for()
    assert page.get_by_text("None").count() == 0
    clip = {"x": 0, "y": 0, "width": 1280, "height": 640}
    keep("dashboard-note.png", page.screenshot(clip=clip))
