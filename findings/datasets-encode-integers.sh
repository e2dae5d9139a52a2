#!/usr/bin/env bash
# datasets==5.2.0, pyarrow==26.0.1
# One would guess: class_encode_column leaves integer labels 0 to 11 as they are and adds names.
# What happens: the names are sorted as text, "0", "1", "10", "11", "2": ten of twelve labels get
#   another number, and predictions compared by number with the old labels are nearly all wrong.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 pyarrow==26.0.1
"$work/venv/bin/python" - "$work" <<'PYTHON'
import os
import sys

os.environ["HF_HOME"] = sys.argv[1]
os.environ["HF_HUB_OFFLINE"] = "1"

from datasets import Dataset, disable_progress_bars

disable_progress_bars()
labels = list(range(12))
encoded = Dataset.from_dict({"label": labels}).class_encode_column("label")

assert encoded.features["label"].names == sorted(map(str, labels))
assert encoded["label"][:] == [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3]
few = Dataset.from_dict({"label": labels[:10]}).class_encode_column("label")
assert few["label"][:] == labels[:10]  # up to ten classes nothing shows
print("held: class_encode_column renumbers integer labels from 2 on")
PYTHON
