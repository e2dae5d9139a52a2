"""Command line output, pictures, dashboard.

The functions that draw are names of this package, imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s2e_optuna.reporting.dashboard import publish, study_plots
    from s2e_optuna.reporting.interactive import (
        best_so_far_plot,
        distribution_plot,
        entropy_plot,
        schedules_plot,
    )
    from s2e_optuna.reporting.plots import (
        Band,
        LearningCurves,
        ScoredSchedule,
        best_so_far_figure,
        distribution_figure,
        learning_figure,
        save_figure,
        schedule_figure,
        schedules_figure,
        theta_figure,
    )
    from s2e_optuna.reporting.view import StudyView, read_study

__all__ = [
    "Band",
    "LearningCurves",
    "ScoredSchedule",
    "StudyView",
    "best_so_far_figure",
    "best_so_far_plot",
    "distribution_figure",
    "distribution_plot",
    "entropy_plot",
    "learning_figure",
    "publish",
    "read_study",
    "save_figure",
    "schedule_figure",
    "schedules_figure",
    "schedules_plot",
    "study_plots",
    "theta_figure",
]

_HOMES = ("plots", "interactive", "view", "dashboard")


def __getattr__(name: str) -> Any:
    # matplotlib, plotly and Optuna are slow to import, and most commands need none of them.
    if name in __all__:
        for home in _HOMES:
            module = importlib.import_module(f"{__name__}.{home}")
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
