"""What is said of labels."""

from dataclasses import replace

import pytest

from s2e_optuna.labels import LabelReport
from s2e_optuna.reporting.label_words import UNKNOWN, list_words, rate_words, report_words

REPORT = LabelReport(
    noise_rate=0.48,
    interval=(0.44, 0.52),
    least=0.45,
    classes=("cat", "dog"),
    by_class=(0.5, None),
    by_class_interval=((0.4, 0.6), (None, None)),
    transition_matrix=((0.5, 0.5), (0.0, 1.0)),
    transition_matrix_interval=(((0.4, 0.4), (0.0, 0.9)), ((0.6, 0.6), (0.1, 1.0))),
    not_judged=(),
    contradictions=0,
    expected_precision=0.91,
    expected_recall=0.8,
    clean=True,
    assumption="This is assumed.",
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "About 48 % of the labels are wrong (44 to 52 %)."),
        (
            {"noise_rate": 0.012, "interval": (0.008, 0.016)},
            "About 1.2 % of the labels are wrong (0.8 to 1.6 %).",
        ),
        (
            {"least": 0.0, "interval": (0.0, 0.06)},
            "Your labels may be fine: at most 6 % of them are wrong.",
        ),
        (
            {"least": 0.0, "interval": (0.0, 0.002)},
            "Your labels may be fine: less than 1 % of them are wrong.",
        ),
    ],
)
def test_one_line_says_how_many_are_wrong(changes, words):
    assert rate_words(replace(REPORT, **changes)) == words


def test_a_list_says_how_good_it_should_be():
    words = list_words(1234, 5000, REPORT)
    assert words == (
        "Suspicious labels: 1,234 of 5,000 listed. About 48 % of the labels are wrong (44 to "
        "52 %). About 91 % of those listed are expected to be wrong. This is assumed."
    )
    assert list_words(3, 10, None) == f"Suspicious labels: 3 of 10 listed. {UNKNOWN}"


def test_a_poor_list_says_so():
    poor = " ".join(report_words(replace(REPORT, expected_recall=0.2), 5, 100))
    assert "should hold 20 % of the wrong labels; better networks" in poor
    empty = " ".join(report_words(replace(REPORT, expected_precision=None), 0, 100))
    assert "No label alone is more probably wrong than right." in empty
    fine = report_words(replace(REPORT, least=0.0, expected_precision=None), 0, 100)
    assert len(fine) == 2


def test_classes_that_are_not_judged_and_contradictions_are_named():
    names = tuple(f"c{i}" for i in range(10))
    words = report_words(replace(REPORT, not_judged=names, contradictions=2), 5, 100)
    assert words[-3].endswith("c0, c1, c2, c3, c4, c5, c6, c7 and 2 more.")
    assert words[-2].startswith("2 groups of equal samples with different labels")
    one = report_words(replace(REPORT, contradictions=1), 5, 100)
    assert one[-2].startswith("1 group of")
