#!/usr/bin/env bash
# threadpoolctl==3.8.0, numpy==2.4.6, scipy==1.17.1
# One would guess: inside `with threadpool_limits(1)` linear algebra keeps to one thread; NumPy's
#   OpenBLAS is loaded and limited, and SciPy does linear algebra, too.
# What happens: the wheels of NumPy and SciPy each bring their own OpenBLAS, and the limit holds for
#   what is loaded when the block begins. A SciPy that is imported inside (by a library that imports
#   it late, as many do) keeps all threads, in this block and without a word, while NumPy has one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    threadpoolctl==3.8.0 numpy==2.4.6 scipy==1.17.1
for name in OPENBLAS_NUM_THREADS OMP_NUM_THREADS GOTO_NUM_THREADS; do unset "$name"; done
OPENBLAS_NUM_THREADS=2 "$work/venv/bin/python" - <<'PYTHON'
import importlib
from pathlib import Path

import numpy  # noqa: F401 - loads its OpenBLAS
from threadpoolctl import threadpool_info, threadpool_limits


def threads():
    """Threads of OpenBLAS by the package that brought it."""
    found = {}
    for library in threadpool_info():
        if library["internal_api"] == "openblas":
            found[Path(library["filepath"]).parent.name.partition(".")[0]] = library["num_threads"]
    return found


assert threads() == {"numpy": 2}, threads()
with threadpool_limits(1):
    assert threads() == {"numpy": 1}, threads()
    importlib.import_module("scipy.linalg")
    assert threads() == {"numpy": 1, "scipy": 2}, threads()
with threadpool_limits(1):  # a second block knows both
    assert threads() == {"numpy": 1, "scipy": 1}, threads()
print("held: a limit of threads does not hold for a SciPy that is imported under it")
PYTHON
