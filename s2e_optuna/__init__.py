"""Search how much of a noisily labelled data set to trust.

S2E (*Searching to Exploit Memorization Effect in Learning with Noisy Labels*, ICML 2020) as an
Optuna sampler and a study toolkit.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s2e_optuna.estimator import S2EClassifier
    from s2e_optuna.objective import CoTeachingObjective
    from s2e_optuna.sampler import S2ESampler, best_schedule
    from s2e_optuna.schedules import Schedule, suggest_schedule, suggest_simplex
    from s2e_optuna.workers import open_storage

__version__ = "0.1.0"

__all__ = [
    "CoTeachingObjective",
    "S2EClassifier",
    "S2ESampler",
    "Schedule",
    "__version__",
    "best_schedule",
    "open_storage",
    "suggest_schedule",
    "suggest_simplex",
]

_HOME = {
    "CoTeachingObjective": "s2e_optuna.objective",
    "S2EClassifier": "s2e_optuna.estimator",
    "S2ESampler": "s2e_optuna.sampler",
    "Schedule": "s2e_optuna.schedules",
    "best_schedule": "s2e_optuna.sampler",
    "open_storage": "s2e_optuna.workers",
    "suggest_schedule": "s2e_optuna.schedules",
    "suggest_simplex": "s2e_optuna.schedules",
}


def __getattr__(name: str) -> Any:
    # Names are imported when first used: someone who wants the sampler does not wait for torch.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
