"""Measure the page of a review on a long list: first card, next cards, memory of its server.

    python -m studies.bench_review
    python -m studies.bench_review --samples 1000

A list of 100,000 made-up suspects, about as many images of 28 x 28 pixels in an ``.npz`` file, is
served by ``s2e review`` in a process of its own. Measured are the seconds from the start of the
command to the whole first card, and until pictures and similar samples are there, too; the
milliseconds from a decision to the whole next card in each order, and to its picture and similar
samples; and the largest memory of the server, without the process that prepares pictures. Writes
``studies/results/bench_review/README.md``.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np

from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "bench_review"
CLASSES, SIDE = 10, 28
ORDERS = ("probability", "teaching", "random")


def make(folder: Path, samples: int) -> Path:
    """Write images and a list of all of them; return the list."""
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=samples)
    shapes = rng.integers(0, 256, (CLASSES, SIDE, SIDE))
    images = (shapes[labels] + rng.integers(0, 64, (samples, SIDE, SIDE))) // 2
    np.savez(folder / "images.npz", x_train=images.astype(np.uint8), y_train=labels)
    scores = np.sort(rng.uniform(0.05, 0.999, samples))[::-1]
    listed = np.where(scores > 0.2, "yes", "no")
    rows = [
        f"{i},{labels[i]},{(labels[i] + 1) % CLASSES},{scores[i]:.6f},{listed[i]}"
        for i in range(samples)
    ]
    path = folder / "suspects.csv"
    header = "id,given_label,predicted_label,wrong_probability,suspicious"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def fetch(address: str, **form: object) -> str:
    """Ask for a page as a browser does, and read it whole."""
    body = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(address, body, timeout=600) as answer:
        return str(answer.read().decode("latin-1"))


def number_in(text: str, pattern: str) -> int:
    """Return the number that a pattern finds."""
    found = re.search(pattern, text)
    assert found is not None
    return int(found[1])


def memory(pid: int) -> float:
    """Return the largest resident memory of a process so far, in MB."""
    return number_in(Path(f"/proc/{pid}/status").read_text(), r"VmHWM:\s+(\d+)") / 1024


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def next_cards(address: str, order: str, repeats: int) -> dict[str, list[float]]:
    """Decide about cards; return milliseconds of each decision with the next card."""
    found: dict[str, list[float]] = {"card": [], "picture": [], "similar": []}
    page = fetch(f"{address}?c=me&order={order}")
    for _ in range(repeats):
        card, seen = (number_in(page, rf'name="{n}" value="(\d+)"') for n in ("card", "seen"))
        started = time.perf_counter()
        page = fetch(f"{address}decide", c="me", order=order, card=card, label=0, seen=seen)
        found["card"].append(1000 * (time.perf_counter() - started))
        row = number_in(page, r'name="card" value="(\d+)"')
        for name in ("picture", "similar"):
            started = time.perf_counter()
            fetch(f"{address}{name}/{row}")
            found[name].append(1000 * (time.perf_counter() - started))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=50, help="decisions in each order")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        path = make(Path(place), arguments.samples)
        words = ["review", str(path), "--data", str(path.with_name("images.npz"))]
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "s2e_optuna.cli", *words, "--validation", "noisy"],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr is not None
            address = next(w for w in process.stderr.readline().split() if w.startswith("http"))
            listening = time.perf_counter() - started
            fetch(f"{address}?c=me")
            first, worked = time.perf_counter() - started, cpu_seconds(process.pid)
            fetch(f"{address}picture/0")
            pictures = time.perf_counter() - started
            fetch(f"{address}similar/0")
            similar = time.perf_counter() - started
            times = {order: next_cards(address, order, arguments.repeats) for order in ORDERS}
            most = memory(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()
    rows = [
        f"| {order} | "
        + " | ".join(f"{np.median(ms):.0f} ({max(ms):.0f})" for ms in times[order].values())
        + " |"
        for order in ORDERS
    ]
    page = [
        "# A review of a long list",
        "",
        f"`python -m studies.bench_review`: {arguments.samples:,} suspects with images of "
        f"{SIDE} x {SIDE} pixels, all on one list.",
        "",
        "| from the start of the command to | seconds |",
        "|---|---|",
        f"| the address | {listening:.2f} |",
        f"| the whole first card | {first:.2f} (processor time {worked:.2f}) |",
        f"| its picture | {pictures:.1f} |",
        f"| its similar samples | {similar:.1f} |",
        "",
        f"Largest memory of the server: {most:.0f} MB.",
        "",
        "From a decision, which is on the disk then, to the whole next card, and from there to "
        f"its picture and similar samples, in ms: median (largest) of {arguments.repeats}.",
        "",
        "| order | next card | picture | similar samples |",
        "|---|---|---|---|",
        *rows,
        "",
        f"{hardware()}; load average {load:.0f} before, priority {os.nice(0)}; commit {commit()}",
        "",
    ]
    print("\n".join(page))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "README.md").write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
