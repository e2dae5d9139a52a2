"""Where a training runs, and how it keeps its memory."""

import platform
import subprocess
import sys

import pytest

REUSE = """
import resource
import torch
from s2e_optuna.training.device import keep_freed_memory

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
torch.zeros(50 << 20, dtype=torch.uint8)
before = pages()
for _ in range(20):
    torch.zeros(50 << 20, dtype=torch.uint8)
print((pages() - before) * resource.getpagesize() / (50 << 20))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_used_again() -> None:
    # The system gives memory page by page, at the first touch: 20 new blocks would be 20.
    run = subprocess.run([sys.executable, "-c", REUSE], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 5
