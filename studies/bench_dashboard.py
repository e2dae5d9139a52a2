"""Measure the dashboard on a large study, and what its pictures cost.

    python -m studies.bench_dashboard
    python -m studies.bench_dashboard --sizes 100 1000 --no-browser

A SQLite file is filled with made-up trials of an S2E search (as in `studies.bench_overhead`). Then
optuna-dashboard serves it twice: *raw*, as ``optuna-dashboard URL`` does, and *cached*, as ``s2e
dashboard`` does, which reads the storage through a cache, remembers what finished trials look
like and shows the learning curves of a few hundred trials only. Measured are the answer with all
trials (first, and again when the dashboard's own ten seconds are over), and in Chromium the time
from the address to the pictures of the study's page and to a trial's attributes. Besides:
milliseconds a trial for its two artifacts, and seconds for the study's note and four pictures.
Results go to ``studies/results/bench_dashboard/``: README.md, results.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import queue
import socket
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from rich.progress import track

from s2e_optuna import Schedule, open_storage
from s2e_optuna.objective.artifacts import TrialArtifacts, best_so_far
from s2e_optuna.objective.reporter import one_transaction
from s2e_optuna.reporting import save_figure, schedule_figure
from s2e_optuna.reporting.view import read_study
from s2e_optuna.web.dashboard import publish, study_plots
from s2e_optuna.web.serve import serve
from studies.bench_overhead import fill
from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "bench_dashboard"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 120.0  # seconds after which a page counts as one that does not open
CACHE_SECONDS = 10.5  # for so long the dashboard answers from its own memory
NAME = "made-up"


def serve_in_thread(storage: BaseStorage) -> str:
    """Start a dashboard; return its address. It ends with the program."""
    address: queue.Queue[str] = queue.Queue()
    options = {"port": 0, "on_ready": address.put}
    threading.Thread(target=serve, args=(storage,), kwargs=options, daemon=True).start()
    return address.get(timeout=60)


def stock_in_thread(url: str) -> str:
    """Start ``optuna-dashboard URL``; return its address. It ends with the program."""
    from optuna_dashboard import run_server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"host": "127.0.0.1", "port": port}
    threading.Thread(target=run_server, args=(url,), kwargs=options, daemon=True).start()
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"http://127.0.0.1:{port}/"
        time.sleep(0.1)
    raise RuntimeError("optuna-dashboard did not start")


def seconds(call: Callable[[], object]) -> float:
    """Measure how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def fetch(address: str) -> bytes:
    with urllib.request.urlopen(f"{address}api/studies/1?after=0", timeout=600) as answer:
        content: bytes = answer.read()
    return content


def browse(address: str, size: int) -> dict[str, float]:
    """Open the study and a trial in Chromium; infinite for a page that does not open."""
    from playwright.sync_api import TimeoutError as Late
    from playwright.sync_api import sync_playwright

    found = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(1000 * PATIENCE)

        def open_study() -> None:
            page.goto(f"{address}dashboard/studies/1")
            page.get_by_text("Entropy of p_theta").first.wait_for()

        def open_trial() -> None:
            page.goto(f"{address}dashboard/studies/1/trials?numbers={size // 2}")
            page.get_by_text("training_seed").first.wait_for()

        for name, call in (("study page", open_study), ("trial page", open_trial)):
            try:
                found[name] = seconds(call)
            except Late:
                found[name] = math.inf
        browser.close()
    return found


def measure(folder: Path, size: int, browser: bool) -> dict[str, Any]:
    """Measure one size of the study."""
    url = f"sqlite:///{folder / f'{size}.db'}"
    storage = open_storage(url)
    study = optuna.create_study(storage=storage, study_name=NAME)
    fill(storage, study._study_id, size, "s2e")  # type: ignore[arg-type]
    row: dict[str, Any] = {"trials": size}
    reading = time.perf_counter()
    view = read_study(open_storage(url), NAME)
    row["read"] = time.perf_counter() - reading
    row["publish"] = seconds(lambda: publish(view))
    row["plot_kilobytes"] = sum(len(p.to_json()) for p in study_plots(view).values()) / 1000
    for kind in ("cached", "raw"):
        address = stock_in_thread(url) if kind == "raw" else serve_in_thread(open_storage(url))
        row[kind] = {"first": seconds(lambda a=address: fetch(a))}
        time.sleep(CACHE_SECONDS)
        row[kind]["refresh"] = seconds(lambda a=address: fetch(a))
        row[kind]["megabytes"] = len(fetch(address)) / 1e6
        if browser:
            time.sleep(CACHE_SECONDS)
            row[kind] |= browse(address, size)
    return row


