"""A whole search beside the same one by an earlier version: time, and the error it ends with.

    git worktree add ../earlier COMMIT
    python -m studies.bench_earlier --earlier ../earlier --data data/cifar_features.npz

Both are commands of their own, in turn, in empty folders with empty caches, from the first import
to the last file. Where other programs run beside them, processor seconds say more than seconds.
``--data`` is a file of pretrained features with the labels that people gave, as
`studies.bench_cleanlab` takes it; those of ``--labels`` are searched on. Results go to
``studies/results/bench_earlier/``: LABELS.json, and README.md of all of these.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from studies.pages import Table, write_text
from studies.settings import RESULTS, commit, hardware

_SET_CHILD_SUBREAPER = 36
"""Of Linux, see prctl(2)."""

FOLDER = RESULTS / "bench_earlier"
JOB = "search vectors.npz --trials 24 --workers 2 --seeds 0"
"""The schedules alone: what follows a search is not the same in both versions."""


def write_arrays(features: Path, labels: str, target: Path) -> list[int]:
    """Write what both search on; return the shape of the training part."""
    with np.load(features, allow_pickle=False) as file:
        names = ("x_train", "x_val", "y_val", "x_test", "y_test")
        arrays = {name: file[name] for name in names}
        arrays |= {"y_train": file[f"y_{labels}"], "y_clean": file["y_clean"]}
    np.savez(target, allow_pickle=False, **arrays)
    return list(arrays["x_train"].shape)


def run(code: Path, arrays: Path, job: str) -> dict[str, Any]:
    """Search by the code in a folder; return what it took and found."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / arrays.name).symlink_to(arrays)
        words = [sys.executable, "-m", "s2e_optuna.cli", *job.split(), "--json", "--quiet"]
        home = {"XDG_CACHE_HOME": str(Path(place) / "cache"), "PYTHONPATH": str(code)}
        before, started = _processor_seconds(), time.monotonic()
        done = subprocess.run(
            words, cwd=place, env={**os.environ, **home}, check=True, stdout=subprocess.PIPE
        )
        seconds = time.monotonic() - started
        _wait_for_the_rest()
    found = json.loads(done.stdout)
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(_processor_seconds() - before, 1),
        "trials": found["n_trials"],
        "error": found["best_value"],
        "commit": commit(code),
    }


def _adopt() -> None:
    """Let processes that lose their parent become children of this one, to be counted, too."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wait_for_the_rest() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_page() -> None:
    """Set all that has been measured side by side."""
    header = ["labels", "version", "seconds", "processor seconds", "lowest validation error"]
    rows, notes = [], []
    for path in sorted(FOLDER.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        earlier, now = found["earlier"], found["now"]
        for name, one in (("earlier", earlier), ("now", now)):
            cells = [f"{one['seconds']:.1f}", f"{one['processor_seconds']:.1f}"]
            rows.append([path.stem, f"{name}, {one['commit']}", *cells, f"{one['error']:.4f}"])
        shares = [f"{now[key] / earlier[key]:.2f}" for key in ("seconds", "processor_seconds")]
        rows.append([path.stem, "share", *shares, f"{now['error'] - earlier['error']:+.4f}"])
        size = " x ".join(f"{number:,}" for number in found["shape"])
        notes.append(
            f"* {path.stem}: {size} numbers; load average {found['load']:.1f} at the end; "
            f"{found['hardware']}"
        )
    lines = [
        "# A search beside the same one by an earlier version",
        "",
        f"`python -m studies.bench_earlier`: `s2e {JOB}`",
        "on features of CIFAR-10N, each a command of its own in an empty folder, one after the",
        "other. An earlier trial's error is that of its last epochs; now a training is stopped at",
        "its best validation epoch, the losers leave early, and wide vectors are reduced.",
        "",
        *Table(header, rows).markdown(),
        "",
        *notes,
        "",
    ]
    write_text(FOLDER / "README.md", "\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--earlier", type=Path, required=True, help="folder with its code")
    parser.add_argument("--data", type=Path, required=True, help="features, an .npz file")
    parser.add_argument("--labels", default="worst", help="aggregate, random1 or worst [worst]")
    arguments = parser.parse_args()
    here = Path(__file__).resolve().parents[1]
    _adopt()
    with tempfile.TemporaryDirectory() as place:
        arrays = Path(place) / "vectors.npz"
        shape = write_arrays(arguments.data, arguments.labels, arrays)
        now = run(here, arrays, JOB)
        earlier = run(arguments.earlier.resolve(), arrays, JOB)
    content = {
        "job": JOB,
        "shape": shape,
        "now": now,
        "earlier": earlier,
        "load": os.getloadavg()[0],
        "hardware": hardware(),
    }
    write_text(FOLDER / f"{arguments.labels}.json", json.dumps(content, indent=1) + "\n")
    write_page()


if __name__ == "__main__":
    main()
