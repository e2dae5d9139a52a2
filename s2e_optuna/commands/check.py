"""``s2e check``: a person looks at a few labels of the validation part."""

from __future__ import annotations

import contextlib
from pathlib import Path

import typer

from s2e_optuna.commands.locations import shell
from s2e_optuna.commands.requests import CheckedData
from s2e_optuna.commands.takes import flags
from s2e_optuna.data import DataSpec, NoisyData
from s2e_optuna.data.words import count
from s2e_optuna.errors import InputError
from s2e_optuna.options import values
from s2e_optuna.review.answers import CANNOT_SAY, AnswerFile
from s2e_optuna.review.drawn import Card, picture, to_draw, words_of_row
from s2e_optuna.review.evidence import more_words, seen_words
from s2e_optuna.stored_names import folder_name

KEYS = "Enter: right, a class: that one, ?: cannot say, q: stop"

_MOST_CLASSES = 40
"""Classes that are listed at the beginning."""


def answers_path(data: DataSpec) -> Path:
    """Return where the answers go if nobody says."""
    return Path("s2e-out") / f"checked-{folder_name(data.label)}.csv"


def check_same_data(data: NoisyData, answers: AnswerFile) -> None:
    """Raise an InputError if the file holds answers about other data."""
    if answers.labels and not answers.labels.keys() & set(data.val_ids):
        raise InputError(
            f"the answers in {answers.path} are about other data: choose another file with --to."
        )
    wrong = set(answers.labels.values()) - {*data.class_names, CANNOT_SAY}
    if wrong:
        raise InputError(
            f"{answers.path} holds {min(wrong)!r}, which is no class: correct it, or choose "
            "another file with --to."
        )


def ask_on_page(
    cards: list[Card], data: NoisyData, answers: AnswerFile, command: str, port: int
) -> None:
    """Ask in the browser until Ctrl-C.

    Parameters
    ----------
    cards
        What was drawn.
    data
        Where it was drawn from.
    answers
        Where the answers go.
    command
        What to do next.
    port
        Where to listen; 0 takes a free one.
    """
    from s2e_optuna.listening import listen
    from s2e_optuna.review.page import Page

    page = Page(cards, data, answers, lambda: outcome(cards, answers, data), command)

    def announce(address: str) -> None:
        typer.echo(f"Check them at {address}{page.path} (Ctrl-C ends it)", err=True)

    with contextlib.suppress(KeyboardInterrupt):  # the way to end it
        listen(page, host="127.0.0.1", port=port, on_ready=announce)


def ask(cards: list[Card], data: NoisyData, answers: AnswerFile) -> None:
    """Ask about every card that has no answer yet, until all have one or the user stops.

    Parameters
    ----------
    cards
        What was drawn.
    data
        Where it was drawn from.
    answers
        Where the answers go.
    """
    left = [card for card in cards if card.id not in answers.labels]
    if not left:
        return
    shown = data.class_names[:_MOST_CLASSES]
    if all(name.isdecimal() for name in data.class_names):
        words = " ".join(shown)
    else:
        words = "  ".join(f"{number} {_plain(name)}" for number, name in enumerate(shown))
    more = ", …" if len(data.class_names) > len(shown) else ""
    typer.echo(f"Classes: {words}{more}")
    typer.echo(KEYS)
    done = len(cards) - len(left)
    for number, card in enumerate(left, start=done + 1):
        typer.echo(f"\n{number} of {len(cards)}: {_plain(card.file or card.id)}")
        if card.file is None:
            row = words_of_row(data, card)
            pixels = data.x_val[card.row].double().mean(0).numpy()
            typer.echo(picture(pixels) if row is None else _plain(row))
        label = _answer(card, data.class_names)
        if label is None:
            return
        answers.add(card.id, label)


def _answer(card: Card, class_names: tuple[str, ...]) -> str | None:
    """Return the label that a person gives; None to stop."""
    while True:
        try:
            said = input(f"Given label {_plain(card.given)}. Right? ").strip()
        except EOFError:
            typer.echo()
            return None
        if said in ("", "?", "q"):
            return {"": card.given, "?": CANNOT_SAY, "q": None}[said]
        if (label := _class_of(said, class_names)) is not None:
            return label
        typer.echo(f"{said} is no class. {KEYS}")


def _class_of(said: str, class_names: tuple[str, ...]) -> str | None:
    """Return the class that a person means: by its name, else by its number."""
    if said in class_names:
        return said
    alike = [name for name in class_names if name.lower() == said.lower()]
    if len(alike) == 1:
        return alike[0]
    if all(name.isdecimal() for name in class_names) or not said.isdecimal():
        return None
    return class_names[int(said)] if int(said) < len(class_names) else None


def outcome(cards: list[Card], answers: AnswerFile, data: NoisyData) -> str:
    """Say how many labels were wrong, what that says of all of them, and what more would say.

    Parameters
    ----------
    cards
        What was drawn.
    answers
        What was answered, perhaps about more than was drawn.
    data
        Where it was drawn from.
    """
    answered = {card.id: answers.labels[card.id] for card in cards if card.id in answers.labels}
    known = [card for card in cards if answered.get(card.id, CANNOT_SAY) != CANNOT_SAY]
    vain = len(answered) - len(known)
    words = []
    if known:
        wrong = sum(answered[card.id] != card.given for card in known)
        words.append(seen_words(wrong, len(known), " of all labels are"))
    if vain:
        words.append(f"Of {count(vain, 'sample')} nobody could say.")
    if left := len(cards) - len(answered):
        words.append(f"{left} of {len(cards)} are left: the same command goes on.")
    elif known:
        words.append(more_words(wrong, len(known), len(cards), len(to_draw(data))))
    return " ".join(words)


def search_command(data: CheckedData, checked: Path) -> str:
    """Return the command that searches with the answers."""
    given = {name: value for name, value in values(data).items() if name != "checked"}
    return shell("s2e", "search", *flags(DataSpec(**given, checked=checked)))


def _plain(text: str) -> str:
    """Return a text without characters that a terminal would obey."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