def artifact_cost(folder: Path, trials: int = 100) -> dict[str, float]:
    """Milliseconds a trial for picture and table, and for a picture by matplotlib."""
    study = optuna.create_study(storage=open_storage(f"sqlite:///{folder / 'artifacts.db'}"))
    rng = np.random.default_rng(0)
    schedule = Schedule.coteaching(60, 0.45)
    curves = {f"curve {i}": rng.random(60) for i in range(6)} | {"label_precision": rng.random(60)}
    artifacts = TrialArtifacts(folder / "artifacts")
    asked = [study.ask() for _ in range(trials)]

    def attach() -> None:
        for start in range(0, trials, 4):  # stacks of four, as a worker has them
            best = best_so_far(study)
            with one_transaction(asked[start]):
                for trial in asked[start : start + 4]:
                    options = {"value": 0.2, "best": best, "noise_rate": 0.45}
                    artifacts.attach(trial, schedule, curves, **options)  # type: ignore[arg-type]

    def draw() -> None:
        save_figure(
            schedule_figure(schedule, coteaching=schedule, noise_rate=0.45), folder / "m.svg"
        )

    draw()  # imports
    return {
        "picture and table, uploaded": 1000 * seconds(attach) / trials,
        "a figure of matplotlib alone": 1000 * min(seconds(draw) for _ in range(3)),
    }


def write_page(rows: list[dict[str, Any]], costs: dict[str, float], note: str) -> None:
    lines = [
        "# The dashboard on large studies",
        "",
        "`python -m studies.bench_dashboard`. Seconds. *raw*: `optuna-dashboard URL`; *cached*:",
        "`s2e dashboard`, which reads through a cache, remembers what finished trials look like,",
        "and shows the learning curves of the best and the newest 100 trials only. The answer",
        "holds all trials of the study; *refresh* is the same answer again, after the dashboard's",
        "own cache has expired. Pages in Chromium, from the address to pictures and attributes.",
        "",
        "| trials | answer, MB | storage | first | refresh | study page | trial page |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for kind in ("raw", "cached"):
            cells = [
                _cell(row[kind][key]) if key in row[kind] else ""
                for key in ("first", "refresh", "study page", "trial page")
            ]
            lines.append(
                f"| {row['trials']:,} | {row[kind]['megabytes']:.1f} | {kind} | "
                f"{' | '.join(cells)} |"
            )
    lines += [
        "",
        "Reading a study with its generations and the recommended trial, writing its note and",
        "four pictures (once every 20 s at most, and at most a twentieth of the time):",
        "",
        "| trials | read, s | write, s | pictures, kB |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['trials']:,} | {row['read']:.2f} | {row['publish']:.2f} "
        f"| {row['plot_kilobytes']:.0f} |"
        for row in rows
    ]
    lines += ["", "Milliseconds a trial (60 epochs, 8 curves, SQLite, stacks of four):", ""]
    lines += [f"* {name}: {cost:.1f}" for name, cost in costs.items()]
    lines += ["", note, ""]
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _cell(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else f"not in {PATIENCE:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--no-browser", action="store_true")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", ExperimentalWarning)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        costs = artifact_cost(folder)
        rows = [
            measure(folder, size, not arguments.no_browser)
            for size in track(arguments.sizes, "sizes")
        ]
    RESULTS.mkdir(parents=True, exist_ok=True)
    settings = {
        "hardware": hardware(),
        "commit": commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "load": round(os.getloadavg()[2], 1),
    }
    content = {"settings": settings, "rows": rows, "milliseconds_a_trial": costs}
    text = json.dumps(content, indent=1).replace("Infinity", "null")
    (RESULTS / "results.json").write_text(text + "\n", encoding="utf-8")
    note = (
        f"Hardware and versions: {settings['hardware']}; commit {settings['commit']}; "
        f"{settings['date']}; load of the machine {settings['load']} on average; "
        f"{time.perf_counter() - started:.0f} s in all."
    )
    write_page(rows, costs, note)
    print(f"wrote {RESULTS / 'README.md'}")


if __name__ == "__main__":
    main()
