"""Pictures, tables and words: things that draw or say, none that runs.

The functions that draw are names of this package, imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2e_optuna.lazy import lazy_names

if TYPE_CHECKING:
    from s2e_optuna.reporting.interactive import (
        best_so_far_plot,
        distribution_plot,
        entropy_plot,
        schedules_plot,
    )
    from s2e_optuna.reporting.plots import (
        best_so_far_figure,
        distribution_figure,
        learning_figure,
        save_figure,
        schedule_figure,
        schedules_figure,
        theta_figure,
    )
    from s2e_optuna.reporting.series import Band, LearningCurves, ScoredSchedule
    from s2e_optuna.reporting.view import StudyView, read_study
    from s2e_optuna.web.dashboard import publish, study_plots

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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "s2e_optuna.reporting.plots": (
            *("best_so_far_figure", "distribution_figure", "learning_figure", "save_figure"),
            *("schedule_figure", "schedules_figure", "theta_figure"),
        ),
        "s2e_optuna.reporting.series": ("Band", "LearningCurves", "ScoredSchedule"),
        "s2e_optuna.reporting.interactive": (
            *("best_so_far_plot", "distribution_plot", "entropy_plot", "schedules_plot"),
        ),
        "s2e_optuna.reporting.view": ("StudyView", "read_study"),
        "s2e_optuna.web.dashboard": ("publish", "study_plots"),
    },
)
