#!/usr/bin/env bash
# optuna==5.0.0, torch==2.13.0, scipy==1.17.1, numpy==2.4.6
# One would guess: trials that are asked for side by side differ, on a grid as with free numbers,
#   since GPSampler takes running trials into account and most of the grid has not been tried.
# What happens: with free numbers eight asks give eight points. On a grid of 81 points, three of
#   four not tried, most of the eight are one point, the best, and that is measured already.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    optuna==5.0.0 torch==2.13.0 scipy==1.17.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import warnings

import optuna
from optuna.distributions import FloatDistribution

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def stack_of_eight(step, seed):
    """The points of eight asks after twenty trials, and the best point of those."""
    number = FloatDistribution(0, 1, step=step)
    space = {"x": number, "y": number}
    study = optuna.create_study(sampler=optuna.samplers.GPSampler(seed=seed))
    for _ in range(20):
        trial = study.ask(space)
        study.tell(trial, (trial.params["x"] - 0.25) ** 2 + (trial.params["y"] - 0.5) ** 2)
    asked = [study.ask(space) for _ in range(8)]
    return [(trial.params["x"], trial.params["y"]) for trial in asked], study.best_params


repeats = 0
for seed in range(2):
    free, _ = stack_of_eight(None, seed)
    assert len(set(free)) == 8, free
    grid, best = stack_of_eight(0.125, seed)
    assert best == {"x": 0.25, "y": 0.5}
    repeats += grid.count((0.25, 0.5))
assert repeats > 8, repeats  # of 16
print("held: on a grid GPSampler gives a stack of trials the best point again and again")
PYTHON
