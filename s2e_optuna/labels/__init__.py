"""What each label is worth: noise rates, posterior, suspects, from labels and probabilities.

`assess_labels` says all of it, of plain arrays; the functions that it is made of are beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2e_optuna.lazy import lazy_names

if TYPE_CHECKING:
    from s2e_optuna.labels.calibration import Calibration, fit_calibration
    from s2e_optuna.labels.checked import (
        NOT_CHECKED,
        CheckedLabels,
        check_labels,
        tempered_average,
    )
    from s2e_optuna.labels.duplicates import Contradiction, contradictions
    from s2e_optuna.labels.expected import expected_validation
    from s2e_optuna.labels.judging import Judgement, judge, suspects, suspects_of_models
    from s2e_optuna.labels.label_report import LabelReport
    from s2e_optuna.labels.noise_rate import NoiseRate
    from s2e_optuna.labels.out_of_fold import Unseen, check_folds, unseen_probabilities
    from s2e_optuna.labels.quality import CleanPart, LabelQuality, assess_labels
    from s2e_optuna.labels.suspect_list import (
        Expectation,
        Suspect,
        SuspectQuality,
        expectation,
        read_suspects,
        suspect_quality,
        write_suspects,
    )
    from s2e_optuna.labels.transition import (
        Transition,
        estimate_transition,
        label_posterior,
        wrong_probability,
    )

__all__ = [
    "NOT_CHECKED",
    "Calibration",
    "CheckedLabels",
    "CleanPart",
    "Contradiction",
    "Expectation",
    "Judgement",
    "LabelQuality",
    "LabelReport",
    "NoiseRate",
    "Suspect",
    "SuspectQuality",
    "Transition",
    "Unseen",
    "assess_labels",
    "check_folds",
    "check_labels",
    "contradictions",
    "estimate_transition",
    "expectation",
    "expected_validation",
    "fit_calibration",
    "judge",
    "label_posterior",
    "read_suspects",
    "suspect_quality",
    "suspects",
    "suspects_of_models",
    "tempered_average",
    "unseen_probabilities",
    "write_suspects",
    "wrong_probability",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "s2e_optuna.labels.calibration": ("Calibration", "fit_calibration"),
        "s2e_optuna.labels.checked": (
            "NOT_CHECKED",
            "CheckedLabels",
            "check_labels",
            "tempered_average",
        ),
        "s2e_optuna.labels.duplicates": ("Contradiction", "contradictions"),
        "s2e_optuna.labels.expected": ("expected_validation",),
        "s2e_optuna.labels.judging": ("Judgement", "judge", "suspects", "suspects_of_models"),
        "s2e_optuna.labels.label_report": ("LabelReport",),
        "s2e_optuna.labels.noise_rate": ("NoiseRate",),
        "s2e_optuna.labels.out_of_fold": ("Unseen", "check_folds", "unseen_probabilities"),
        "s2e_optuna.labels.quality": ("CleanPart", "LabelQuality", "assess_labels"),
        "s2e_optuna.labels.suspect_list": (
            "Expectation",
            "Suspect",
            "SuspectQuality",
            "expectation",
            "read_suspects",
            "suspect_quality",
            "write_suspects",
        ),
        "s2e_optuna.labels.transition": (
            "Transition",
            "estimate_transition",
            "label_posterior",
            "wrong_probability",
        ),
    },
)
