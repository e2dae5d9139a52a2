"""Search how much of a noisily labelled data set to trust.

S2E (*Searching to Exploit Memorization Effect in Learning with Noisy Labels*, ICML 2020) as an
Optuna sampler and a study toolkit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2e_optuna import moved
from s2e_optuna.lazy import lazy_names

if TYPE_CHECKING:
    from s2e_optuna.estimator import S2EClassifier
    from s2e_optuna.objective import CoTeachingObjective
    from s2e_optuna.sampler import S2ESampler, best_schedule
    from s2e_optuna.schedules import Schedule, suggest_schedule, suggest_simplex
    from s2e_optuna.storages import open_storage
    from s2e_optuna.training import load_model

__version__ = "0.1.0"

__all__ = [
    "CoTeachingObjective",
    "S2EClassifier",
    "S2ESampler",
    "Schedule",
    "__version__",
    "best_schedule",
    "load_model",
    "open_storage",
    "suggest_schedule",
    "suggest_simplex",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "s2e_optuna.estimator": ("S2EClassifier",),
        "s2e_optuna.objective": ("CoTeachingObjective",),
        "s2e_optuna.sampler": ("S2ESampler", "best_schedule"),
        "s2e_optuna.schedules": ("Schedule", "suggest_schedule", "suggest_simplex"),
        "s2e_optuna.storages": ("open_storage",),
        "s2e_optuna.training": ("load_model",),
    },
)

moved.install()
