#!/usr/bin/env bash
# snorkel==0.10.0, torch==2.13.0, numpy==2.4.6, pandas==3.1.1
# One would guess: a labelling function that never voted has the weight of a guess, or none.
# What happens: LabelModel gives it the weight 1.0, above functions that voted six times in ten and
#   were right nine times in ten; so the first of a list by weight is the one that does nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    snorkel==0.10.0 torch==2.13.0 numpy==2.4.6 pandas==3.1.1
"$work/venv/bin/python" - "$work" <<'PYTHON'
import warnings

import numpy as np

warnings.simplefilter("ignore", RuntimeWarning)  # a division by its zero votes

from snorkel.labeling.model import LabelModel

rng = np.random.default_rng(0)
truth = rng.integers(0, 2, 2000)
votes = np.where(rng.random((2000, 5)) < 0.9, truth[:, None], 1 - truth[:, None])
votes[rng.random(votes.shape) > 0.6] = -1
silent = np.full((2000, 1), -1)

model = LabelModel(cardinality=2, verbose=False)
model.fit(np.hstack([votes, silent]), n_epochs=300, seed=0, progress_bar=False)
weights = model.get_weights()
assert (weights[:5] > 0.8).all() and (weights[:5] < 0.97).all(), weights
assert weights[5] == 1.0
print("held: snorkel gives a labelling function that never voted the greatest weight")
PYTHON
