"""Where a training runs, and how it keeps its memory."""

import platform
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from training_data import *  # noqa: F403 - fixtures

import s2e_optuna.device as device
from s2e_optuna.data import streaming
from s2e_optuna.training import (
    TrainConfig,
    shards,
    train,
    trainer,
)
from s2e_optuna.training.setup import Setup
from s2e_optuna.training.stack import Stack

REUSE = """
import resource
import torch
from s2e_optuna.device import keep_freed_memory

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
    # The system gives memory page by page, at the first touch: 20 new shards would be 20.
    run = subprocess.run([sys.executable, "-c", REUSE], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 10


def test_a_training_makes_its_device_the_current_one(blobs, monkeypatch):
    current, seen = ["cuda:0"], set()

    @contextmanager
    def switched(name):
        current.append(str(name))
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", switched)
    monkeypatch.setattr(trainer, "on_device", lambda _: device.on_device(torch.device("cuda:1")))
    step = Stack.step
    monkeypatch.setattr(Stack, "step", lambda *a: (seen.add(current[-1]), step(*a))[1])
    train("standard", [None], blobs, TrainConfig(epochs=1, network="mlp", device="cpu"))
    assert (seen, current) == ({"cuda:1"}, ["cuda:0"])
    with device.on_device(torch.device("cpu")):
        assert current == ["cuda:0"]


def test_memory_that_pytorch_keeps_for_itself_is_free(blobs, monkeypatch):
    for name, found in (("mem_get_info", (5, 24)), ("memory_reserved", 12)):
        monkeypatch.setattr(torch.cuda, name, lambda device, found=found: found)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2)
    cuda, images = torch.device("cuda"), torch.zeros(6, 1, 1, 1, dtype=torch.uint8)
    assert device.free_memory(cuda) == 15
    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "to", lambda images, place: (place, images))
        # 6 of 15 bytes may lie there, not of 5
        assert streaming.images_for(images, cuda)[0] == cuda
    setup = Setup.of("standard", blobs, TrainConfig(device="cpu"))
    monkeypatch.setattr(shards, "model_bytes", lambda *_: 1)
    assert shards.trials_per_shard(replace(setup, device=cuda), 9) == 9
