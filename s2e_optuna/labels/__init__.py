"""What each label is worth: predictions out of fold, probabilities, the list of suspects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2e_optuna.lazy import lazy_names

if TYPE_CHECKING:
    from s2e_optuna.labels.out_of_fold import Unseen, check_folds, unseen_probabilities
    from s2e_optuna.labels.suspect_list import (
        Expectation,
        Suspect,
        SuspectQuality,
        expectation,
        read_suspects,
        suspect_quality,
        suspects,
        suspects_of_models,
        write_suspects,
    )

__all__ = [
    "Expectation",
    "Suspect",
    "SuspectQuality",
    "Unseen",
    "check_folds",
    "expectation",
    "read_suspects",
    "suspect_quality",
    "suspects",
    "suspects_of_models",
    "unseen_probabilities",
    "write_suspects",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "s2e_optuna.labels.out_of_fold": ("Unseen", "check_folds", "unseen_probabilities"),
        "s2e_optuna.labels.suspect_list": (
            "Expectation",
            "Suspect",
            "SuspectQuality",
            "expectation",
            "read_suspects",
            "suspect_quality",
            "suspects",
            "suspects_of_models",
            "write_suspects",
        ),
    },
)
