"""The trials of a training in shards: as many as a CPU trains fastest, or a GPU has memory for.

Trials do not depend on each other, so a shard trains a whole epoch before the next one begins:
what is used again and again then stays in the cache. On CPU every thread trains a shard of its
own: threads that share the small products of one shard mostly wait for each other. Only where a
single trial is work enough do threads share it, or where sharing changes no bit: what a trial
comes to must not depend on which other trials there are. A shard that runs out of memory goes back
to the start of the epoch and on in two halves. For that its state is copied to the CPU beforehand,
in epochs whose steps ask for memory.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.device import free_memory, using_threads
from s2e_optuna.training.epoch_buffers import EpochTally
from s2e_optuna.training.memory import clear_frames, give_back_memory, ran_out_of_memory
from s2e_optuna.training.parts import EpochOrder, TrainingPart
from s2e_optuna.training.setup import Setup, step_operations
from s2e_optuna.training.stack import Stack

MEMORY_SHARE = 0.7
"""Share of the free memory of a GPU that is planned with; libraries and fragments need some."""

COPIES_OF_PARAMETERS = 5
"""Parameter, gradient, two moments, and what is copied where a gradient has another layout."""

COPIES_OF_OUTPUTS = 3
"""A layer's output, what its gradient needs besides, and the gradient."""

WORK_OF_A_SHARD = 4e7
"""Operations of a step below which a shard is not worth a thread: threads take turns in Python.

Measured with two threads beside one, for `mlp` with 64 to 784 inputs, 1 to 8 models and batches of
16 and 64: slower by up to 1.9 times below, faster by up to 1.8 times above.
"""

WORK_OF_A_SHARE = 1.25e8
"""The same for a thread that shares the products of one shard: up to 3.5 times slower below."""

WORK_OF_A_FIXED_SHARE = 4e9
"""The same where the number of threads must not depend on how many trials there are.

A single trial then takes several threads also among others, which could have one each. Measured
with two threads for networks with convolutions that are run in a loop, processor time of shared
shards beside such with a thread each: 1.1 to 1.8 times below, 1.0 to 1.07 times above.
"""


def make_shards(setup: Setup, rates: NDArray[np.float64]) -> list[Stack]:
    """Make the networks of all trials, with their first weights.

    Parameters
    ----------
    setup
        What all trials have in common.
    rates
        R(t) of each trial, float64 [P, T].
    """
    trials = range(len(rates))
    size = trials_per_shard(setup, len(rates))
    return [
        Stack.fresh(setup, rates[i : i + size], trials[i : i + size])
        for i in range(0, len(rates), size)
    ]


