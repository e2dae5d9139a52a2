"""Where a training runs."""

from __future__ import annotations

import re

import torch

from s2e_optuna.training.errors import DataError

LARGEST_REUSED = 31 << 20
"""Bytes: a little below the 32 MiB above which glibc always asks the system for memory."""


def keep_freed_memory() -> None:
    """Let the C library keep memory that a training step frees, for the next step.

    By default glibc hands large blocks back to the system. Each step then gets all its memory
    anew and page by page, which took a fifth of the time of `cnn1` and a tenth of the time of
    `mlp`. It learns how large reused blocks may be from the largest that was ever freed.
    Elsewhere this does nothing.
    """
    torch.empty(LARGEST_REUSED, dtype=torch.uint8)


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device that is there.

    Raises
    ------
    DataError
        The name is unknown, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise DataError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise DataError(
                f"device {name!r} was asked for, but PyTorch {torch.__version__} finds no CUDA "
                "device here: use device 'cpu' or 'auto', or install a CUDA build of PyTorch"
            )
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise DataError(
                f"device {name!r} does not exist: this machine has {torch.cuda.device_count()} "
                "CUDA device(s), counted from cuda:0"
            )
    return device
