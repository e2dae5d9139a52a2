"""A training step that is recorded once as a CUDA graph and replayed.

A replay costs the host one call in place of a hundred launches, which for small networks take
longer than the work itself. It repeats the recorded kernels on the same memory, so a step must
read nothing back, have no shape that depends on values, and take everything that changes from
tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol
from weakref import WeakSet

import torch

GENERATORS_REGISTER_THEMSELVES = "2.14"
"""PyTorch from which a recording notices what generators it uses, and must not be told."""

WARM_UP_STEPS = 3
"""Steps before the recording, in which libraries allocate their workspaces."""

Action = Callable[[], None]


class GraphMemory:
    """Memory that the recordings of one training share.

    Parameters
    ----------
    device
        Where the training runs.

    Attributes
    ----------
    stream
        What is recorded. Memory is handed out by stream, so it is shared on the same one only.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._pool: Any = None  # PyTorch's type of it is private

    def pool_for(self, graph: torch.cuda.CUDAGraph) -> Any:
        """Name the memory for another graph: that of the others, if there are any.

        PyTorch frees memory with the last graph that uses it, and may refuse its name thereafter.
        """
        if not self._graphs:
            self._pool = torch.cuda.graph_pool_handle()
        self._graphs.add(graph)
        return self._pool


class Recorder(Protocol):
    """What records: CUDA, or a stand-in for tests."""

    def warm_up(self, step: Action) -> None:
        """Run a step as it is, apart from the stream that is recorded later."""

    def record(self, step: Action) -> Action:
        """Record a step without running it; return what runs it."""


class CudaRecorder:
    """Records CUDA graphs.

    Parameters
    ----------
    generator
        Where the step draws random numbers from; each replay draws others.
    memory
        Recordings that share it take turns: what a replay needs besides its results, the next
        one may overwrite.
    """

    def __init__(self, generator: torch.Generator, memory: GraphMemory) -> None:
        self._generator = generator
        self._memory = memory

    def warm_up(self, step: Action) -> None:
        """Run a step on a stream of its own, as a recording needs it."""
        current = torch.cuda.current_stream(self._generator.device)
        self._memory.stream.wait_stream(current)
        with torch.cuda.stream(self._memory.stream):
            step()
        current.wait_stream(self._memory.stream)

    def record(self, step: Action) -> Action:
        """Record a step as a graph."""
        graph = torch.cuda.CUDAGraph()
        if torch.__version__ < GENERATORS_REGISTER_THEMSELVES:
            with torch.cuda.device(self._generator.device):  # where it allocates
                graph.register_generator_state(self._generator)
        # By default it fails when any thread of the process allocates.
        with torch.cuda.graph(
            graph,
            pool=self._memory.pool_for(graph),
            stream=self._memory.stream,
            capture_error_mode="thread_local",
        ):
            step()
        return graph.replay


class RecordedStep:
    """Runs a step: the first few times as it is, then from a recording.

    It does not keep the step: that belongs to the stack which keeps this, and in a circle both
    would stay in memory until Python looks for circles.

    Parameters
    ----------
    recorder
        Records.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._replay: Action | None = None
        self._recorded: Hashable = None
        self._runs = 0

    def has_recorded(self, signature: Hashable) -> bool:
        """Whether a recording with these constants is there to be repeated."""
        return self._replay is not None and signature == self._recorded

    def __call__(self, step: Action, signature: Hashable) -> None:
        """Take one step.

        Parameters
        ----------
        step
            Takes one training step, always the same.
        signature
            What the recording holds as constants; when it changes, the step is recorded anew.
        """
        if self._runs < WARM_UP_STEPS:
            self._runs += 1
            self._recorder.warm_up(step)
            return
        if self._replay is None or not self.has_recorded(signature):
            self._replay, self._recorded = self._recorder.record(step), signature
        self._replay()
