"""Where a training runs."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from s2e_optuna.errors import DataError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's ``mallopt``, from malloc.h."""

LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Let the C library keep memory that a training step frees, for the next step.

    By default glibc hands large blocks, and what is free at the end of its heap, back to the
    system. A step then gets its memory anew and page by page: depending on what else lies in
    the heap, that took a tenth to three quarters of the time of `mlp`. Where there is no glibc
    this does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, LARGEST_INT)


def on_device(device: torch.device) -> AbstractContextManager[None]:
    """Make a device the current one for a while; the CPU needs nothing.

    Pinned memory, recordings and the registration of generators go by the current device.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def to_device(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Bring images to a device; to a GPU by way of pinned memory, while this process goes on."""
    if device.type == "cuda" and images.device.type == "cpu":
        images = images.pin_memory()
    return images.to(device, non_blocking=True)


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads of the CPU for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def free_memory(device: torch.device) -> int:
    """Return the bytes of a GPU that this process can have.

    CUDA counts as used what PyTorch has kept of an earlier training to hand it out again.
    """
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + kept


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


def split_devices(device: str) -> tuple[str, ...]:
    """Turn ``auto`` or a list with commas into devices; all GPUs for ``auto``, or the CPU.

    Raises `DataError` if one of them is unknown or not there.
    """
    if device == "auto":
        if resolve_device("auto").type == "cpu":
            return ("cpu",)
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    names = tuple(name.strip() for name in device.split(","))
    return tuple(str(resolve_device(name)) for name in names)
