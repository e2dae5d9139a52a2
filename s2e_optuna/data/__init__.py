"""Data with noisy labels: layouts, images, tables of labels, label noise. Knows no trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2e_optuna.lazy import lazy_names

if TYPE_CHECKING:
    from s2e_optuna.data.assemble import from_arrays
    from s2e_optuna.data.augmentation import AUGMENTATIONS, Augment, Augmentation
    from s2e_optuna.data.images import OnImages
    from s2e_optuna.data.label_tables import check_labels_path, read_labels, save_labels
    from s2e_optuna.data.noise import (
        Noise,
        corrupt_labels,
        corrupt_labels_by_instance,
        read_transition_matrix,
        transition_matrix,
    )
    from s2e_optuna.data.noisy_data import NoisyData
    from s2e_optuna.data.sources import InMemory, load_data
    from s2e_optuna.data.spec import DATA_OPTIONS, DATA_SETS, NOISE_KINDS, DataSpec, is_matrix_file
    from s2e_optuna.data.streaming import ImageFiles
    from s2e_optuna.data.torchvision_support import TorchvisionStatus, torchvision_status

__all__ = [
    "AUGMENTATIONS",
    "DATA_OPTIONS",
    "DATA_SETS",
    "NOISE_KINDS",
    "Augment",
    "Augmentation",
    "DataSpec",
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

_HOMES: dict[str, tuple[str, ...]] = {
    "s2e_optuna.data.assemble": ("from_arrays",),
    "s2e_optuna.data.augmentation": (
        "AUGMENTATIONS",
        "Augment",
        "Augmentation",
    ),
    "s2e_optuna.data.images": ("OnImages",),
    "s2e_optuna.data.label_tables": (
        "check_labels_path",
        "read_labels",
        "save_labels",
    ),
    "s2e_optuna.data.noise": (
        "Noise",
        "corrupt_labels",
        "corrupt_labels_by_instance",
        "read_transition_matrix",
        "transition_matrix",
    ),
    "s2e_optuna.data.noisy_data": ("NoisyData",),
    "s2e_optuna.data.sources": (
        "InMemory",
        "load_data",
    ),
    "s2e_optuna.data.spec": (
        "DATA_OPTIONS",
        "DATA_SETS",
        "DataSpec",
        "NOISE_KINDS",
        "is_matrix_file",
    ),
    "s2e_optuna.data.streaming": ("ImageFiles",),
    "s2e_optuna.data.torchvision_support": (
        "TorchvisionStatus",
        "torchvision_status",
    ),
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
