"""A column of texts in place of numbers: what is asked, and what is fitted.

| step | what it does |
|---|---|
| network | makes a vector of a text: see `s2e_optuna.data.text_networks` |
| projection | centre, principal components, scale: see `s2e_optuna.data.projection` |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from s2e_optuna.data.file_digests import Digests
from s2e_optuna.data.images import OnImages
from s2e_optuna.data.pretrained_vectors import VectorStore, vectors_folder
from s2e_optuna.data.projection import Projection, fitted_projection
from s2e_optuna.data.table_columns import is_text
from s2e_optuna.data.text_networks import (
    TextNetwork,
    digests_of_texts,
    text_network,
    vectors_of_texts,
)
from s2e_optuna.data.words import some
from s2e_optuna.errors import DataError

TEXT_COLUMNS = ("text", "sentence", "review", "comment", "content", "message", "body")
"""Columns taken as texts where the user names none: the first that exists."""

_VERSION = "s2e texts 1"


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """From a column of texts to what a network gets; all that was fitted, and nothing that runs.

    Attributes
    ----------
    name
        What makes vectors of texts, as `text_network` takes it.
    weights
        Digest of its weights.
    column, naming
        The column with the texts, and that which names the rows; None where there is none.
    projection
        What becomes of the vectors.
    function
        What makes the vectors, where it is the user's own.
    cache
        Folder for vectors; None keeps none.
    """

    name: str
    weights: str
    column: str
    naming: str | None
    projection: Projection
    function: Callable[..., Any] | None = None
    cache: Path | None = None

    @cached_property
    def network(self) -> TextNetwork:
        """What makes vectors of texts.

        Raises
        ------
        DataError
            It is not there, or its weights are others than those in training.
        """
        found = text_network(self.name, self.function)
        if found.weights != self.weights:
            raise DataError(
                f"the weights of {self.name} are others than those that the model was trained "
                "on: give it the same ones"
            )
        return found

    def texts(self, columns: Mapping[str, Sequence[str]], where: str) -> Sequence[str]:
        """Take the texts out of a table.

        Parameters
        ----------
        columns
            Cells of each column by name.
        where
            The table, for messages.

        Raises
        ------
        DataError
            The column is missing.
        """
        if self.column not in columns:
            raise DataError(
                f"{where} lacks the column {self.column}, whose texts the model was trained on: "
                "add it"
            )
        return columns[self.column]

    def encode(
        self, texts: Sequence[str], device: str = "auto", progress: OnImages | None = None
    ) -> Tensor:
        """Return what the network gets of texts, float32 [N, 1, 1, K].

        Parameters
        ----------
        texts
            The texts.
        device
            Where vectors are computed.
        progress
            Told how many have been done, and how many there are.
        """
        store = VectorStore(vectors_folder(self.cache, _VERSION, self.network.identity))
        found = vectors_of_texts(texts, self.network, store, device=device, progress=progress)
        return self.projection.apply(found)

    @property
    def identity(self) -> str:
        """What makes features others, in words, without what depends on all samples."""
        return f"features {self.name} {self.weights[:8]}".rstrip()

    @property
    def words(self) -> str:
        """What was done, as a sentence."""
        return f"features of {self.name}: {self.projection.words('a text')}"

    def stored(self) -> tuple[str, dict[str, Tensor]]:
        """Return it as a text (JSON) and arrays, to be kept with a model."""
        text = {
            "name": self.name,
            "weights": self.weights,
            "column": self.column,
            "naming": self.naming,
            **self.projection.numbers,
        }
        return json.dumps(text), self.projection.tensors

    @classmethod
    def from_stored(
        cls,
        text: str,
        arrays: Mapping[str, Tensor],
        function: Callable[..., Any] | None = None,
        cache: Path | None = None,
    ) -> TextFeatures:
        """Make it again of what `stored` returned.

        Raises
        ------
        KeyError, ValueError, TypeError
            It is damaged.
        """
        found: dict[str, Any] = json.loads(text)
        return cls(
            str(found["name"]),
            str(found["weights"]),
            str(found["column"]),
            found["naming"],
            Projection.from_stored(found, arrays),
            function,
            cache,
        )


@dataclass(frozen=True, eq=False)
class Texts:
    """Which features of texts are asked for; see `s2e_optuna.data.load_data`.

    Attributes
    ----------
    name, components
        See `DataSpec` and `text_network`.
    device
        Where vectors are computed.
    cache
        Folder for vectors; None keeps none.
    progress
        Told how many texts have been done, and how many there are.
    fitted
        What is used in place of fitting it.
    """

    name: str
    components: int | None = None
    device: str = "auto"
    cache: Path | None = None
    progress: OnImages | None = None
    fitted: TextFeatures | None = None
    network: TextNetwork = field(init=False)

    def __post_init__(self) -> None:
        # At once: weights that are missing are said before anything is read.
        network = text_network(self.name) if self.fitted is None else self.fitted.network
        object.__setattr__(self, "network", network)

    def column(
        self, path: Path, cells: Mapping[str, Sequence[str]], roles: Mapping[str, str | None]
    ) -> str:
        """Return which column of a table has the texts.

        Parameters
        ----------
        path
            The table, for messages.
        cells
            Cells of each column by name.
        roles
            What columns are already; ``text_column`` is the one that the user names.

        Raises
        ------
        DataError
            There is none, or more than one might be.
        """
        if self.fitted is not None:
            self.fitted.texts(cells, str(path))
            return self.fitted.column
        if (named := roles["text_column"]) is not None:
            return named
        free = [name for name in cells if name not in roles.values()]
        lowered = {name.casefold(): name for name in reversed(free)}
        usual = next((lowered[name] for name in TEXT_COLUMNS if name in lowered), None)
        if usual is not None:
            return usual
        found = [name for name in free if is_text(cells[name])]
        if len(found) == 1:
            return found[0]
        has = f"the columns of texts {some(found)}" if found else "no column of texts"
        raise DataError(
            f"{path} has {has}, and --features {self.name} reads one: name it with --text-column, "
            "or leave --features out"
        )

    def encode(
        self, texts: Mapping[str, Sequence[str]], column: str, naming: str | None
    ) -> EncodedTexts:
        """Turn the texts of all parts into what a network gets, fitted on those to train.

        Parameters
        ----------
        texts
            Of each part.
        column, naming
            See `TextFeatures`.

        Raises
        ------
        DataError
            The network cannot take them.
        """
        store = VectorStore(vectors_folder(self.cache, _VERSION, self.network.identity))
        vectors_of_texts(
            [text for some in texts.values() for text in some],
            self.network,
            store,
            device=self.device,
            progress=self.progress,
        )
        contents = {part: digests_of_texts(some) for part, some in texts.items()}
        vectors = {part: store.vectors(some) for part, some in contents.items()}
        fitted = self.fitted or TextFeatures(
            self.name,
            self.network.weights,
            column,
            naming,
            fitted_projection(store.folder, vectors["train"], contents["train"], self.components),
            cache=self.cache,
        )
        made = {part: fitted.projection.apply(some) for part, some in vectors.items()}
        return EncodedTexts(made, fitted, contents)


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """Texts that have become vectors.

    Attributes
    ----------
    numbers
        What a network gets of each part, float32 [N, 1, 1, K].
    encoder
        What has made it.
    contents
        A digest of each text, by part.
    """

    numbers: dict[str, Tensor]
    encoder: TextFeatures
    contents: dict[str, Digests]
