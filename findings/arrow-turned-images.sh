#!/usr/bin/env bash
# pyarrow==26.0.1, numpy==2.4.6
# One would guess: what FixedShapeTensorArray.from_numpy_ndarray takes comes back the same, as a
#   whole and image by image, since the type records the order of the axes.
# What happens: with height and width swapped (a view) the whole comes back right, but one image
#   by itself is scrambled, in the right shape. A channels-first view of channels-last images is
#   taken too, and then cannot be read back at all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pyarrow==26.0.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import numpy as np
import pyarrow as pa

images = np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3)  # two images, 4 x 5 pixels, 3 channels

turned = images.transpose(0, 2, 1, 3)
stored = pa.FixedShapeTensorArray.from_numpy_ndarray(turned)
assert np.array_equal(stored.to_numpy_ndarray(), turned)
one = stored[0].to_numpy()
assert one.shape == turned[0].shape
assert np.mean(one == turned[0]) == 0.25

channels_first = images.transpose(0, 3, 1, 2)
stored = pa.FixedShapeTensorArray.from_numpy_ndarray(channels_first)
try:
    stored.to_numpy_ndarray()
except pa.ArrowInvalid:
    pass
else:
    raise AssertionError("channels-first images can be read back")

copied = np.ascontiguousarray(channels_first)
stored = pa.FixedShapeTensorArray.from_numpy_ndarray(copied)
assert np.array_equal(stored[1].to_numpy(), channels_first[1])
print("held: Arrow tensors made from a transposed view are scrambled image by image")
PYTHON
