"""Errors that say that a device has no memory left."""

import pytest
import torch

from s2e_optuna.training.memory import ran_out_of_memory


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",  # a torch.AcceleratorError, where PyTorch has it
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ],
)
def test_errors_of_libraries_say_so_in_words(text):
    error = getattr(torch, "AcceleratorError", RuntimeError)
    assert ran_out_of_memory(error(text)) and ran_out_of_memory(RuntimeError(text))


def test_other_errors_do_not():
    assert not ran_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))
    assert not ran_out_of_memory(ValueError("out of memory"))


def test_memory_that_ran_out_while_a_step_was_recorded():
    error = RuntimeError("capture failed")
    error.__context__ = torch.OutOfMemoryError("no memory")
    assert ran_out_of_memory(error)
