"""A large training part that local processes share: one copy in memory, however many they are.

It lies in memory that the kernel counts once (``memfd``, Linux). A process that is handed
`SharedData` maps it, and what it writes there is its own. Nothing is left behind, however
processes end.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from s2e_optuna.data.noisy_data import NoisyData

LEAST = 1 << 26
"""Bytes of the training part from which on it is shared; smaller ones are loaded by each."""

_ROWS = 1 << 24
"""Bytes that are copied at a time."""


@dataclass(frozen=True, eq=False)
class SharedData:
    """Data whose training part lies in shared memory; may be handed to local processes.

    Attributes
    ----------
    place
        The memory, as a file.
    shape, kind
        Shape and type of the training part's numbers.
    rest
        The data with none of them.
    """

    place: str
    shape: Sequence[int]
    kind: str
    rest: NoisyData

    def load(self) -> NoisyData | None:
        """Return the data; None where the memory is not there (any more)."""
        try:
            mapped = np.memmap(self.place, np.dtype(self.kind), "c", shape=tuple(self.shape))
        except (OSError, ValueError):
            return None
        return replace(self.rest, x_train=torch.from_numpy(np.asarray(mapped)))

    def close(self) -> None:
        """Hand it to no further process; called once, by the one that made it."""
        os.close(int(self.place.rpartition("/")[2]))


def share(data: NoisyData) -> tuple[NoisyData, SharedData | None]:
    """Move the training part of data into shared memory.

    Parameters
    ----------
    data
        The data; whoever holds them holds a second copy.

    Returns
    -------
    data : NoisyData
        The same, of the shared memory.
    shared : SharedData or None
        For other processes; None where the part is small, is read from files, or the system has
        no such memory. Encoder and pictures, which no training looks at, are left out.
    """
    images = data.x_train
    if not isinstance(images, Tensor) or images.nbytes < LEAST or not hasattr(os, "memfd_create"):
        return data, None
    values = images.numpy()
    file = os.memfd_create("s2e-data")
    try:
        os.ftruncate(file, values.nbytes)
        memory = mmap.mmap(file, values.nbytes)
    except OSError:  # there is not so much: each process tries for itself
        os.close(file)
        return data, None
    made = np.frombuffer(memory, values.dtype).reshape(values.shape)
    step = max(1, _ROWS // max(1, values[0].nbytes))
    for start in range(0, len(values), step):
        made[start : start + step] = values[start : start + step]
    moved = replace(data, x_train=torch.from_numpy(made))
    rest = replace(moved, x_train=images[:0].clone(), encoder=None, pictures={}, texts={})
    return moved, SharedData(
        f"/proc/{os.getpid()}/fd/{file}", values.shape, values.dtype.str, rest
    )
