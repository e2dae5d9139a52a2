"""Measure the dashboard on a large study, what each of its layers is worth, and its pictures.

    python -m studies.bench_dashboard
    python -m studies.bench_dashboard --sizes 100 1000 --no-browser

A SQLite file is filled with made-up trials of an S2E search (as in `studies.bench_overhead`). Then
optuna-dashboard serves it in five ways (`KINDS`), from ``optuna-dashboard URL`` to ``s2e
dashboard``, each in a process of its own. Measured are the answer with all trials (first, and
again when the dashboard's own ten seconds are over), and in Chromium the time from the address to
the pictures of the study's page and to a trial's attributes. Besides: seconds for the study's
note and four pictures, milliseconds for a trial's two artifacts, and what its picture would cost
with matplotlib, alone and in a search. Results go to ``studies/results/bench_dashboard/``:
README.md, results.json.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import multiprocessing
import os
import queue
import socket
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning
from optuna_dashboard import wsgi
from rich.progress import track

from s2e_optuna import CoTeachingObjective, S2ESampler, Schedule, open_storage
from s2e_optuna.listening import listen
from s2e_optuna.objective import artifacts as attaching
from s2e_optuna.objective.artifacts import TrialArtifacts, best_so_far, trial_picture
from s2e_optuna.reporting.view import read_study
from s2e_optuna.schedules import trial_schedule
from s2e_optuna.storages.cached import batch_of
from s2e_optuna.web.dashboard import publish, study_plots
from s2e_optuna.web.remembered import Remembered
from s2e_optuna.web.shown import as_shown
from studies.bench_overhead import fill
from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "bench_dashboard"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 120.0  # seconds after which a page counts as one that does not open
CACHE_SECONDS = 10.5  # for so long the dashboard answers from its own memory
NAME = "made-up"


def served_in_thread(app: Any) -> str:
    """Serve an application; return its address. It ends with the program."""
    address: queue.Queue[str] = queue.Queue()
    options = {"host": "127.0.0.1", "port": 0, "on_ready": address.put}
    threading.Thread(target=listen, args=(app,), kwargs=options, daemon=True).start()
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


KINDS: dict[str, tuple[str, Callable[[str], str]]] = {
    "stock": ("`optuna-dashboard URL`", stock_in_thread),
    "cached": (
        "`open_storage`, which keeps what it has read",
        lambda url: served_in_thread(wsgi(open_storage(url))),
    ),
    "few curves": (
        "and curves of 200 trials only (`web.shown`)",
        lambda url: served_in_thread(wsgi(as_shown(open_storage(url)))),
    ),
    "remembered": (
        "or all curves, but answers remembered (`web.remembered`)",
        lambda url: served_in_thread(Remembered(wsgi(open_storage(url)))),
    ),
    "s2e": (
        "both: `s2e dashboard`",
        lambda url: served_in_thread(Remembered(wsgi(as_shown(open_storage(url))))),
    ),
}
"""Name to words, and what serves the storage at a URL and returns its address."""


def seconds(call: Callable[[], object]) -> float:
    """Measure how long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def alone(call: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(call, *arguments).result()


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
    for kind in KINDS:
        row[kind] = alone(measure_kind, kind, url, size, browser, CACHE_SECONDS)
    return row


def measure_kind(kind: str, url: str, size: int, browser: bool, pause: float) -> dict[str, float]:
    """Measure one way of serving a study; ``pause`` outlasts the dashboard's own memory."""
    address = KINDS[kind][1](url)
    found = {"first": seconds(lambda: fetch(address))}
    time.sleep(pause)
    found["refresh"] = seconds(lambda: fetch(address))
    found["megabytes"] = len(fetch(address)) / 1e6
    if browser:
        time.sleep(pause)
        found |= browse(address, size)
    return found


def artifact_cost(folder: Path, trials: int = 100) -> dict[str, float]:
    """Milliseconds a trial for its artifacts, and for the picture in two ways."""
    study = optuna.create_study(storage=open_storage(f"sqlite:///{folder / 'artifacts.db'}"))
    rng = np.random.default_rng(0)
    schedule = Schedule.coteaching(60, 0.45)
    curves = {f"curve {i}": rng.random(60) for i in range(6)} | {"label_precision": rng.random(60)}
    artifacts = TrialArtifacts(folder / "artifacts")
    asked = [study.ask() for _ in range(trials)]

    def attach() -> None:
        for start in range(0, trials, 4):  # stacks of four, as a worker has them
            best = best_so_far(study)
            with batch_of(asked[start]):
                for trial in asked[start : start + 4]:
                    options = {"value": 0.2, "best": best, "noise_rate": 0.45}
                    artifacts.attach(trial, schedule, curves, **options)  # type: ignore[arg-type]

    def draw(picture: Callable[..., str]) -> float:
        picture(0, schedule, curves, noise_rate=0.45)  # imports
        several = seconds(
            lambda: [picture(i, schedule, curves, noise_rate=0.45) for i in range(9)]
        )
        return 1000 * several / 9

    return {
        "picture and table, uploaded": 1000 * seconds(attach) / trials,
        "the picture alone": draw(trial_picture),
        "the same by matplotlib, one figure reused": draw(MatplotlibPicture()),
    }


class MatplotlibPicture:
    """What `trial_picture` draws, by matplotlib: as SVG, in one figure that is used again."""

    def __init__(self) -> None:
        self._figure: Any = None

    def __call__(
        self,
        number: int,
        schedule: Schedule,
        curves: Mapping[str, NDArray[np.float64]],
        **options: Any,
    ) -> str:
        """Draw one trial."""
        from matplotlib.figure import Figure

        if self._figure is None:
            self._figure = Figure(figsize=(4.4, 4.0))
            self._figure.subplots()
        (ax,) = self._figure.axes
        ax.clear()
        lines = {
            "R(t) of this trial": schedule.rates,
            "label precision": curves["label_precision"],
        }
        best, rate = options.get("best"), options.get("noise_rate")
        if best is not None and (found := trial_schedule(best)) is not None:
            lines["best so far"] = found.rates
        if rate is not None:
            lines["Co-teaching"] = Schedule.coteaching(schedule.epochs, rate).rates
        for name, line in lines.items():
            ax.plot(line, label=name)
        ax.set(ylim=(0, 1.03), xlabel="epoch t", ylabel="kept share R(t)", title=f"Trial {number}")
        ax.grid(alpha=0.25)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)
        stream = io.StringIO()
        self._figure.savefig(stream, format="svg", metadata={"Date": None})
        return stream.getvalue()


