#!/usr/bin/env bash
# safetensors==0.8.0, pandas==3.1.1, numpy==2.4.6
# One would guess: an array that is contiguous, in whichever order, comes back from safetensors as
#   it was saved, or the save is refused as it is for a tensor of torch.
# What happens: the bytes are taken as they lie. df.to_numpy() of a frame made from an array, and a
#   transposed array, lie column by column: they come back in the same shape with numbers moved
#   to other rows. No warning is given.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    safetensors==0.8.0 pandas==3.1.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import numpy as np
import pandas as pd
from safetensors.numpy import load, save

columns = {"height": [1.0, 2.0, 3.0], "width": [10.0, 20.0, 30.0]}
features = pd.DataFrame(columns).to_numpy()
assert features.tolist() == [[1, 10], [2, 20], [3, 30]]
assert features.flags.f_contiguous

back = load(save({"features": features}))["features"]
assert back.shape == features.shape
assert back.tolist() == [[1, 2], [3, 10], [20, 30]]

back = load(save({"features": np.ascontiguousarray(features)}))["features"]
assert np.array_equal(back, features)
print("held: safetensors moves the numbers of a data frame's array to other rows")
PYTHON
