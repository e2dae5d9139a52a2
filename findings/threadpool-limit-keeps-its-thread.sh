#!/usr/bin/env bash
# threadpoolctl==3.8.0, numpy==2.4.6
# One would guess: a limit that has been taken back with restore_original_limits() is gone, and the
#   next thread that sets one gets it.
# What happens: OpenBLAS goes on belonging to the thread that set the first limit, as long as that
#   thread lives. Limits of all others do nothing, without a word; only the end of a `with` block
#   releases it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    threadpoolctl==3.8.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PYTHON'
import threading

import numpy  # noqa: F401  (brings OpenBLAS)
from threadpoolctl import ThreadpoolController

controller = ThreadpoolController()


def threads():
    return {lib["num_threads"] for lib in controller.info() if lib["internal_api"] == "openblas"}


def in_other_thread(action):
    other = threading.Thread(target=action)
    other.start()
    return other


usual = threads()
taken, done = threading.Event(), threading.Event()


def set_and_take_back(limiter_of):
    limiter_of()
    taken.set()
    done.wait()


def by_hand():
    limiter = controller.limit(limits=3)
    limiter.restore_original_limits()


def by_block():
    with controller.limit(limits=3):
        pass


for action, ignored in ((by_hand, True), (by_block, False)):
    taken.clear()
    done.clear()
    other = in_other_thread(lambda: set_and_take_back(action))
    taken.wait()
    assert threads() == usual
    with controller.limit(limits=2):
        assert threads() == (usual if ignored else {2}), (action, threads())
    done.set()
    other.join()
print("held: OpenBLAS obeys the thread that set the first limit, also after it was taken back")
PYTHON
