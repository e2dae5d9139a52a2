"""The trials of a training in blocks: as many as a CPU trains fastest, or a GPU has memory for.

Trials do not depend on each other, so a block trains a whole epoch before the next one begins:
what is used again and again then stays in the cache. On CPU every thread trains a block of its
own: threads that share the small products of one block mostly wait for each other. A block that
runs out of memory goes back to the start of the epoch and on in two halves. For that its state is
copied to the CPU beforehand, in epochs whose steps ask for memory.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from s2e_optuna.training.device import free_memory
from s2e_optuna.training.memory import clear_frames, give_back_memory, ran_out_of_memory
from s2e_optuna.training.methods import Method
from s2e_optuna.training.networks import StackedNetwork
from s2e_optuna.training.parts import EpochOrder, TrainingPart
from s2e_optuna.training.stack import Stack
from s2e_optuna.training.tape import EpochTally

MEMORY_SHARE = 0.7
"""Share of the free memory of a GPU that is planned with; libraries and fragments need some."""

COPIES_OF_PARAMETERS = 5
"""Parameter, gradient, two moments, and what is copied where a gradient has another layout."""

COPIES_OF_OUTPUTS = 3
"""A layer's output, what its gradient needs besides, and the gradient."""

WORK_OF_A_BLOCK = 4e7
"""Operations of a step below which a block is not worth a thread: threads take turns in Python.

Measured with two threads beside one, for `mlp` with 64 to 784 inputs, 1 to 8 models and batches of
16 and 64: slower by up to 1.9 times below, faster by up to 1.8 times above.
"""

WORK_OF_A_SHARE = 1.25e8
"""The same for a thread that shares the products of one block: up to 3.5 times slower below."""