def trials_per_shard(setup: Setup, trials: int) -> int:
    """Choose how many trials train side by side; shards are about equally large.

    On CPU the network's own measured number counts, and that every thread gets a shard; on CUDA
    the free memory.
    """
    networks, at_once = setup.method.networks, 1
    if setup.device.type == "cpu":
        fitting = max(1, setup.network.models_side_by_side // networks)
        at_once, _ = divided_threads(setup, trials, trials)
    else:
        room = int(MEMORY_SHARE * free_memory(setup.device))
        of_one = networks * model_bytes(setup)
        # With several shards, one warms up beside the memory of the others' recorded steps.
        fitting = max(1, room // of_one if trials * of_one <= room else room // (2 * of_one))
    shards = at_once * math.ceil(trials / fitting / at_once)
    return math.ceil(trials / shards)


def runs_in_threads(setup: Setup) -> bool:
    """Whether shards may train at the same time: nothing they use belongs to the process."""
    return setup.method.runs_in_threads and not setup.network.uses_host_randomness


def divided_threads(setup: Setup, trials: int, shards: int) -> tuple[int, int]:
    """Divide this process's threads on CPU among shards.

    Parameters
    ----------
    setup
        What all trials have in common.
    trials, shards
        How many there are, of at most so many shards.

    Returns
    -------
    tuple of int
        Shards that train at the same time, and the threads of each. Only where the latter
        changes no bit does it depend on how many trials there are.
    """
    threads, network = torch.get_num_threads(), setup.network
    of_one = setup.method.networks * step_operations(network, setup.batch_size)
    share = 1
    if network.cpu_threads == "same":
        share = _worth(of_one, WORK_OF_A_FIXED_SHARE, threads)
    at_once = 1
    if runs_in_threads(setup):
        at_once = _worth(trials * of_one, WORK_OF_A_SHARD, min(threads // share, shards))
    if network.cpu_threads == "any":
        share = _worth(trials * of_one / at_once, WORK_OF_A_SHARE, threads // at_once)
    return at_once, share


def model_bytes(setup: Setup) -> int:
    """Estimate the bytes that one model needs in training."""
    footprint = setup.network.footprint
    copies = COPIES_OF_PARAMETERS + (setup.config.stop == "best")
    outputs = COPIES_OF_OUTPUTS * setup.batch_size * footprint.total
    return 4 * (copies * footprint.parameters + outputs)


def train_shards(
    shards: list[Stack], data: TrainingPart, order: EpochOrder, epoch: int, *, count: bool
) -> list[tuple[Stack, EpochTally]]:
    """Train every shard for an epoch.

    Parameters
    ----------
    shards
        All shards; the result holds other ones where memory ran out.
    data, order, epoch, count
        See `Stack`.

    Raises
    ------
    RuntimeError
        A single trial does not fit into the memory; mostly a `torch.OutOfMemoryError`.
    """
    finished: list[tuple[Stack, EpochTally]] = []
    waiting = list(shards)
    while waiting:
        snapshots = [shard.snapshot() if can_run_out(shard) else None for shard in waiting]
        failed = _run(waiting, data, order, epoch)
        halves: list[Stack] = []
        for shard, snapshot in zip(waiting, snapshots, strict=True):
            if shard not in failed:
                with _noting(shard, failed):
                    finished.append((shard, shard.end_epoch(count=count)))
            if shard not in failed:
                continue
            if snapshot is None or len(shard.trials) == 1:
                raise failed[shard]
            shard.return_to(snapshot)
            halves += _halves(shard)
            shard.close()  # whoever called still holds it
        if failed:
            failed.clear()  # an error holds its frames, and they hold this dictionary
            give_back_memory()
        waiting = halves
    finished.sort(key=lambda pair: pair[0].trials)
    return finished


def without(shards: list[Stack], leaving: set[int]) -> list[Stack]:
    """Return the shards of the trials that stay; shards that nobody leaves are the same."""
    return [
        shard if leaving.isdisjoint(shard.trials) else shard.without(leaving)
        for shard in shards
        if not leaving.issuperset(shard.trials)
    ]


def can_run_out(shard: Stack) -> bool:
    """Whether memory may run out in an epoch, in a way that can be handled.

    A recorded step has all its memory. What is summed up at the end of an epoch is as large in
    each, and went well in the first, before which nothing is recorded.
    """
    return on_gpu(shard) and not shard.is_recorded


def on_gpu(shard: Stack) -> bool:
    """Whether a shard trains on CUDA."""
    return shard.setup.device.type == "cuda"


def _run(
    shards: list[Stack], data: TrainingPart, order: EpochOrder, epoch: int
) -> dict[Stack, BaseException]:
    """Take all steps of an epoch; return the shards whose memory ran out."""
    failed: dict[Stack, BaseException] = {}
    if isinstance(data.images, Tensor):
        at_once, share = _threads_of(shards, len(shards))

        def train_epoch(shard: Stack) -> None:
            with _noting(shard, failed):
                shard.begin_epoch(data, order, epoch)
                for _ in range(len(order.samples)):
                    shard.step()

        _for_each(shards, train_epoch, at_once, share)
        return failed
    # What is decoded on the way is decoded once, for all shards.
    for shard in shards:
        with _noting(shard, failed):
            shard.begin_epoch(data, order, epoch)
    _, share = _threads_of(shards, 1)
    with using_threads(share):
        for images in data.images.batches(order.samples, epoch):
            for shard in shards:
                if shard not in failed:
                    with _noting(shard, failed):
                        shard.step(images)
    return failed


def _threads_of(shards: list[Stack], most: int) -> tuple[int, int]:
    """Say how many shards train at the same time, up to `most`, and the threads of each."""
    setup = shards[0].setup
    if setup.device.type != "cpu":
        return 1, torch.get_num_threads()
    return divided_threads(setup, sum(len(shard.trials) for shard in shards), most)


def _for_each(
    shards: list[Stack], action: Callable[[Stack], None], at_once: int, share: int
) -> None:
    """Do the same with every shard, so many at the same time and with so many threads each."""
    with using_threads(share):
        if at_once == 1:
            for shard in shards:
                action(shard)
            return
        with ThreadPoolExecutor(
            at_once, initializer=torch.set_num_threads, initargs=(share,)
        ) as pool:
            for _ in pool.map(action, shards):
                pass


def _worth(work: float, of_one: float, most: int) -> int:
    """Return how many threads some work is worth."""
    return max(1, min(most, int(work / of_one)))


@contextmanager
def _noting(shard: Stack, failed: dict[Stack, BaseException]) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not ran_out_of_memory(error):
            raise
        clear_frames(error)
        failed[shard] = error


def _halves(shard: Stack) -> list[Stack]:
    middle = len(shard.trials) // 2
    first, second = range(middle), range(middle, len(shard.trials))
    warnings.warn(
        f"the device ran out of memory with {len(shard.trials)} trials side by side; going on "
        f"with {len(second)}",
        stacklevel=2,
    )
    return [shard.select(list(first)), shard.select(list(second))]
