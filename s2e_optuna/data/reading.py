"""What every reader says: what data were taken for, and what about them is in the way."""

from __future__ import annotations

from collections.abc import Sequence, Sized

import torch
from torch import Tensor

from s2e_optuna.data.words import count

FEW = 100
"""Clean validation samples below which chance decides between schedules."""

FEW_OF_A_CLASS = 3
"""Training samples of a class below which it is hardly learnt."""

LARGEST_CLASS = 0.9
"""Share of the training labels above which one class makes accuracies say little."""

_SOURCES = {"val": "", "test": " (half of the test part)", "train": " (cut from those to train)"}


def reading_words(
    layout: str,
    n_train: int,
    val: tuple[str, Sized],
    test: tuple[str, Sized] | None,
    n_classes: int,
) -> str:
    """Return the first sentence: what the data were taken for, and the sizes of their parts.

    Parameters
    ----------
    layout
        What they were taken for.
    n_train
        Number of training samples.
    val, test
        Where these parts come from, and their samples.
    n_classes
        Number of classes.
    """
    words = f"read as {layout}: {n_train:,} to train, {len(val[1]):,} to validate"
    words += _SOURCES[val[0]]
    if test is not None:
        words += f", {len(test[1]):,} to test"
    return f"{words}; {count(n_classes, 'class', 'classes')}"


def warning_words(
    given: Tensor, class_names: Sequence[str], y_val: Tensor, val_is_noisy: bool
) -> tuple[str, ...]:
    """Return what is likely to disappoint, in sentences.

    Parameters
    ----------
    given
        Training labels, int64 [N].
    class_names
        Names of the classes.
    y_val
        Labels of the validation part.
    val_is_noisy
        Whether these are as noisy as the others.
    """
    found = []
    counts = torch.bincount(given, minlength=len(class_names))
    largest = int(counts.argmax())
    share = float(counts[largest]) / len(given)
    if share > LARGEST_CLASS:
        found.append(
            f"warning: {share:.1%} of the training labels are {class_names[largest]}, so a "
            "network that always says so is as accurate: --metric balanced_accuracy counts all "
            "classes alike"
        )
    small = [name for name, n in zip(class_names, counts.tolist(), strict=True)
             if n < FEW_OF_A_CLASS]  # fmt: skip
    if small:
        more = f" and {len(small) - 3} more" if len(small) > 3 else ""
        found.append(
            f"warning: fewer than {FEW_OF_A_CLASS} training samples of "
            f"{count(len(small), 'class', 'classes')} ({', '.join(small[:3])}{more}): they can "
            "hardly be learnt, and their labels not judged"
        )
    if len(y_val) < FEW:
        remedy = "add data"
        if not val_is_noisy:
            remedy = "add more, or compare on a part of the training data, --validation noisy"
        found.append(
            f"warning: {count(len(y_val), 'validation sample')} "
            f"{'is' if len(y_val) == 1 else 'are'} too few to choose schedules by: {remedy}"
        )
    return tuple(found)
