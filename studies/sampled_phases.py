"""Notes what a Python process and all that are forked from it do, a hundred times a second.

`studies.profile_job` has each process of a job import this before anything else. A thread looks
at the main thread's stack and writes a line: the clock that all processes share, processor
seconds of this process so far, its name, the job and the phase. Nothing of the package knows of
it. Imports nothing that a bare interpreter has not imported already, but for ``threading``.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from types import FrameType

FOLDER = "S2E_PROFILE_FOLDER"
EVERY = 0.01
"""Seconds between two looks."""

PHASES = (
    ("importlib._bootstrap", "", "imports"),
    ("search/preloaded.py", "", "imports"),
    ("training/evaluation.py", "evaluate", "evaluation"),
    ("training/shards.py", "_run", "steps"),
    ("training/trainer.py", "", "training, other"),
    ("objective/picture.py", "", "pictures"),
    ("s2e_optuna/sampler/", "", "sampler"),
    ("s2e_optuna/relaxation/", "", "sampler"),
    ("optuna/storages/", "", "storage"),
    ("s2e_optuna/storages/", "", "storage"),
    ("labels/linear.py", "", "logistic regression"),
    ("s2e_optuna/labels/", "", "judging labels"),
    ("s2e_optuna/data/", "", "data"),
    ("s2e_optuna/reporting/", "", "report"),
    ("multiprocessing/connection.py", "", "waiting"),
    ("search/loop.py", "work", "waiting"),
    ("multiprocessing/", "", "waiting"),
)
"""Part of a file's name, function (any where empty), phase: the innermost frame that fits counts.

The order decides where two fit one frame.
"""

JOBS = (
    ("search/loop.py", "work", "trials"),
    ("training/comparison.py", "__call__", "comparison"),
    ("labels/out_of_fold.py", "__call__", "cross-validation"),
    ("search/posterior.py", "__call__", "posterior"),
    ("multiprocessing/resource_tracker.py", "main", "resource tracker"),
)
"""Likewise for the jobs of which phases are parts."""


def place(frame: FrameType | None, table: tuple[tuple[str, str, str], ...], default: str) -> str:
    """Return what the innermost frame stands for that is in a table."""
    while frame is not None:
        code = frame.f_code
        for file, function, found in table:
            if file in code.co_filename and function in ("", code.co_name):
                return found
        frame = frame.f_back
    return default


def _watch(main: int, folder: str) -> None:
    path = os.path.join(folder, f"{os.getpid()}.tsv")
    with open(path, "a", buffering=1, encoding="utf-8") as file:
        while True:
            frame = sys._current_frames().get(main)
            # It may be in the middle of being imported.
            process = getattr(sys.modules.get("multiprocessing.process"), "_current_process", None)
            name = getattr(process, "name", "MainProcess")
            job, phase = place(frame, JOBS, ""), place(frame, PHASES, "other")
            print(time.monotonic(), time.process_time(), name, job, phase, sep="\t", file=file)
            del frame
            time.sleep(EVERY)


def start() -> None:
    """Watch this process, and those that are forked from it, from now on."""
    # Not one that `threading` knows: a search forks early only where there is no other thread.
    _thread.start_new_thread(_watch, (threading.main_thread().ident, os.environ[FOLDER]))


def install() -> None:
    """Watch this process if a folder to write to is named."""
    if FOLDER in os.environ:
        start()
        os.register_at_fork(after_in_child=start)
