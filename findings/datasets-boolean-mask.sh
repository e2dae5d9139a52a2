#!/usr/bin/env bash
# datasets==5.2.0, pyarrow==26.0.1, numpy==2.4.6
# One would guess: selecting with a mask of booleans, as NumPy and pandas take it, keeps the rows
#   that are True, or raises.
# What happens: True and False are taken for the row numbers 1 and 0. The result has as many rows
#   as before, all copies of the first two. A list of the same booleans raises.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 pyarrow==26.0.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import os
import sys

os.environ["HF_HOME"] = sys.argv[1]
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from datasets import Dataset

data = Dataset.from_dict({"label": [7, 3, 8, 8, 5]})
clean = np.array([True, False, True, True, False])

assert data.select(clean)["label"][:] == [3, 7, 3, 3, 7]
assert data[clean]["label"] == [3, 7, 3, 3, 7]
try:
    data.select(clean.tolist())
except TypeError:
    pass
else:
    raise AssertionError("a list of booleans is selected by")
assert data.select(np.flatnonzero(clean))["label"][:] == [7, 8, 8]
print("held: datasets takes a mask for the row numbers 0 and 1")
PYTHON
