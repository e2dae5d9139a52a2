"""How steps are recorded on CUDA, with stand-ins for what needs a GPU."""

from contextlib import contextmanager
from typing import ClassVar

import pytest
import torch
from torch.torch_version import TorchVersion

from s2e_optuna.training.recording import CudaRecorder, GraphMemory

DEVICE = torch.device("cuda:1")


class Stream:
    def __init__(self, device):
        self.device = device

    def wait_stream(self, other):
        assert other is not self


class Graph:
    registered: ClassVar[list] = []

    def register_generator_state(self, generator):
        self.registered.append((generator, Cuda.current))

    def replay(self):
        """Nothing was recorded."""


class Generator:
    device = DEVICE


class Cuda:
    """Notes what is asked of `torch.cuda`."""

    current = torch.device("cuda:0")

    def __init__(self, monkeypatch):
        self.streams, self.pools = [], []
        Graph.registered.clear()
        for name in ("graph", "stream", "device"):
            monkeypatch.setattr(torch.cuda, name, contextmanager(getattr(self, name)))
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
        monkeypatch.setattr(torch.cuda, "current_stream", Stream)

    def graph(self, graph, pool, stream, capture_error_mode):
        self.pools.append(pool)
        self.streams.append(stream)
        yield

    def stream(self, stream):
        self.streams.append(stream)
        yield

    def device(self, device):
        before, Cuda.current = Cuda.current, device
        yield
        Cuda.current = before


@pytest.fixture
def cuda(monkeypatch):
    return Cuda(monkeypatch)


def test_recordings_share_memory_and_its_stream(cuda):
    memory, steps, replays = GraphMemory(DEVICE), [], []
    for _ in range(2):
        recorder = CudaRecorder(Generator(), memory)
        recorder.warm_up(lambda: steps.append("plain"))
        replays.append(recorder.record(lambda: steps.append("recorded")))
    assert steps == ["plain", "recorded"] * 2
    first, second = cuda.pools
    assert first is second
    assert cuda.streams == [memory.stream] * 4 and memory.stream.device == DEVICE


@pytest.mark.parametrize(
    ("version", "devices"),
    [("2.9.1", [DEVICE]), ("2.13.0+cu130", [DEVICE]), ("2.14.0", []), ("2.15.0+cu132", [])],
)
def test_a_generator_is_registered_where_pytorch_wants_it(version, devices, cuda, monkeypatch):
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    generator = Generator()
    CudaRecorder(generator, GraphMemory(DEVICE)).record(lambda: None)
    assert Graph.registered == [(generator, device) for device in devices]


def test_memory_whose_last_recording_is_gone_is_not_named_again(cuda):
    """PyTorch may refuse it: `use_count > 0 INTERNAL ASSERT FAILED`."""
    recorder, pools = CudaRecorder(Generator(), GraphMemory(DEVICE)), cuda.pools
    first = recorder.record(lambda: None)
    second = recorder.record(lambda: None)
    del first
    third = recorder.record(lambda: None)
    del second, third
    recorder.record(lambda: None)
    assert pools[0] is pools[1] is pools[2] is not pools[3]
