"""Data with noisy labels: layouts, images, tables of labels, label noise. Knows no trainer."""

from s2e_optuna.data.assemble import from_arrays
from s2e_optuna.data.augmentation import AUGMENTATIONS, Augment, Augmentation
from s2e_optuna.data.images import OnImages
from s2e_optuna.data.label_tables import check_labels_path, read_labels, save_labels
from s2e_optuna.data.noise import NOISE_KINDS, Noise, corrupt_labels, corrupt_labels_by_instance, is_matrix_file, read_transition_matrix, transition_matrix
from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.data.sources import DATA_OPTIONS, DATA_SETS, InMemory, load_data
from s2e_optuna.data.streaming import ImageFiles
from s2e_optuna.data.torchvision_support import TorchvisionStatus, torchvision_status

__all__ = [
    "AUGMENTATIONS",
    "DATA_OPTIONS",
    "DATA_SETS",
    "NOISE_KINDS",
    "Augment",
    "Augmentation",
    "ImageFiles",
    "InMemory",
    "Noise",
    "NoisyData",
    "OnImages",
    "TorchvisionStatus",
    "check_labels_path",
    "corrupt_labels",
    "corrupt_labels_by_instance",
    "from_arrays",
    "is_matrix_file",
    "load_data",
    "read_labels",
    "read_transition_matrix",
    "save_labels",
    "torchvision_status",
    "transition_matrix",
]
