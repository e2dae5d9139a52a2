#!/usr/bin/env bash
# scipy==1.17.1, numpy==2.4.6
# One would guess: argmax of a sparse row that holds a NaN points at the NaN, as NumPy has it, or
#   at the greatest number.
# What happens: it points at a zero that is not stored, and so is neither. max of the same row is
#   NaN.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    scipy==1.17.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import numpy as np
import scipy.sparse as sp

dense = np.array([[np.nan, 0.0, 1.0], [0.5, 0.0, 1.0]])
for row_format in (sp.csr_array, sp.csc_array, sp.coo_array):
    sparse = row_format(dense)
    assert sparse.argmax(axis=1).tolist() == [1, 2]
    assert np.isnan(sparse.max(axis=1).toarray()[0])
assert dense.argmax(axis=1).tolist() == [0, 2]
assert np.nanargmax(dense, axis=1).tolist() == [2, 2]
full = sp.csr_array(np.array([[np.nan, 0.25, 1.0]]))
assert full.argmax(axis=1).tolist() == [0]  # without a missing zero: as in NumPy
print("held: argmax of a sparse row with a NaN points at a zero")
PYTHON
