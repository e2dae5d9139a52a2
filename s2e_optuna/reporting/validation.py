"""What schedules were compared on, in words: every result says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s2e_optuna.data import NoisyData

_SOURCES = {
    "val": "of the validation part",
    "test": "that are half of the test part",
    "train": "cut from the training data",
}


def validation_words(data: NoisyData, what: str = "Schedules were compared") -> str:
    """Say which samples validated, whether their labels count as right, and what if they are not.

    Parameters
    ----------
    data
        What was trained on.
    what
        Beginning of the sentence: what was done on these samples.
    """
    samples = f"{what} on the {len(data.y_val):,} samples {_SOURCES[data.validation_source]}"
    if data.val_checked is not None:
        known = int((data.val_checked >= 0).sum())
        return (
            f"{samples}; {known} of their labels are checked, and the others count by what these "
            "say of them. Such accuracies put trainings in order; they are lower than the truth."
        )
    if data.validation == "noisy":
        return (
            f"{samples}; their labels are as noisy as the rest. Accuracies on them are lower than "
            "the truth. Where wrong labels are spread evenly they rank schedules well all the "
            "same; where one class is taken for one certain other (pair noise) they may rank "
            "wrongly, and only labels that somebody has checked tell: s2e check, a minute for "
            "twenty, and then --checked FILE."
        )
    if data.validation_source == "train":
        return f"{samples}, with their true labels."
    words = f"{samples}. Their labels are taken to be right; if they are not: --validation noisy."
    if data.validation_source == "test" and data.y_test is not None:
        words += f" Test accuracy is measured on the other {len(data.y_test):,}."
    return words
