"""Networks, methods and the stacked trainer. Needs torch, not Optuna."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2e_optuna.lazy import lazy_names

if TYPE_CHECKING:
    from s2e_optuna.training.checkpoint import Checkpoint
    from s2e_optuna.training.comparison import ComparisonProgress, evaluate_schedules
    from s2e_optuna.training.config import TrainConfig
    from s2e_optuna.training.methods import METHODS, BatchView, Method, get_method
    from s2e_optuna.training.model import Model, predict_proba
    from s2e_optuna.training.model_file import load_model, save_model
    from s2e_optuna.training.networks import (
        EXECUTIONS,
        NETWORKS,
        NetworkFactory,
        StackedModels,
        TrainingPass,
        check_execution,
        check_network,
        make_network,
        unstack,
    )
    from s2e_optuna.training.results import CURVES, EpochReport, TrainResult
    from s2e_optuna.training.trainer import ScheduleLike, train

__all__ = [
    "CURVES",
    "EXECUTIONS",
    "METHODS",
    "NETWORKS",
    "BatchView",
    "Checkpoint",
    "ComparisonProgress",
    "EpochReport",
    "Method",
    "Model",
    "NetworkFactory",
    "ScheduleLike",
    "StackedModels",
    "TrainConfig",
    "TrainResult",
    "TrainingPass",
    "check_execution",
    "check_network",
    "evaluate_schedules",
    "get_method",
    "load_model",
    "make_network",
    "predict_proba",
    "save_model",
    "train",
    "unstack",
]

_HOMES: dict[str, tuple[str, ...]] = {
    "s2e_optuna.training.checkpoint": ("Checkpoint",),
    "s2e_optuna.training.comparison": (
        "ComparisonProgress",
        "evaluate_schedules",
    ),
    "s2e_optuna.training.config": ("TrainConfig",),
    "s2e_optuna.training.methods": (
        "BatchView",
        "METHODS",
        "Method",
        "get_method",
    ),
    "s2e_optuna.training.model": ("Model", "predict_proba"),
    "s2e_optuna.training.model_file": ("load_model", "save_model"),
    "s2e_optuna.training.networks": (
        "EXECUTIONS",
        "NETWORKS",
        "NetworkFactory",
        "StackedModels",
        "TrainingPass",
        "check_execution",
        "check_network",
        "make_network",
        "unstack",
    ),
    "s2e_optuna.training.results": (
        "CURVES",
        "EpochReport",
        "TrainResult",
    ),
    "s2e_optuna.training.trainer": (
        "ScheduleLike",
        "train",
    ),
}

_MOVED: dict[str, tuple[str, ...]] = {
    "s2e_optuna.errors": ("DataError",),
    "s2e_optuna.device": ("resolve_device",),
    "s2e_optuna.data": (
        *(
            "AUGMENTATIONS",
            "Augment",
            "Augmentation",
            "DATA_OPTIONS",
            "DATA_SETS",
            "ImageFiles",
            "InMemory",
        ),
        *("NOISE_KINDS", "Noise", "NoisyData", "OnImages", "TorchvisionStatus"),
        *("check_labels_path", "corrupt_labels", "corrupt_labels_by_instance", "from_arrays"),
        *("is_matrix_file", "load_data", "read_labels", "read_transition_matrix"),
        *("save_labels", "torchvision_status", "transition_matrix"),
    ),
    "s2e_optuna.labels": (
        *("Expectation", "Suspect", "SuspectQuality", "Unseen", "check_folds", "expectation"),
        *("read_suspects", "suspect_quality", "suspects", "suspects_of_models"),
        *("unseen_probabilities", "write_suspects"),
    ),
}
"""Data and labels were a part of this package, and programs import them from here."""

__all__ += [name for names in _MOVED.values() for name in names]

__getattr__, __dir__ = lazy_names(__name__, {**_HOMES, **_MOVED})
