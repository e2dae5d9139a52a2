"""Features of images and texts, computed in shards on a Ray cluster; kept by the one that asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from s2e_optuna.data.pretrained_vectors import Computed, Shard
from s2e_optuna.errors import DataError
from s2e_optuna.search.ray_pool import connected, gpus_of, import_ray
from s2e_optuna.search.watch import SearchError

RETRIES = 3
"""How often a shard is computed anew where its node was lost."""

_AHEAD = 2
"""Shards for each worker that are handed out: it never waits for the next one."""


@dataclass(frozen=True)
class RayShards:
    """Computes shards on a cluster: all nodes see image files under the same paths.

    Attributes
    ----------
    workers
        Tasks that run at once, as far as the cluster has room.
    gpus
        GPUs of each; see `RayPool`.
    """

    workers: int
    gpus: float | None = 0.0

    def __call__(self, shards: Sequence[Shard]) -> Iterator[Computed]:
        """Yield what is computed, as it comes.

        Raises
        ------
        DataError
            Network or images are not on a node as they are here.
        SearchError
            Ray is not installed, or a shard's nodes were lost again and again.
        """
        if not shards:
            return
        ray = import_ray()
        with connected(ray):
            yield from self._computed(ray, shards)

    def _computed(self, ray: Any, shards: Sequence[Shard]) -> Iterator[Computed]:
        gpus = gpus_of(ray, self.gpus)
        # Ray itself gives the shard of a lost node to another one.
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_compute)
        left = [replace(one, device="cuda" if gpus else "cpu") for one in reversed(shards)]
        waiting: list[Any] = []
        try:
            while left or waiting:
                while left and len(waiting) < _AHEAD * self.workers:
                    waiting.append(remote.remote(left.pop()))
                ready, waiting = ray.wait(waiting)
                for task in ready:
                    yield _result(ray, task)
        finally:
            for task in waiting:
                ray.cancel(task)


def _compute(shard: Shard) -> Computed:
    """Compute a shard: what each task runs."""
    return shard.compute()


def _result(ray: Any, task: Any) -> Computed:
    try:
        found: Computed = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DataError):
            raise error.cause from error
        raise SearchError(
            f"the features ended with: {type(error.cause).__name__}: {error.cause}"
        ) from error
    except ray.exceptions.RayError as error:  # killed, or its node is gone
        raise SearchError(
            f"some samples were lost {RETRIES + 1} times with what computed their features "
            f"({type(error).__name__}): the same command goes on with those that are left."
        ) from error
    return found
