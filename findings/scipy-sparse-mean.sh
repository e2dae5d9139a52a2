#!/usr/bin/env bash
# scipy==1.17.1, numpy==2.4.6
# One would guess: mean(axis=0, dtype=numpy.float64) of a sparse float32 column is computed in
#   float64, as dtype is said to be the type to compute in.
# What happens: it is computed in float32, number by number, and the answer is then cast. Of three
#   million times 0.1 it is 0.0963 in float64, while the sum by the number of rows is 0.1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    scipy==1.17.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import numpy as np
import scipy.sparse as sp

rows = 3_000_000
column = sp.csc_array(np.full((rows, 1), 0.1, dtype=np.float32))

mean = column.mean(axis=0, dtype=np.float64)
assert mean.dtype == np.float64
assert 0.096 < mean[0] < 0.097
assert mean == column.mean(axis=0)

summed = column.sum(axis=0, dtype=np.float64) / rows
assert abs(summed[0] - 0.1) < 1e-6
assert abs(column.mean() - 0.1) < 1e-6
assert abs(column.astype(np.float64).mean(axis=0)[0] - 0.1) < 1e-6
print("held: a sparse mean in float64 is computed in float32")
PYTHON
