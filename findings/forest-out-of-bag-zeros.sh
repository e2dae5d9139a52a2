#!/usr/bin/env bash
# scikit-learn==1.9.1, scipy==1.17.1, numpy==2.4.6
# One would guess: a row that is in the sample of every tree has no out-of-bag probabilities, and
#   they are NaN, as the documentation has it; the out-of-bag score leaves the row out.
# What happens: they are zeros. The score counts the row as predicted to be of the first class, so
#   the score changes with the names of the classes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import warnings

import numpy as np
from sklearn.ensemble import RandomForestClassifier

warnings.simplefilter("ignore", UserWarning)  # of rows without out-of-bag trees
rng = np.random.default_rng(0)
table = rng.normal(size=(400, 3))
is_dog = table[:, 0] > 1


def out_of_bag(labels):
    forest = RandomForestClassifier(n_estimators=3, oob_score=True, random_state=0)
    forest.fit(table, labels)
    return forest.oob_decision_function_, forest.oob_score_


probabilities, score = out_of_bag(np.where(is_dog, "dog", "cat"))
never_out = probabilities.sum(axis=1) == 0
assert not np.isnan(probabilities).any()
assert 80 < never_out.sum() < 140  # (1 - 1/e) ** 3 of 400 rows is about 101
as_first_class = np.mean(probabilities.argmax(axis=1) == is_dog)
assert score == as_first_class

renamed, renamed_score = out_of_bag(np.where(is_dog, "dog", "zebra"))
assert np.array_equal(renamed[:, ::-1], probabilities)
assert renamed_score < score - 0.1
print("held: rows never out of bag get zeros and count as the first class")
PYTHON
