"""Measure S2ESampler where there is no schedule: what any Optuna user has of it.

    python -m studies.bench_general
    python -m studies.bench_general --problems rosenbrock-5 mixed --samplers s2e tpe --seeds 20

The problems are well-known test functions and spaces with integers, choices, weights on a simplex
and conditional parts; none of them was used to choose anything. Each value is the best so far,
minus the optimum. Results go to ``studies/results/bench_general/``; runs that are in the CSV files
already are not repeated.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from scipy.optimize import rosen

from s2e_optuna import suggest_simplex
from studies.search_runs import (
    CHECKPOINTS,
    SAMPLERS,
    Runs,
    complete,
    draw,
    note_origin,
    read_origins,
    read_runs,
    table,
)

RESULTS = Path(__file__).parent / "results" / "bench_general"
CONTENDERS = ("s2e", "s2e, one candidate", "tpe", "cmaes", "gp", "random")


@dataclass(frozen=True)
class Problem:
    """An objective to minimise and its smallest value."""

    objective: Callable[[optuna.Trial], float]
    optimum: float
    about: str


def _point(trial: optuna.Trial, n: int) -> np.ndarray:
    return np.array([trial.suggest_float(f"x{i}", -5.0, 5.0) for i in range(n)])


def _shift(n: int) -> np.ndarray:
    """Place the optimum away from the centre, where some samplers look first."""
    return np.random.default_rng(n).uniform(-3.0, 3.0, n)


def sphere(trial: optuna.Trial, n: int) -> float:
    return float(np.sum((_point(trial, n) - _shift(n)) ** 2))


def ellipsoid(trial: optuna.Trial, n: int) -> float:
    scales = 10.0 ** (4.0 * np.arange(n) / (n - 1))
    return float(np.log10(1.0 + scales @ (_point(trial, n) - _shift(n)) ** 2))


def rosenbrock(trial: optuna.Trial, n: int) -> float:
    return float(np.log10(1.0 + rosen(_point(trial, n) - _shift(n) + 1.0)))


def rastrigin(trial: optuna.Trial, n: int) -> float:
    z = _point(trial, n) - _shift(n)
    return float(10.0 * n + np.sum(z**2 - 10.0 * np.cos(2.0 * math.pi * z)))


def mixed(trial: optuna.Trial) -> float:
    """Shaped like the tuning of a learner: log rates, integers and choices that interact."""
    rate = trial.suggest_float("rate", 1e-5, 1.0, log=True)
    depth = trial.suggest_int("depth", 1, 12)
    kind = trial.suggest_categorical("kind", ["a", "b", "c", "d"])
    share = trial.suggest_float("share", 0.0, 1.0, step=0.1)
    best_rate = {"a": -3.0, "b": -2.0, "c": -1.0, "d": -4.0}[kind]
    penalty = {"a": 0.3, "b": 0.0, "c": 0.6, "d": 0.1}[kind]
    return (
        0.5 * (math.log10(rate) - best_rate) ** 2
        + 0.05 * (depth - 7) ** 2
        + 2.0 * (share - 0.7) ** 2
        + penalty
    )


def conditional(trial: optuna.Trial) -> float:
    """Two models, each with parameters of its own."""
    x = trial.suggest_float("x", -1.0, 1.0)
    if trial.suggest_categorical("model", ["linear", "tree"]) == "linear":
        return (x - 0.3) ** 2 + 0.2 + (trial.suggest_float("ridge", 0.0, 1.0) - 0.5) ** 2
    depth, leaf = trial.suggest_int("tree_depth", 1, 20), trial.suggest_float("leaf", 0.0, 1.0)
    return (x - 0.3) ** 2 + 0.01 * (depth - 6) ** 2 + (leaf - 0.2) ** 2


def mixture(trial: optuna.Trial) -> float:
    """Weights of five parts: the Kullback-Leibler divergence from the best ones."""
    best = np.array([0.5, 0.25, 0.15, 0.07, 0.03])
    weights = np.maximum(suggest_simplex(trial, "w", 5), 1e-12)
    return float(np.sum(best * np.log(best / weights)))


PROBLEMS = {
    "sphere-5": Problem(functools.partial(sphere, n=5), 0.0, "sum of squares"),
    "ellipsoid-5": Problem(
        functools.partial(ellipsoid, n=5), 0.0, "log10 of an ellipsoid of condition 10^4"
    ),
    "rosenbrock-5": Problem(
        functools.partial(rosenbrock, n=5), 0.0, "log10 of a narrow curved valley"
    ),
    "rastrigin-3": Problem(functools.partial(rastrigin, n=3), 0.0, "many local minima"),
    "sphere-15": Problem(functools.partial(sphere, n=15), 0.0, "sum of squares"),
    "mixed": Problem(mixed, 0.0, "log scale, integers, steps and choices"),
    "conditional": Problem(conditional, 0.0, "parameters that depend on a choice"),
    "mixture": Problem(mixture, 0.0, "weights on a simplex"),
}


def run(problem: Problem, name: str, seed: int) -> list[float]:
    """Search once; return the distance of the best value from the optimum at each checkpoint."""
    study = optuna.create_study(sampler=SAMPLERS[name](seed))
    found: list[float] = []
    for checkpoint in CHECKPOINTS:
        study.optimize(problem.objective, n_trials=checkpoint - len(study.trials))
        found.append(study.best_value - problem.optimum)
    return found


def write_page(results: dict[str, Runs]) -> None:
    origin = read_origins(RESULTS)[RESULTS.name]
    lines = [
        "# Searches where there is no schedule",
        "",
        "`python -m studies.bench_general`. Best value so far minus the optimum, mean ± standard "
        f"error over seeds. {origin['hardware']}; commit {origin['commit']}, that of the runs "
        "added last: rows that were kept may be of earlier ones.",
        "",
    ]
    notes = RESULTS / "notes.md"  # written by hand
    if notes.exists():
        lines += [notes.read_text(encoding="utf-8").strip(), ""]
    for name, runs in results.items():
        lines += [f"## {name}: {PROBLEMS[name].about}", "", *table(runs, scale=1.0), ""]
        lines += [f"![Best value by number of trials]({name}.png)", ""]
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, metavar="NAME")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in arguments.problems or PROBLEMS:
        path = RESULTS / f"{name}.csv"
        before = len(read_runs(path))
        results[name] = complete(
            path,
            arguments.samplers or CONTENDERS,
            arguments.seeds,
            1,
            functools.partial(run, PROBLEMS[name]),
        )
        if len(results[name]) > before:
            note_origin(RESULTS, RESULTS.name)
        draw(results[name], RESULTS / f"{name}.png", "best value minus optimum", scale=1.0)
        write_page(results)
    print(f"wrote {RESULTS / 'README.md'}")


if __name__ == "__main__":
    main()