def search_cost(folder: Path, epochs: int, matplotlib: bool) -> float:
    """Processor seconds of 8 trials on the digits, with the picture drawn in one of two ways."""
    torch.set_num_threads(1)
    if matplotlib:
        attaching.trial_picture = MatplotlibPicture()  # type: ignore[assignment]
    storage = open_storage(f"sqlite:///{folder / f'{epochs}-{matplotlib}.db'}")
    study = optuna.create_study(
        storage=storage, sampler=S2ESampler(seed=0), pruner=optuna.pruners.NopPruner()
    )
    options = {"noise": "symmetric", "noise_rate": 0.5, "epochs": epochs, "device": "cpu"}
    objective = CoTeachingObjective("digits", artifacts=folder / "pictures", **options)
    assert objective.data is not None  # read before the clock starts
    started = time.process_time()
    for _ in range(2):
        trials = [study.ask() for _ in range(4)]
        for trial, outcome in zip(trials, objective.evaluate(trials), strict=True):
            study.tell(trial, outcome.value, state=outcome.state)
    return time.process_time() - started


def search_costs(folder: Path, epochs: Sequence[int], repeats: int) -> dict[str, dict[str, float]]:
    """Compare searches with either picture: processor seconds, the least of several, in turn."""
    found: dict[str, dict[str, float]] = {}
    for length in epochs:
        seen: dict[str, list[float]] = {"own": [], "matplotlib": []}
        for repeat in range(repeats):
            for kind, times in seen.items():
                place = folder / f"search-{repeat}"
                place.mkdir(exist_ok=True)
                times.append(alone(search_cost, place, length, kind == "matplotlib"))
        found[str(length)] = {kind: min(times) for kind, times in seen.items()}
    return found


def write_page(content: dict[str, Any], note: str) -> None:
    rows = content["rows"]
    lines = [
        "# The dashboard on large studies",
        "",
        "`python -m studies.bench_dashboard`. Seconds. The answer holds all trials of the",
        "study; *refresh* is the same answer again, after the dashboard's own cache has expired.",
        "Pages in Chromium, from the address to pictures and attributes. The ways to serve it:",
        "",
        *(f"- *{kind}*: {words}" for kind, (words, _) in KINDS.items()),
        "",
        "| trials | served | answer, MB | first | refresh | study page | trial page |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for kind in KINDS:
            cells = [
                _cell(row[kind][key]) if key in row[kind] else ""
                for key in ("first", "refresh", "study page", "trial page")
            ]
            lines.append(
                f"| {row['trials']:,} | {kind} | {row[kind]['megabytes']:.1f} | "
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
    lines += [f"* {name}: {cost:.1f}" for name, cost in content["milliseconds_a_trial"].items()]
    lines += [
        "",
        "Processor seconds of 8 trials on the digits, two stacks of four, in one process, the",
        "trial's picture drawn by `objective.picture` or by matplotlib (imported once):",
        "",
        "| epochs | own | matplotlib | more |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {epochs} | {cost['own']:.2f} | {cost['matplotlib']:.2f} "
        f"| {cost['matplotlib'] / cost['own'] - 1:+.0%} |"
        for epochs, cost in content["search_seconds"].items()
    ]
    lines += ["", note, ""]
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _cell(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else f"not in {PATIENCE:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 60])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", ExperimentalWarning)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        costs = artifact_cost(folder)
        searches = search_costs(folder, arguments.epochs, arguments.repeats)
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
    content = {
        "settings": settings,
        "rows": rows,
        "milliseconds_a_trial": costs,
        "search_seconds": searches,
    }
    text = json.dumps(content, indent=1).replace("Infinity", "null")
    (RESULTS / "results.json").write_text(text + "\n", encoding="utf-8")
    note = (
        f"Hardware and versions: {settings['hardware']}; commit {settings['commit']}; "
        f"{settings['date']}; load of the machine {settings['load']} on average; "
        f"{time.perf_counter() - started:.0f} s in all."
    )
    write_page(content, note)
    print(f"wrote {RESULTS / 'README.md'}")


if __name__ == "__main__":
    main()
