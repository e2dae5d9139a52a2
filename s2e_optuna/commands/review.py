"""``s2e review``: a person looks at the labels of a list, and decides."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from s2e_optuna.commands.apply import apply_decisions
from s2e_optuna.commands.locations import shell
from s2e_optuna.commands.origin import Origin, origin_of
from s2e_optuna.commands.requests import ListedData
from s2e_optuna.listening import listen
from s2e_optuna.options import values
from s2e_optuna.review.card_page import CardPage, Finished
from s2e_optuna.review.cards import list_path, read_cards
from s2e_optuna.review.decisions import DecisionFile, decisions_path
from s2e_optuna.review.samples import Samples
from s2e_optuna.review.session import Review, View
from s2e_optuna.stored_names import MODEL_FILE


def run_review(source: Path, data: ListedData, port: int) -> list[str]:
    """Show a page until Ctrl-C.

    Parameters
    ----------
    source
        Folder of a search or training, or a list.
    data
        What the list is about, where that does not lie beside it.
    port
        Where to listen; 0 takes a free one.

    Returns
    -------
    list of str
        What was found, and what to do next, in sentences.

    Raises
    ------
    InputError
        There is no list, somebody else reviews it, or nothing can listen there.
    """
    path = list_path(source)
    cards = read_cards(path)

    def finish() -> Finished:
        found = apply_decisions(source, data=data)
        written = [f"Wrote {file}" for file in found.files.values()]
        return Finished([*found.sentences, *written], found.command)

    origin = origin_of(path, data)
    if (missing := _moved(origin)) is not None:
        typer.echo(
            f"warning: there is no {missing}, so the page shows none of the samples: name them "
            "with --data",
            err=True,
        )
    with (
        DecisionFile(decisions_path(path)) as file,
        Samples(len(cards), what_to_show(path, origin)) as samples,
    ):
        review = Review(cards, file, {} if origin is None else origin.decided_before)
        page = CardPage(review, samples, finish)

        def announce(address: str) -> None:
            typer.echo(f"Review them at {address}{page.path} (Ctrl-C ends it)", err=True)

        with contextlib.suppress(KeyboardInterrupt), _ended_by_signals():
            listen(page, host="127.0.0.1", port=port, on_ready=announce)
        said = review.progress(View())
        decided = bool(file.decisions)
    return [
        " ".join(said),
        *([f"Make labels of your decisions: {shell('s2e', 'apply', str(source))}"] * decided),
    ]


def _moved(origin: Origin | None) -> Path | None:
    """Return where the samples of a list were, if nothing is there any more."""
    if origin is None or origin.data.is_named:
        return None
    place = Path(str(origin.data.data)).expanduser()
    return None if place.exists() else place


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Treat SIGTERM and a closed terminal like Ctrl-C, so that what was prepared is removed."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def what_to_show(path: Path, origin: Origin | None) -> dict[str, Any] | None:
    """Return what `s2e_optuna.review.prepare` is asked; None where it is not known.

    Parameters
    ----------
    path
        The list.
    origin
        What it is about.
    """
    if origin is None:
        return None
    model = path.with_name(MODEL_FILE)
    return {
        "list": str(path.resolve()),
        "data": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in values(origin.data).items()
        },
        "model": str(model.resolve()) if model.is_file() else None,
    }
