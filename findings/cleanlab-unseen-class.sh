#!/usr/bin/env bash
# cleanlab==2.9.0, scikit-learn==1.9.1, numpy==2.4.6
# One would guess: rows that the model surely gives to a class which no label names are the first
#   to be flagged as label errors.
# What happens: without labels the class has no threshold that a row could pass. Confident learning
#   flags none of a hundred such rows, the default one in ten, while both find all other errors.
#   The score of quality is as low for the rows as for those errors.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    cleanlab==2.9.0 scikit-learn==1.9.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import warnings

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

warnings.simplefilter("ignore", UserWarning)  # of too few labels in class 2
rng = np.random.default_rng(0)
truth = np.repeat([0, 1, 2], [1000, 1000, 100])
sure = np.full((2100, 3), 0.01)
sure[np.arange(2100), truth] = 0.98
unseen = truth == 2
labels = truth.copy()
labels[unseen] = rng.integers(0, 2, 100)  # no label says 2
swapped = rng.choice(2000, 200, replace=False)
labels[swapped] = 1 - labels[swapped]

flagged = find_label_issues(labels, sure, filter_by="confident_learning")
assert flagged[swapped].all()
assert flagged[unseen].sum() == 0

flagged = find_label_issues(labels, sure)
assert flagged[swapped].all()
assert flagged[unseen].sum() == 10

scores = get_label_quality_scores(labels, sure)
assert np.allclose(scores[unseen], 0.01)
print("held: cleanlab hardly flags rows of a class that no label names")
PYTHON
