"""Joins training and Optuna: the objective, its reports, checkpoints and artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2e_optuna.lazy import lazy_names

if TYPE_CHECKING:
    from s2e_optuna.objective.artifacts import TrialArtifacts
    from s2e_optuna.objective.objective import CoTeachingObjective, Outcome, check_searchable

MINUTES = 5.0
"""Time between two checkpoints of a training."""

__all__ = ["MINUTES", "CoTeachingObjective", "Outcome", "TrialArtifacts", "check_searchable"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "s2e_optuna.objective.objective": ("CoTeachingObjective", "Outcome", "check_searchable"),
        "s2e_optuna.objective.artifacts": ("TrialArtifacts",),
    },
)
