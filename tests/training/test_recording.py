"""How steps are recorded on CUDA, with stand-ins for what needs a GPU."""

from contextlib import contextmanager

import pytest
import torch

from s2e_optuna.training.recording import CudaRecorder, graph_memory

DEVICE = torch.device("cuda:1")


class Stream:
    def __init__(self, device):
        self.device = device

    def wait_stream(self, other):
        assert other is not self


class Graph:
    def register_generator_state(self, generator):
        """What this is for needs a GPU."""

    def replay(self):
        """Nothing was recorded."""


class Generator:
    device = DEVICE


class Cuda:
    """Notes what is asked of `torch.cuda`."""

    def __init__(self, monkeypatch):
        self.streams, self.pools = [], []
        for name in ("graph", "stream"):
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


@pytest.fixture
def cuda(monkeypatch):
    return Cuda(monkeypatch)


def test_recordings_share_memory_and_its_stream(cuda):
    memory, steps = graph_memory(DEVICE), []
    for _ in range(2):
        recorder = CudaRecorder(Generator(), memory)
        recorder.warm_up(lambda: steps.append("plain"))
        recorder.record(lambda: steps.append("recorded"))()
    assert steps == ["plain", "recorded"] * 2
    assert cuda.pools == [memory.pool] * 2
    assert cuda.streams == [memory.stream] * 4 and memory.stream.device == DEVICE
