"""A column of texts in place of numbers; see `s2e_optuna.data.frozen_features`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from s2e_optuna.data.frozen_features import AskedFeatures, Encoded, FittedFeatures
from s2e_optuna.data.images import OnImages
from s2e_optuna.data.pretrained_vectors import VectorStore, vectors_folder
from s2e_optuna.data.projection import Projection
from s2e_optuna.data.table_columns import is_text
from s2e_optuna.data.text_networks import (
    TextNetwork,
    TextShard,
    digests_of_texts,
    text_network,
    vectors_of_texts,
)
from s2e_optuna.data.words import some
from s2e_optuna.errors import DataError

TEXT_COLUMNS = ("text", "sentence", "review", "comment", "content", "message", "body")
"""Columns taken as texts where the user names none: the first that exists."""

_VERSION = "s2e texts 1"


@dataclass(frozen=True, eq=False, kw_only=True)
class TextFeatures(FittedFeatures[TextNetwork]):
    """From a column of texts to what a network gets.

    Attributes
    ----------
    column, naming
        The column with the texts, and that which names the rows; None where there is none.
    """

    column: str
    naming: str | None

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
        store = _store(self.cache, self.network)
        found = vectors_of_texts(texts, self.network, store, device=device, progress=progress)
        return self.projection.apply(found)

    @property
    def _each(self) -> str:
        return "a text"

    def _found(self) -> TextNetwork:
        return text_network(self.name, self.function)

    def _settings(self) -> dict[str, Any]:
        return {"column": self.column, "naming": self.naming}

    @classmethod
    def _of_settings(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        return {"column": str(stored["column"]), "naming": stored["naming"]}


class Texts(AskedFeatures[TextNetwork, TextFeatures]):
    """Which features of texts are asked for."""

    def _found(self) -> TextNetwork:
        return text_network(self.name)

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
    ) -> Encoded[TextFeatures]:
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
        store = _store(self.cache, self.network)
        every = [text for some in texts.values() for text in some]

        def shard(rows: tuple[int, ...]) -> TextShard:
            return TextShard(
                name=self.network.name,
                identity=self.network.identity,
                texts=tuple(every[i] for i in rows),
                positions=rows,
            )

        vectors_of_texts(
            every,
            self.network,
            store,
            device=self.device,
            progress=self.progress,
            extract=self._elsewhere(shard),
        )

        def fit(projection: Projection) -> TextFeatures:
            return TextFeatures(
                name=self.name,
                weights=self.network.weights,
                projection=projection,
                cache=self.cache,
                column=column,
                naming=naming,
            )

        contents = {part: digests_of_texts(some) for part, some in texts.items()}
        return self._encoded(store, contents, fit)


def _store(cache: Path | None, network: TextNetwork) -> VectorStore:
    return VectorStore(vectors_folder(cache, _VERSION, network.identity))