def trials_per_block(
    network: StackedNetwork, method: Method, batch_size: int, device: torch.device, trials: int
) -> int:
    """Choose how many trials train side by side.

    Parameters
    ----------
    network
        Architecture.
    method
        How the networks of a trial learn.
    batch_size
        Samples of a batch.
    device
        On CPU the network's own measured number counts, and that every thread gets a block; on
        CUDA the free memory.
    trials
        How many there are.

    Returns
    -------
    int
        At least 1; blocks are about equally large.
    """
    networks, at_once = method.networks, 1
    if device.type == "cpu":
        fitting = max(1, network.models_side_by_side // networks)
        if runs_in_threads(network, method):
            work = networks * trials * step_operations(network, batch_size)
            at_once = _worth(work, WORK_OF_A_BLOCK, min(torch.get_num_threads(), trials))
    else:
        room = int(MEMORY_SHARE * free_memory(device))
        of_one = networks * model_bytes(network, batch_size)
        # With several blocks, one warms up beside the memory of the others' recorded steps.
        fitting = max(1, room // of_one if trials * of_one <= room else room // (2 * of_one))
    blocks = at_once * math.ceil(trials / fitting / at_once)
    return math.ceil(trials / blocks)


def runs_in_threads(network: StackedNetwork, method: Method) -> bool:
    """Whether blocks may train at the same time: nothing they use belongs to the process."""
    return method.runs_in_threads and not network.uses_host_randomness


def step_operations(network: StackedNetwork, batch_size: int) -> int:
    """Estimate the operations of a step of one model: forward, and two gradients."""
    return 3 * batch_size * network.footprint.operations


def model_bytes(network: StackedNetwork, batch_size: int) -> int:
    """Estimate the bytes that one model needs in training."""
    footprint = network.footprint
    numbers = COPIES_OF_PARAMETERS * footprint.parameters
    return 4 * (numbers + COPIES_OF_OUTPUTS * batch_size * footprint.total)


def train_blocks(
    blocks: list[Stack], data: TrainingPart, order: EpochOrder, epoch: int, *, count: bool
) -> list[tuple[Stack, EpochTally]]:
    """Train every block for an epoch.

    Parameters
    ----------
    blocks
        All blocks; the result holds other ones where memory ran out.
    data, order, epoch, count
        See `Stack`.

    Raises
    ------
    RuntimeError
        A single trial does not fit into the memory; mostly a `torch.OutOfMemoryError`.
    """
    finished: list[tuple[Stack, EpochTally]] = []
    waiting = list(blocks)
    while waiting:
        snapshots = [block.snapshot() if can_run_out(block) else None for block in waiting]
        failed = _run(waiting, data, order, epoch)
        halves: list[Stack] = []
        for block, snapshot in zip(waiting, snapshots, strict=True):
            if block not in failed:
                with _noting(block, failed):
                    finished.append((block, block.end_epoch(count=count)))
            if block not in failed:
                continue
            if snapshot is None or len(block.trials) == 1:
                raise failed[block]
            block.return_to(snapshot)
            halves += _halves(block)
            block.close()  # whoever called still holds it
        if failed:
            failed.clear()  # an error holds its frames, and they hold this dictionary
            give_back_memory()
        waiting = halves
    finished.sort(key=lambda pair: pair[0].trials)
    return finished


def without(blocks: list[Stack], leaving: set[int]) -> list[Stack]:
    """Return the blocks of the trials that stay; blocks that nobody leaves are the same."""
    return [
        block if leaving.isdisjoint(block.trials) else block.without(leaving)
        for block in blocks
        if not leaving.issuperset(block.trials)
    ]


def can_run_out(block: Stack) -> bool:
    """Whether memory may run out in an epoch, in a way that can be handled.

    A recorded step has all its memory. What is summed up at the end of an epoch is as large in
    each, and went well in the first, before which nothing is recorded.
    """
    return on_gpu(block) and not block.is_recorded


def on_gpu(block: Stack) -> bool:
    """Whether a block trains on CUDA."""
    return block.rates.device.type == "cuda"


def _run(
    blocks: list[Stack], data: TrainingPart, order: EpochOrder, epoch: int
) -> dict[Stack, BaseException]:
    """Take all steps of an epoch; return the blocks whose memory ran out."""
    failed: dict[Stack, BaseException] = {}
    if isinstance(data.images, Tensor):

        def train_epoch(block: Stack) -> None:
            with _noting(block, failed):
                block.begin_epoch(data, order, epoch)
                for _ in range(len(order.samples)):
                    block.step()

        _for_each(blocks, train_epoch)
        return failed
    # What is decoded on the way is decoded once, for all blocks.
    for block in blocks:
        with _noting(block, failed):
            block.begin_epoch(data, order, epoch)
    for images in data.images.batches(order.samples, epoch):
        on_device = images.to(order.samples.device, non_blocking=True)
        for block in blocks:
            if block not in failed:
                with _noting(block, failed):
                    block.step(on_device)
    return failed


def _for_each(blocks: list[Stack], action: Callable[[Stack], None]) -> None:
    """Do the same with every block; on CPU with as many threads as their work is worth."""
    threads = torch.get_num_threads()
    at_once, share = 1, threads
    first = blocks[0]
    if first.rates.device.type == "cpu":
        work = sum(block_operations(block) for block in blocks)
        if runs_in_threads(first.network, first.method):
            at_once = _worth(work, WORK_OF_A_BLOCK, min(threads, len(blocks)))
        share = _worth(work / at_once, WORK_OF_A_SHARE, threads // at_once)
    try:
        torch.set_num_threads(share)
        if at_once == 1:
            for block in blocks:
                action(block)
            return
        with ThreadPoolExecutor(
            at_once, initializer=torch.set_num_threads, initargs=(share,)
        ) as pool:
            for _ in pool.map(action, blocks):
                pass
    finally:
        torch.set_num_threads(threads)


def block_operations(block: Stack) -> int:
    """Estimate the operations of a step of all models of a block."""
    models = len(block.trials) * block.method.networks
    return models * step_operations(block.network, block.batch_size)


def _worth(work: float, of_one: float, most: int) -> int:
    """Return how many threads some work is worth."""
    return max(1, min(most, int(work / of_one)))


@contextmanager
def _noting(block: Stack, failed: dict[Stack, BaseException]) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not ran_out_of_memory(error):
            raise
        clear_frames(error)
        failed[block] = error


def _halves(block: Stack) -> list[Stack]:
    middle = len(block.trials) // 2
    first, second = range(middle), range(middle, len(block.trials))
    warnings.warn(
        f"the device ran out of memory with {len(block.trials)} trials side by side; going on "
        f"with {len(second)}",
        stacklevel=2,
    )
    return [block.select(list(first)), block.select(list(second))]
