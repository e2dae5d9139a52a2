"""Features of a frozen network: what is asked and what is fitted, for images as for texts.

| step | what it does |
|---|---|
| network | makes a vector of a sample, with the preprocessing that belongs to it |
| projection | centre, principal components, scale: see `s2e_optuna.data.projection` |
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from torch import Tensor

from s2e_optuna.data.file_digests import Digests
from s2e_optuna.data.images import OnImages
from s2e_optuna.data.pretrained_vectors import (
    SHARD,
    Compute,
    Computed,
    Extract,
    Shard,
    VectorStore,
)
from s2e_optuna.data.projection import Projection, fitted_projection
from s2e_optuna.errors import DataError, check_integer


class Network(Protocol):
    """What makes vectors, and how it is told from others."""

    @property
    def weights(self) -> str:
        """Digest of its weights."""

    @property
    def identity(self) -> str:
        """Digest of all that decides about a vector."""


AnyNetwork = TypeVar("AnyNetwork", bound=Network)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedFeatures(ABC, Generic[AnyNetwork]):
    """From samples to what the head of a model gets; all that was fitted, and nothing that runs.

    Attributes
    ----------
    name
        The network, as users name it.
    weights
        Digest of its weights.
    projection
        What becomes of the vectors.
    function
        What builds the network or makes the vectors, where it is the user's own.
    cache
        Folder for vectors and digests; None keeps none.
    """

    name: str
    weights: str
    projection: Projection
    function: Callable[..., Any] | None = None
    cache: Path | None = None

    @cached_property
    def network(self) -> AnyNetwork:
        """The network.

        Raises
        ------
        DataError
            It is not there, or its weights are others than those in training.
        """
        found = self._found()
        if found.weights != self.weights:
            raise DataError(
                f"the weights of {self.name} are others than those that the model was trained "
                "on: give it the same ones"
            )
        return found

    @property
    def identity(self) -> str:
        """What makes features others, in words, without what depends on all samples."""
        return f"features {self.name} {self.weights[:8]}".rstrip()

    @property
    def words(self) -> str:
        """What was done, as a sentence."""
        return f"features of {self.name}: {self.projection.words(self._each)}"

    def stored(self) -> tuple[str, dict[str, Tensor]]:
        """Return it as a text (JSON) and arrays, to be kept with a model."""
        text = {"name": self.name, "weights": self.weights, **self._settings()}
        return json.dumps({**text, **self.projection.numbers}), self.projection.tensors

    @classmethod
    def from_stored(
        cls,
        text: str,
        arrays: Mapping[str, Tensor],
        function: Callable[..., Any] | None = None,
        cache: Path | None = None,
    ) -> Self:
        """Make it again of what `stored` returned.

        Raises
        ------
        KeyError, ValueError, TypeError
            It is damaged.
        """
        found: dict[str, Any] = json.loads(text)
        return cls(
            name=str(found["name"]),
            weights=str(found["weights"]),
            projection=Projection.from_stored(found, arrays),
            function=function,
            cache=cache,
            **cls._of_settings(found),
        )

    @property
    @abstractmethod
    def _each(self) -> str:
        """A sample, in words."""

    @abstractmethod
    def _found(self) -> AnyNetwork:
        """Find the network."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """Return what else is stored."""

    @classmethod
    @abstractmethod
    def _of_settings(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that `_settings` has stored."""


Fitted = TypeVar("Fitted", bound=FittedFeatures[Any])

Maker = TypeVar("Maker", covariant=True)


@dataclass(frozen=True, eq=False)
class Encoded(Generic[Maker]):
    """Samples that have become vectors.

    Attributes
    ----------
    numbers
        What the head gets of each part, float32 [N, 1, 1, K].
    encoder
        What has made it.
    contents
        A digest of each sample, by part.
    """

    numbers: dict[str, Tensor]
    encoder: Maker
    contents: dict[str, Digests]


@dataclass(frozen=True, eq=False, kw_only=True)
class AskedFeatures(ABC, Generic[AnyNetwork, Fitted]):
    """Which features are asked for; see `s2e_optuna.data.load_data`.

    Attributes
    ----------
    name, components
        See `DataSpec`.
    device
        Where the network runs.
    cache
        Folder for vectors and digests; None keeps none.
    progress
        Told how many samples have been done, and how many there are.
    fitted
        What is used in place of fitting it.
    extract
        Computes vectors, in place of this process.
    """

    name: str
    components: int | None = None
    device: str = "auto"
    cache: Path | None = None
    progress: OnImages | None = None
    fitted: Fitted | None = None
    extract: Extract | None = None
    network: AnyNetwork = field(init=False)

    def __post_init__(self) -> None:
        if self.components is not None:
            check_integer("components", self.components, 0)
        # At once: weights that are missing are said before anything is read.
        network = self._found() if self.fitted is None else self.fitted.network
        object.__setattr__(self, "network", network)

    @abstractmethod
    def _found(self) -> AnyNetwork:
        """Find the network."""

    def _encoded(
        self,
        store: VectorStore,
        contents: dict[str, Digests],
        fit: Callable[[Projection], Fitted],
    ) -> Encoded[Fitted]:
        """Return what the head gets of vectors that are there, fitted on those to train."""
        vectors = {part: store.vectors(some) for part, some in contents.items()}
        fitted = self.fitted
        if fitted is None:
            train = vectors["train"], contents["train"]
            fitted = fit(fitted_projection(store.folder, *train, self.components))
        numbers = {part: fitted.projection.apply(some) for part, some in vectors.items()}
        return Encoded(numbers, fitted, contents)

    def _elsewhere(self, shard: Callable[[tuple[int, ...]], Shard]) -> Compute | None:
        """Return what lets others compute vectors, if somebody does.

        Parameters
        ----------
        shard
            Makes one of samples at these positions.
        """
        if (extract := self.extract) is None:
            return None

        def compute(new: Sequence[int]) -> Iterator[Computed]:
            starts = range(0, len(new), SHARD)
            return extract([shard(tuple(new[start : start + SHARD])) for start in starts])

        return compute
