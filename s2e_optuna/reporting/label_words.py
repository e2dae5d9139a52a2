"""What is said of a list of suspects, in the terminal and on the report's page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from s2e_optuna.reporting.terminal import share
from s2e_optuna.reporting.validation import ASSUMED

if TYPE_CHECKING:
    from s2e_optuna.labels import Suspect
    from s2e_optuna.search.search import SearchResult

LARGEST_MATRIX = 12
"""Classes up to which pairs of given and predicted labels are shown as a matrix."""

_POOR_RECALL = 0.5
"""A list that should hold fewer of the wrong labels says that it is poor."""

Pairs = Counter[tuple[str, str]]
"""Samples by given and predicted class."""


def count_pairs(rows: Sequence[Suspect]) -> Pairs:
    """Count samples by given and predicted class."""
    return Counter((row.given, row.predicted) for row in rows)


def expected_words(
    listed: int, samples: int, wrong: float, precision: float | None, recall: float | None
) -> str:
    """Say how good a list should be, in sentences.

    Parameters
    ----------
    listed, samples
        Number of labels on the list, and of all that were judged.
    wrong
        Expected number of wrong labels among all.
    precision, recall
        Expected ones of the list; None where there is nothing to divide by.
    """
    all_of_them = f"about {wrong:,.0f} of all {samples:,} labels ({100 * wrong / samples:.0f} %)"
    if not listed and wrong < 1:
        return f"No label is expected to be wrong. {ASSUMED}"
    if not listed:
        words = f"None is more probably wrong than right, though {all_of_them} seem to be wrong."
    else:
        words = (
            f"About {100 * (precision or 0.0):.0f} % of these are expected to be wrong; "
            f"{all_of_them} seem to be."
        )
    if (recall or 0.0) >= _POOR_RECALL:
        return f"{words} {ASSUMED}"
    words += (
        " Either the networks are not good enough to name most of the wrong labels (more data, a "
        "larger network or more epochs help), or labels of the validation part are wrong, too "
        "(then --validation noisy)."
    )
    if listed:
        words += " The share among the listed may be lower: look at them before you change any."
    return words


def list_words(rows: Sequence[Suspect], validation: str, folds: int) -> str:
    """Say how many labels are listed and how good the list should be, or why nobody knows.

    Parameters
    ----------
    rows
        All that were judged.
    validation
        Whether the validation part was ``clean`` or ``noisy``.
    folds
        Folds of the cross-validation; 0 for none.
    """
    listed = sum(row.listed for row in rows)
    words = expected_of(rows) or unknown_words(validation, folds)
    return f"Suspicious labels: {listed:,} of {len(rows):,} listed. {words}"


def expected_of(rows: Sequence[Suspect]) -> str | None:
    """Say how good a list should be; None where nobody knows."""
    from s2e_optuna.labels import expectation

    found = expectation(rows)
    if found is None:
        return None
    listed = sum(row.listed for row in rows)
    return expected_words(listed, len(rows), found.wrong, found.precision, found.recall)


def result_words(result: SearchResult) -> str:
    """Say how good the list of a search should be, or why nobody knows."""
    quality = result.suspects_quality or {}
    wrong, listed, samples = (quality.get(n) for n in ("expected_wrong", "listed", "samples"))
    if wrong is not None and listed is not None and samples:
        expected = (quality.get(f"expected_{name}") for name in ("precision", "recall"))
        return expected_words(int(listed), int(samples), wrong, *expected)
    return unknown_words(result.validation, result.config.folds)


def truth_words(wrong: int, precision: float | None, recall: float | None) -> str:
    """Say how good a list is where the truth is known.

    Parameters
    ----------
    wrong
        Number of wrong labels among all, at least one.
    precision, recall
        Of the list; None or NaN where there is nothing to divide by.
    """
    right = share(precision) or "none"
    return (
        f"Known truth: {right} of them are wrong, which is {share(recall)} of the {wrong:,} "
        "wrong labels."
    )


def result_truth(result: SearchResult) -> str:
    """Say how good the list of a search is where the truth is known; else nothing."""
    quality = result.suspects_quality or {}
    wrong = quality.get("wrong")
    if not wrong:
        return ""
    return truth_words(int(wrong), quality.get("precision"), quality.get("recall"))


def unknown_words(validation: str, folds: int) -> str:
    """Say why nobody knows how good a list is, and what would help."""
    if validation == "noisy":
        why = (
            "the validation part was cut from the same noisy data. A clean one, such as a folder "
            "val or test, lets networks be compared on both"
        )
    elif not folds:
        why = "that takes a cross-validation (--folds 5)"
    else:
        why = (
            "that takes 20 clean validation samples of each class, from which the method must not "
            "learn"
        )
    return f"How many of them are wrong cannot be estimated: {why}."
