"""What makes vectors of texts: sentence-transformers, hashed words, and a user's own function.

Each tells itself apart by its weights and by what it makes of some texts: of its tokens where it
has a tokenizer, of vectors where it is a function that nobody can look into.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2e_optuna.data.file_digests import Digests, digest_of
from s2e_optuna.data.images import OnImages
from s2e_optuna.data.pretrained_networks import (
    DAMAGED,
    check_connection,
    code_of,
    digest_of_weights,
    hub_address,
    readable,
)
from s2e_optuna.data.pretrained_vectors import (
    Compute,
    Computed,
    Floats,
    Shard,
    Vectors,
    VectorStore,
    fill,
)
from s2e_optuna.data.spec import SENTENCES, WORDS, is_own
from s2e_optuna.device import on_device, resolve_device
from s2e_optuna.errors import DataError
from s2e_optuna.own_code import import_function

Embed = Callable[[list[str], torch.device], Any]
"""From texts to an array [N, D], computed on a device where that is possible."""

HASHED = 1024
"""Numbers of a text by its hashed words."""

_BATCH = 128
"""Texts that are embedded at a time."""

_PROBES = [
    "A very good film, from Rome to Tōkyō: 7/10!",
    "it is BAD. " * 200,  # longer than most networks read
    "x",
]

_NAMES = "sentence-transformers:NAME, words, or package.module:function of your own"


@dataclass(frozen=True, eq=False)
class TextNetwork:
    """What makes vectors of texts.

    Attributes
    ----------
    name
        As users name it.
    embed
        Makes an array [N, D] of texts.
    weights
        Digest of its weights; empty where there are none that could be looked at.
    code
        What its vectors depend on beside weights and texts, as a text.
    """

    name: str
    embed: Embed
    weights: str = ""
    code: str = ""

    @cached_property
    def identity(self) -> str:
        """A digest of all that decides about the vector of a text."""
        text = f"{self.name}\0{self.weights}\0{self.code}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def vectors(self, texts: Sequence[str], device: torch.device) -> Floats:
        """Return vectors, float32 [N, D].

        Raises
        ------
        DataError
            The function fails, or returns something else.
        """
        try:
            made = self.embed(list(texts), device)
            found = np.asarray(made.numpy(force=True) if isinstance(made, torch.Tensor) else made)
            vectors: Floats = found.astype(np.float32)
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            if isinstance(error, DataError | torch.OutOfMemoryError):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{self.name} cannot take texts: {reason}") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise DataError(
                f"{self.name} returns an array {list(found.shape)} for {len(texts)} texts: let it "
                "return one vector for each, [N, D]"
            )
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            raise DataError(
                f"{self.name} gives NaN or infinite features for the text {texts[bad[0]][:60]!r}: "
                "leave such rows out, or let it give zeros"
            )
        return vectors


def text_network(name: str, function: Callable[..., Any] | None = None) -> TextNetwork:
    """Find what makes vectors of texts.

    Parameters
    ----------
    name
        ``"sentence-transformers:NAME"``, where NAME is that of a model or a folder with one;
        ``"words"``, hashed words and pairs of words; or ``"package.module:function"``. The
        function takes a list of texts and returns an array [N, D].
    function
        That function, where it is at hand.

    Raises
    ------
    DataError
        There is no such thing, or neither its weights nor a connection are there.
    """
    if function is not None or is_own(name):
        return _own(name, function)
    if name.startswith(SENTENCES):
        return _of_sentence_transformers(name)
    if name == WORDS:
        return TextNetwork(name, _hashed_words, code=f"{HASHED} hashed words and pairs 1")
    raise DataError(f"the features {name} are not those of texts: name {_NAMES}")


def vectors_of_texts(
    texts: Sequence[str],
    network: TextNetwork,
    store: VectorStore,
    *,
    device: str = "auto",
    progress: OnImages | None = None,
    extract: Compute | None = None,
) -> Vectors:
    """Return the vectors of texts; those that no earlier call has computed are computed now.

    Parameters
    ----------
    texts
        The texts.
    network
        What computes them.
    store
        Where they are kept.
    device
        Where to compute.
    progress
        Told how many of the new ones have been computed, and how many there are.
    extract
        Computes the vectors of texts at these positions, in place of this process.

    Raises
    ------
    DataError
        The network cannot take them.
    """
    place = resolve_device(device)
    digests = digests_of_texts(texts)

    def compute(new: Sequence[int]) -> Iterator[Computed]:
        # Of like length together: the shorter ones are filled up to the longest of a batch.
        ordered = sorted(new, key=lambda row: len(texts[row]), reverse=True)
        return _computed(texts, ordered, network, place) if extract is None else extract(ordered)

    fill(store, digests, compute, progress)
    return store.vectors(digests)


def _computed(
    texts: Sequence[str], rows: Sequence[int], network: TextNetwork, place: torch.device
) -> Iterator[Computed]:
    """Yield the vectors of texts in these rows."""
    for start in range(0, len(rows), _BATCH):
        some = list(rows[start : start + _BATCH])
        with on_device(place):
            found = network.vectors([texts[row] for row in some], place)
        yield some, found, []


@dataclass(frozen=True, eq=False, kw_only=True)
class TextShard(Shard):
    """Texts, which travel themselves.

    Attributes
    ----------
    texts
        The texts.
    """

    texts: tuple[str, ...]

    def compute(self) -> Computed:
        """See `Shard`."""
        network = _network(self.name)
        self.check(network.identity)
        rows, place = range(len(self.texts)), resolve_device(self.device)
        found = [some for _, some, _ in _computed(self.texts, rows, network, place)]
        return list(self.positions), np.concatenate(found), []


@lru_cache(maxsize=1)
def _network(name: str) -> TextNetwork:
    return text_network(name)


def digests_of_texts(texts: Sequence[str]) -> Digests:
    """Return a digest of each text, uint64 [N]."""
    return np.array([digest_of(text.encode()) for text in texts], dtype=np.uint64)


def _own(name: str, function: Callable[..., Any] | None) -> TextNetwork:
    makes = "takes a list of texts and returns an array [N, D]"
    own = import_function(name, "features", makes) if function is None else function
    network = TextNetwork(name, lambda texts, _: own(texts))
    # What it has loaded cannot be seen but in its vectors; the last bits are the machine's.
    shown = network.vectors(_PROBES, torch.device("cpu"))
    shown = np.round(shown / (np.abs(shown).max() or 1.0), 3) + 0.0
    return TextNetwork(name, network.embed, code=f"{code_of(own)}\0{shown.tobytes().hex()}")


def _hashed_words(texts: list[str], device: torch.device) -> Floats:
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(n_features=HASHED, ngram_range=(1, 2), dtype=np.float32)
    found: Floats = hashing.transform(texts).toarray()
    return found


def _of_sentence_transformers(name: str) -> TextNetwork:
    # The library is imported last: it takes seconds, and what is missing is to be said at once.
    if not _is_installed("sentence_transformers"):
        raise DataError(
            f"the features {name} need sentence-transformers: install s2e-optuna[text]"
        )
    own = name.removeprefix(SENTENCES)
    place = Path(own).expanduser()
    is_path = own.startswith((".", "/", "~")) or own.count("/") > 1
    if not own or (is_path and not place.is_dir()):
        raise DataError(f"there is no folder {own!r} with a model: give {SENTENCES}NAME or a path")
    is_there = place.is_dir() or _is_kept(own)
    if not is_there:
        hub = importlib.import_module("huggingface_hub")
        check_connection(name, hub_address(), str(hub.constants.HF_HUB_CACHE))
    library = importlib.import_module("sentence_transformers")
    advice = (
        "give a folder that SentenceTransformer.save has written" if place.is_dir() else DAMAGED
    )
    with readable(name, str(place) if place.is_dir() else "the hub's cache", advice):
        # What is there is taken as it is: the library would try a missing connection for a minute.
        model = library.SentenceTransformer(
            str(place) if place.is_dir() else own, device="cpu", local_files_only=is_there
        )
        tokens = model.preprocess(_PROBES)
    model.eval().requires_grad_(False)
    said = sorted((key, np.asarray(value).tolist()) for key, value in tokens.items())
    version = importlib.metadata.version("sentence-transformers")
    about = (model.max_seq_length, model.prompts, model.default_prompt_name)
    code = f"{version}\0{model}\0{about}\0{said}"

    def embed(texts: list[str], device: torch.device) -> Any:
        return model.to(device).encode(
            texts, batch_size=32, show_progress_bar=False, convert_to_numpy=True, device=device
        )

    return TextNetwork(name, embed, digest_of_weights(model), code)


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _is_kept(name: str) -> bool:
    """Whether a model of the hub is on this machine."""
    hub = importlib.import_module("huggingface_hub")
    repositories = [name] if "/" in name else [f"sentence-transformers/{name}", name]
    return any(
        isinstance(hub.try_to_load_from_cache(repository, file), str)
        for repository in repositories
        for file in ("modules.json", "config.json")
    )
