"""What to do when the memory of a device runs out."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator

import torch

NO_MEMORY = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
"""What errors say of it: PyTorch's own and CUDA's, and those of cuBLAS, cuDNN and their like.

Not all are a `torch.OutOfMemoryError`: CUDA's own is a `torch.AcceleratorError` (where PyTorch has
it), those of the libraries are a plain RuntimeError.
"""


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, says that a device has no memory left.

    A recording that runs out of memory ends in another error, with this one as its context.
    """
    return any(
        isinstance(one, torch.OutOfMemoryError)
        or (isinstance(one, RuntimeError) and any(text in str(one) for text in NO_MEMORY))
        for one in _chain(error)
    )


def clear_frames(error: BaseException | None) -> None:
    """Let go of what the functions held that an error has ended: they may be large tensors."""
    for one in _chain(error):
        traceback.clear_frames(one.__traceback__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def give_back_memory() -> None:
    """Give a GPU back what nothing holds any more: its libraries do not ask PyTorch for memory."""
    gc.collect()
    torch.cuda.empty_cache()
