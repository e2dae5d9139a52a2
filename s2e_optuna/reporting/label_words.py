"""What is said of labels and of the list of suspects, in the terminal and in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from s2e_optuna.reporting.terminal import share

if TYPE_CHECKING:
    from s2e_optuna.labels import LabelReport, Suspect
    from s2e_optuna.search.search import SearchResult

LARGEST_MATRIX = 12
"""Classes up to which pairs of given and predicted labels are shown as a matrix."""

_POOR_RECALL = 0.5
"""A list that should hold fewer of the wrong labels says that it is poor."""

_NAMED_CLASSES = 8

UNKNOWN = (
    "How many of them are wrong cannot be estimated: that takes a cross-validation (--folds 5)."
)

Pairs = Counter[tuple[str, str]]
"""Samples by given and predicted class."""


def count_pairs(rows: Sequence[Suspect]) -> Pairs:
    """Count samples by given and predicted class."""
    return Counter((row.given, row.predicted) for row in rows)


def report_words(report: LabelReport, listed: int, samples: int) -> list[str]:
    """Say what the labels are worth, in sentences; the first is the noise rate.

    Parameters
    ----------
    report
        What is known of them.
    listed, samples
        Number of labels on the list, and of all that were judged.
    """
    words = [rate_words(report)]
    if listed:
        precision = report.expected_precision or 0.0
        words.append(f"About {100 * precision:.0f} % of those listed are expected to be wrong.")
        if (report.expected_recall or 0.0) < _POOR_RECALL:
            words.append(
                f"The list should hold {100 * (report.expected_recall or 0.0):.0f} % of the wrong "
                "labels; better networks (more data, a larger one, more epochs) name more."
            )
    elif report.least > 0.0:
        words.append("No label alone is more probably wrong than right.")
    if report.not_judged:
        names = ", ".join(report.not_judged[:_NAMED_CLASSES])
        more = len(report.not_judged) - _NAMED_CLASSES
        names += f" and {more} more" if more > 0 else ""
        words.append(f"Not judged, because networks do not recognise their samples: {names}.")
    if report.contradictions:
        groups = "group" if report.contradictions == 1 else "groups"
        words.append(
            f"{report.contradictions:,} {groups} of equal samples with different labels: see the "
            "column contradicts."
        )
    return [*words, report.assumption]


def rate_words(report: LabelReport) -> str:
    """Say how many labels are wrong, or that they may all be right."""
    low, high = (100 * end for end in report.interval)
    if report.least == 0.0:
        return f"Your labels may be fine: {_up_to(high)} of them are wrong."
    rate, digits = 100 * report.noise_rate, 0 if high >= 2 else 1
    interval = f"{low:.{digits}f} to {high:.{digits}f} %"
    return f"About {rate:.{digits}f} % of the labels are wrong ({interval})."


def _up_to(percent: float) -> str:
    return f"at most {percent:.0f} %" if percent >= 1 else "less than 1 %"


def chosen_words(rows: Sequence[Suspect]) -> str | None:
    """Say how many of these rows' listed labels should be wrong; None where nobody knows."""
    from s2e_optuna.labels import expectation

    found = expectation(rows)
    if found is None:
        return None
    if not any(row.listed for row in rows):
        return "No label is more probably wrong than right."
    return f"About {100 * found.precision:.0f} % of these are expected to be wrong."


def list_words(listed: int, samples: int, report: LabelReport | None) -> str:
    """Say how many labels are listed and what all are worth, or why nobody knows.

    Parameters
    ----------
    listed, samples
        Number of labels on the list, and of all that were judged.
    report
        What all labels are worth; None where nobody knows.
    """
    words = f"Suspicious labels: {listed:,} of {samples:,} listed."
    if report is None:
        return f"{words} {UNKNOWN}"
    return " ".join([words, *report_words(report, listed, samples)])


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
