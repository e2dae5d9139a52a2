#!/usr/bin/env bash
# cleanlab==2.9.0, scikit-learn==1.9.1, pandas==3.1.1, numpy==2.4.6
# One would guess: where two annotators disagree and no model is there to ask, the tie goes to the
#   class that is commoner in the whole set, as a prior would have it.
# What happens: every tie goes to the rarer class, also where only one mistaken vote in a hundred
#   names it: the rare class is then several times as large as it should be.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    cleanlab==2.9.0 scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import numpy as np
from cleanlab.multiannotator import get_majority_vote_label

rng = np.random.default_rng(0)
truth = (np.arange(4000) < 80).astype(float)  # class 1: 2% of the rows
votes = np.stack([truth, truth], axis=1)
mistaken = rng.random(votes.shape) < 0.05
votes[mistaken] = 1 - votes[mistaken]
tied = votes[:, 0] != votes[:, 1]

consensus = get_majority_vote_label(votes, verbose=False)
assert np.array_equal(consensus[~tied], votes[~tied, 0])
assert tied.sum() > 300
assert (consensus[tied] == 1).all()
assert np.mean(truth[tied] == 1) < 0.05  # the other class was right in 95 ties of 100
assert (consensus == 1).sum() > 5 * (truth == 1).sum()
print("held: cleanlab's majority vote gives each tie to the rarer class")
PYTHON
