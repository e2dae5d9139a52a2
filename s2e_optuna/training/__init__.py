"""Data with noisy labels, networks, methods and the stacked trainer. Needs torch, not Optuna."""

from s2e_optuna.training.assemble import from_arrays
from s2e_optuna.training.augmentation import AUGMENTATIONS, Augment, Augmentation
from s2e_optuna.training.checkpoint import Checkpoint
from s2e_optuna.training.comparison import ComparisonProgress, evaluate_schedules
from s2e_optuna.training.cross_validation import Unseen, check_folds, unseen_probabilities
from s2e_optuna.training.data import NoisyData
from s2e_optuna.training.device import resolve_device
from s2e_optuna.training.errors import DataError
from s2e_optuna.training.images import OnImages
from s2e_optuna.training.labels import check_labels_path, read_labels, save_labels
from s2e_optuna.training.methods import METHODS, BatchView, Method, get_method
from s2e_optuna.training.model import Model, load_model, predict_proba, save_model
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
from s2e_optuna.training.noise import (
    NOISE_KINDS,
    Noise,
    corrupt_labels,
    corrupt_labels_by_instance,
    is_matrix_file,
    read_transition_matrix,
    transition_matrix,
)
from s2e_optuna.training.results import CURVES, EpochReport, TrainConfig, TrainResult
from s2e_optuna.training.sources import DATA_OPTIONS, DATA_SETS, InMemory, load_data
from s2e_optuna.training.streaming import ImageFiles
from s2e_optuna.training.suspects import (
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
from s2e_optuna.training.torchvision_support import TorchvisionStatus, torchvision_status
from s2e_optuna.training.trainer import ScheduleLike, train

__all__ = [
    "AUGMENTATIONS",
    "CURVES",
    "DATA_OPTIONS",
    "DATA_SETS",
    "EXECUTIONS",
    "METHODS",
    "NETWORKS",
    "NOISE_KINDS",
    "Augment",
    "Augmentation",
    "BatchView",
    "Checkpoint",
    "ComparisonProgress",
    "DataError",
    "EpochReport",
    "Expectation",
    "ImageFiles",
    "InMemory",
    "Method",
    "Model",
    "NetworkFactory",
    "Noise",
    "NoisyData",
    "OnImages",
    "ScheduleLike",
    "StackedModels",
    "Suspect",
    "SuspectQuality",
    "TorchvisionStatus",
    "TrainConfig",
    "TrainResult",
    "TrainingPass",
    "Unseen",
    "check_execution",
    "check_folds",
    "check_labels_path",
    "check_network",
    "corrupt_labels",
    "corrupt_labels_by_instance",
    "evaluate_schedules",
    "expectation",
    "from_arrays",
    "get_method",
    "is_matrix_file",
    "load_data",
    "load_model",
    "make_network",
    "predict_proba",
    "read_labels",
    "read_suspects",
    "read_transition_matrix",
    "resolve_device",
    "save_labels",
    "save_model",
    "suspect_quality",
    "suspects",
    "suspects_of_models",
    "torchvision_status",
    "train",
    "transition_matrix",
    "unseen_probabilities",
    "unstack",
    "write_suspects",
]
