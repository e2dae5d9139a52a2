"""A review from Python: of a notebook's own list and data, with the page in the background."""

from __future__ import annotations

import html
import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from s2e_optuna.data import DataSpec, NoisyData
from s2e_optuna.errors import InputError
from s2e_optuna.labels.suspect_list import Suspect, write_suspects
from s2e_optuna.listening import listen
from s2e_optuna.review.card_page import CardPage, Finished
from s2e_optuna.review.cards import Cards, list_path, read_cards
from s2e_optuna.review.corrected import Corrected, correct, write_labels
from s2e_optuna.review.decisions import DecisionFile, decisions_path
from s2e_optuna.review.samples import Prepare, Samples
from s2e_optuna.review.session import Review, View
from s2e_optuna.stored_names import LABELS_FILE, SUSPECTS_FILE

if TYPE_CHECKING:
    from s2e_optuna.data import InMemory


class Reviewing:
    """A review that goes on in the background; a context manager. Made by `review`.

    Attributes
    ----------
    address
        Of its page, for a browser on this machine.
    """

    def __init__(self, cards: Cards, path: Path, prepare: Prepare | None, port: int) -> None:
        self._cards, self._path = cards, path
        self._file = DecisionFile(decisions_path(path))
        self._samples = Samples(len(cards), prepare)
        self._review = Review(cards, self._file)
        page = CardPage(self._review, self._samples, self._finish)
        started: queue.Queue[str | InputError] = queue.Queue()

        def serve() -> None:
            try:
                listen(page, host="127.0.0.1", port=port, on_ready=started.put, ended=self._ended)
            except InputError as error:
                started.put(error)

        self._ended = threading.Event()
        threading.Thread(target=serve, daemon=True).start()
        address = started.get()
        if isinstance(address, InputError):
            self.close()
            raise address
        self.address = f"{address}{page.path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Say where it is, and how far."""
        return f"Reviewing({self.address!r}): {self.progress}"

    def _repr_html_(self) -> str:
        link = html.escape(self.address)
        return (
            f'<p><a href="{link}" target="_blank" rel="noopener">Review them here</a>. '
            f"{html.escape(self.progress)}</p>"
        )

    @property
    def progress(self) -> str:
        """How many are decided, how many of these were wrong, and what to expect of the rest."""
        return " ".join(self._review.progress(View()))

    def corrected(
        self, posterior_above: float | None = None, keep_unclear: bool = False
    ) -> Corrected:
        """Return the labels as they are now.

        Parameters
        ----------
        posterior_above, keep_unclear
            See `s2e_optuna.review.corrected.correct`.
        """
        decisions = {one.id: one for one in self._file.decisions}
        return correct(
            self._cards, decisions, posterior_above=posterior_above, keep_unclear=keep_unclear
        )

    def labels(self, posterior_above: float | None = None) -> dict[str, str]:
        """Return the label of each sample by its name, without those that nobody could tell.

        Parameters
        ----------
        posterior_above
            Take the proposal, too, where a listed label is wrong with more than this probability.
        """
        rows = self.corrected(posterior_above).rows
        return {name: label for name, label, _, _ in rows if label}

    def close(self) -> None:
        """End the page; decisions are on the disk, and `review` goes on with them."""
        self._ended.set()
        self._samples.close()
        self._file.close()

    def _finish(self) -> Finished:
        path, found = self._path.with_name(LABELS_FILE), self.corrected()
        write_labels(found, path)
        return Finished([found.words, f"Wrote {path}"])


def review(
    source: str | Path | Sequence[Suspect],
    data: DataSpec | NoisyData | InMemory | str | Path | None = None,
    *,
    folder: str | Path = Path("s2e-out") / "review",
    port: int = 0,
) -> Reviewing:
    """Look at labels that are probably wrong, on a page of this machine; return at once.

    Parameters
    ----------
    source
        Folder of a search or training, a list (see `s2e_optuna.review.cards.read_cards`), or rows
        such as `S2EClassifier.suspects_`.
    data
        What the list is about: a name or path, a pair (images, labels), or data that are loaded.
        Names of samples without names are their rows. None shows what the list says alone.
    folder
        Where list and decisions are kept if the source is no file.
    port
        Where to listen; 0 takes a free one.

    Raises
    ------
    InputError
        There is no such list, or another review has it open.

    Examples
    --------
    >>> from s2e_optuna.labels import Suspect
    >>> rows = [Suspect("3", "cat", "dog", 0.9, 0.1, 0.9, wrong_probability=0.8)]
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place, review(rows, folder=place) as reviewing:
    ...     print(reviewing.progress)
    0 of 1 decided. Of 1 card left about 1 is expected to be wrong.
    """
    if isinstance(source, str | Path):
        path = list_path(Path(source))
    else:
        path = Path(folder) / SUSPECTS_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        write_suspects(source, path)
    cards = read_cards(path)
    return Reviewing(cards, path, None if data is None else _preparing(data, cards), port)


def _preparing(data: Any, cards: Cards) -> Prepare:
    """Return what prepares samples of data that are in memory."""
    from s2e_optuna.review.prepare import prepare

    if isinstance(data, NoisyData):
        loaded = data
    elif isinstance(data, DataSpec):
        loaded = data.load()
    else:
        part = "auto" if isinstance(data, str | Path) else "noisy"  # so that all rows are listed
        loaded = DataSpec(data, validation=part).load()
    return lambda folder: prepare(loaded, cards.ids, folder)
