#!/usr/bin/env bash
# optuna==5.0.0, scikit-learn==1.9.1, SQLAlchemy==2.1.9, numpy==2.4.6
# One would guess: a stored trial gives back the choice that the objective was given; 1 and 1.0
#   are two choices of max_features in scikit-learn (one column, all columns).
# What happens: choices are found again by equality, so in memory and in a database every 1.0
#   becomes 1 once the trial is read. The tree made from best_params is not the one measured.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    optuna==5.0.0 scikit-learn==1.9.1 SQLAlchemy==2.1.9 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import sys

import numpy as np
import optuna
from sklearn.tree import DecisionTreeClassifier

optuna.logging.set_verbosity(optuna.logging.ERROR)
rng = np.random.default_rng(0)
table = rng.normal(size=(400, 20))
labels = (table[:, 0] > 0).astype(int)


def accuracy(max_features):
    tree = DecisionTreeClassifier(max_features=max_features, max_depth=1, random_state=0)
    return tree.fit(table[:200], labels[:200]).score(table[200:], labels[200:])


for storage in (None, f"sqlite:///{sys.argv[1]}/study.db"):
    given = []

    def objective(trial):
        given.append(trial.suggest_categorical("max_features", [1, 1.0]))
        return accuracy(given[-1])

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler, direction="maximize")
    study.optimize(objective, n_trials=10)
    assert {type(choice) for choice in given} == {int, float}
    assert all(type(trial.params["max_features"]) is int for trial in study.trials)
    assert study.best_value > 0.95 > 0.75 > accuracy(**study.best_params)
print("held: of the choices 1 and 1.0 a study remembers only 1")
PYTHON
