"""Validation samples to check, drawn at random, and what the answers say of all labels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data import NoisyData
from s2e_optuna.data.noisy_data import NOT_CHECKED
from s2e_optuna.errors import InputError
from s2e_optuna.writable import whole_file


@dataclass(frozen=True)
class Card:
    """A sample to look at.

    Attributes
    ----------
    id
        Its name.
    given
        Name of its class in the data.
    row
        Its place in the validation part.
    file
        Path of its picture; None where it is no file.
    """

    id: str
    given: str
    row: int
    file: str | None


def draw(data: NoisyData, number: int, seed: int) -> list[Card]:
    """Draw samples of the validation part that a search on these data would cut.

    Parameters
    ----------
    data
        As the search loads them.
    number
        How many to draw; all if there are fewer. A larger number draws the same ones first.
    seed
        Another seed draws others.

    Raises
    ------
    InputError
        The labels of the validation part count as right, so there is nothing to check.
    """
    if data.validation != "noisy" or not data.val_ids:
        raise InputError(
            "the labels of the validation part count as right, so there is nothing to check: with "
            "--validation noisy a part of the training data validates, whose labels are not sure."
        )
    rows = np.random.default_rng([seed, 20]).permutation(to_draw(data))[:number].tolist()
    files = data.files.get("val")
    given = data.y_val.tolist()
    return [
        Card(
            data.val_ids[row],
            data.class_names[given[row]],
            row,
            None if files is None else files[row],
        )
        for row in rows
    ]


def to_draw(data: NoisyData) -> NDArray[np.int64]:
    """Return rows of the validation part [n] that no column of the data has checked."""
    if data.val_checked is None:
        return np.arange(len(data.val_ids))
    return np.flatnonzero(data.val_checked.numpy() == NOT_CHECKED)


def write_drawn(cards: list[Card], path: Path) -> None:
    """Write what was drawn as CSV (``id, given_label``), for those who check elsewhere."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "given_label"))
        writer.writerows((card.id, card.given) for card in cards)


def words_of_row(data: NoisyData, card: Card) -> str | None:
    """Return the text of a sample, or the numbers of one that is a row; None of a picture."""
    if "val" in data.texts:
        return data.texts["val"][card.row]
    if card.file is not None or data.x_val.shape[2] > 1:
        return None
    return in_words(data.x_val[card.row].double().mean((0, 1)).tolist())


def in_words(numbers: Sequence[float]) -> str:
    """Write the numbers of a sample; of very many the first."""
    more = ", …" if len(numbers) > _MOST_NUMBERS else ""
    return ", ".join(f"{value:g}" for value in numbers[:_MOST_NUMBERS]) + more


def picture(pixels: NDArray[np.float64]) -> str:
    """Draw a small picture in characters, the brighter the denser.

    Parameters
    ----------
    pixels
        Brightness [height, width], on any scale.
    """
    step = -(-max(pixels.shape) // 32)
    small = pixels[::step, ::step]
    low, high = float(small.min()), float(small.max())
    levels = np.rint((small - low) / ((high - low) or 1.0) * (len(_SHADES) - 1)).astype(int)
    return "\n".join("".join(_SHADES[level] * 2 for level in line).rstrip() for line in levels)


_MOST_NUMBERS = 30

_SHADES = " .:-=+*#%@"
