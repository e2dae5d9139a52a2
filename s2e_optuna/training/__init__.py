"""Data with noisy labels, networks, methods and the stacked trainer. Needs torch, not Optuna."""

from s2e_optuna.training.comparison import ComparisonProgress, evaluate_schedules
from s2e_optuna.training.data import NoisyData, from_arrays
from s2e_optuna.training.device import resolve_device
from s2e_optuna.training.errors import DataError
from s2e_optuna.training.methods import METHODS, BatchView, Method, get_method
from s2e_optuna.training.model import Model, load_model, predict_proba, save_model
from s2e_optuna.training.networks import (
    EXECUTIONS,
    NETWORKS,
    NetworkFactory,
    StackedModels,
    TrainingPass,
    check_network,
    make_network,
    unstack,
)
from s2e_optuna.training.noise import (
    NOISE_KINDS,
    corrupt_labels,
    load_labels,
    save_labels,
    transition_matrix,
)
from s2e_optuna.training.results import CURVES, EpochReport, TrainConfig, TrainResult
from s2e_optuna.training.sources import DATA_SETS, load_data
from s2e_optuna.training.suspects import (
    Suspect,
    SuspectQuality,
    suspect_quality,
    suspects,
    write_suspects,
)
from s2e_optuna.training.torchvision_support import TorchvisionStatus, torchvision_status
from s2e_optuna.training.trainer import ScheduleLike, train

__all__ = [
    "CURVES",
    "DATA_SETS",
    "EXECUTIONS",
    "METHODS",
    "NETWORKS",
    "NOISE_KINDS",
    "BatchView",
    "ComparisonProgress",
    "DataError",
    "EpochReport",
    "Method",
    "Model",
    "NetworkFactory",
    "NoisyData",
    "ScheduleLike",
    "StackedModels",
    "Suspect",
    "SuspectQuality",
    "TorchvisionStatus",
    "TrainConfig",
    "TrainResult",
    "TrainingPass",
    "check_network",
    "corrupt_labels",
    "evaluate_schedules",
    "from_arrays",
    "get_method",
    "load_data",
    "load_labels",
    "load_model",
    "make_network",
    "predict_proba",
    "resolve_device",
    "save_labels",
    "save_model",
    "suspect_quality",
    "suspects",
    "torchvision_status",
    "train",
    "transition_matrix",
    "unstack",
    "write_suspects",
]
