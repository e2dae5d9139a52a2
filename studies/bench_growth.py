"""Time and memory of one trial a worker, by the number of samples: vectors of 256 numbers.

    python -m studies.bench_growth

Searches of as many trials as workers, two epochs each, nothing after them, on arrays in an
``.npz`` file with ten classes and a validation part of 1,000. Memory is what all processes of a
search hold together, pages that several of them map counted once (PSS), at its peak; what a search
on 1,000 samples holds is taken off, and the rest stands in copies of the array. Times are those of
the trials, and of everything from the first to the last line. Writes
``studies/results/bench_growth/README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import optuna

from s2e_optuna.data.shared import LEAST
from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "bench_growth"

SIZES, WORKERS, SMALLEST = (10_000, 100_000, 1_000_000), (1, 2), 1_000
WIDTH, CLASSES, EPOCHS, VALIDATION = 256, 10, 2, 1_000
TICK = 0.2
"""Seconds between two looks at the memory."""


def write_arrays(place: Path, size: int) -> None:
    """Write samples of classes that overlap, a third of them with another label."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, WIDTH)).astype(np.float32)
    arrays = {}
    for part, number in (("train", size), ("val", VALIDATION)):
        labels = rng.integers(0, CLASSES, number)
        rows = rng.standard_normal((number, WIDTH), dtype=np.float32) * np.float32(4)
        for start in range(0, number, 10_000):
            rows[start : start + 10_000] += centres[labels[start : start + 10_000]]
        if part == "train":
            wrong = rng.random(number) < 1 / 3
            labels[wrong] = rng.integers(0, CLASSES, int(wrong.sum()))
        arrays |= {f"x_{part}": rows, f"y_{part}": labels}
    np.savez(place, allow_pickle=False, **arrays)


def memory(group: int) -> int:
    """Return the bytes that all processes of a group hold; shared pages count once."""
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            if os.getpgid(int(folder.name)) != group:
                continue
            lines = (folder / "smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def run(data: Path, workers: int, folder: Path) -> dict[str, float]:
    """Search; return seconds and the peak of the memory."""
    storage = f"sqlite:///{folder / 'study.db'}"
    words = [sys.executable, "-m", "s2e_optuna.cli", "search", str(data), "--study", "growth"]
    words += ["--storage", storage, "--out", str(folder / "out"), "--trials", str(workers)]
    words += ["--workers", str(workers), "--epochs", str(EPOCHS), "--seeds", "0"]
    words += ["--folds", "0", "--network", "mlp", "--device", "cpu", "--stack", "1", "-q"]
    started, peak = time.monotonic(), 0
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, start_new_session=True, stdout=log, stderr=log)
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(TICK)
    if process.returncode:
        raise SystemExit((folder / "log").read_text())
    study = optuna.load_study(study_name="growth", storage=storage)
    trials = [trial.duration.total_seconds() for trial in study.trials if trial.duration]
    return {
        "seconds": time.monotonic() - started,
        "trial": sum(trials) / len(trials),
        "peak": peak,
    }


def measured(size: int, workers: int) -> dict[str, float]:
    """Measure a search on so many samples."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "arrays.npz"
        write_arrays(data, size)
        return run(data, workers, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    sizes = parser.parse_args().sizes
    header = ["samples", "workers", "a trial, s", "per 10,000 samples, s", "whole search, s"]
    header += ["memory, MB", "copies of the array"]
    rows = []
    found = []
    for workers in WORKERS:
        least = measured(SMALLEST, workers)["peak"]
        for size in sizes:
            one = measured(size, workers)
            array = size * WIDTH * 4
            copies = (one["peak"] - least) / array
            found.append({"size": size, "workers": workers, "copies": copies, **one})
            is_large = array >= LEAST  # of a small array it is what else differs
            numbers = [f"{one['trial']:.1f}", f"{one['trial'] * 10_000 / size:.2f}"]
            numbers += [f"{one['seconds']:.1f}", f"{one['peak'] / 1e6:,.0f}"]
            numbers.append(f"{copies:.2f}" if is_large else "–")
            rows.append(f"| {' | '.join([f'{size:,}', str(workers), *numbers])} |")
            print(rows[-1], flush=True)
    page = [
        "# Growth: time and memory by the number of samples",
        "",
        f"`python -m studies.bench_growth`: a trial of {EPOCHS} epochs (Co-teaching, mlp) a "
        f"worker on float32 vectors of {WIDTH} numbers, {VALIDATION:,} to validate. Memory: all "
        "processes of a search together at the peak, shared pages once; copies: that less what "
        f"{SMALLEST:,} samples need, in sizes of the array of the training part, where that is "
        f"large enough to be shared ({LEAST / 1e6:.0f} MB).",
        "",
        f"| {' | '.join(header)} |",
        "|---|" + "---|" * (len(header) - 1),
        *rows,
        "",
        f"{hardware()}; commit {commit()}",
        "",
    ]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "README.md").write_text("\n".join(page), encoding="utf-8")
    (RESULTS / "found.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
