"""The recorded tables as a benchmark problem of OptunaHub.

import optuna
from studies.problem import ScheduleProblem

problem = ScheduleProblem("mnist-sym50", seed=0)
study = optuna.create_study(directions=problem.directions)
study.optimize(problem, n_trials=48)
problem.noise_free(study.best_params)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optunahub.benchmarks import BaseProblem

from s2e_optuna.schedules import get_space, suggest_schedule
from studies.emulator import emulator_of, final_error


class ScheduleProblem(BaseProblem):  # type: ignore[misc]
    """Validation error of a training, as a function of its schedule's 19 parameters.

    Parameters
    ----------
    task
        Name of a table in ``studies/data``.
    seed
        Seed of the trainings' noise; None for an error without noise.
    """

    def __init__(self, task: str, seed: int | None = None) -> None:
        self._emulator = emulator_of(task)
        self._rng = None if seed is None else np.random.default_rng(seed)

    @property
    def search_space(self) -> dict[str, BaseDistribution]:
        """S2E's space of schedules."""
        return {p.name: FloatDistribution(p.low, p.high) for p in get_space("s2e").parameters}

    @property
    def directions(self) -> list[StudyDirection]:
        """One error rate, to be minimised."""
        return [StudyDirection.MINIMIZE]

    def __call__(self, trial: optuna.Trial) -> float:
        """Suggest a schedule and return the error of a training with it."""
        suggest_schedule(trial, self._emulator.table.epochs)
        return self.evaluate(trial.params)

    def evaluate(self, params: dict[str, Any]) -> float:
        """Return the validation error of one training."""
        if self._rng is None:
            return self.noise_free(params)
        return float(final_error(self._emulator.train(self._rates(params), self._rng)))

    def noise_free(self, params: dict[str, Any]) -> float:
        """Return the expected validation error."""
        return float(self._emulator.error(self._rates(params))[0])

    def _rates(self, params: dict[str, Any]) -> NDArray[np.float64]:
        x = np.array([[params[name] for name in self.search_space]])
        return get_space("s2e").rates(x, self._emulator.table.epochs)[0]
