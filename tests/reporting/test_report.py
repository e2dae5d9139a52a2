"""The report of a search: one file, everything escaped, nothing fetched."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from s2e_optuna import Schedule
from s2e_optuna.data import from_arrays
from s2e_optuna.labels import LabelReport, Suspect, assess_labels
from s2e_optuna.reporting.label_words import truth_words
from s2e_optuna.reporting.plots import schedule_figure
from s2e_optuna.reporting.report import thumbnail, write_report
from s2e_optuna.scores import MethodScore
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.search import SearchResult

EVIL = "<script>alert(1)</script>\"'&"


def result(**changes):
    images = np.random.default_rng(0).random((60, 6, 5))
    names = ("cat", EVIL, "dog")
    data = from_arrays(
        images, np.arange(60) % 3, class_names=names, ids=[f"{i}<i>" for i in range(60)]
    )
    rows = [[0.4, 0.6], [0.5, 0.7]]
    score = MethodScore(
        "coteaching",
        (1.0, 0.5),
        (0.6, 0.7),
        (0.6, 0.7),
        (math.nan,) * 2,
        1.0,
        {"test_accuracy": rows, "label_precision": [[math.nan] * 2] * 2},
    )
    plain = replace(score, method="standard", test_accuracy=(0.5, 0.6))
    found = SearchResult(
        config=SearchConfig.of(study=EVIL, storage="postgresql+psycopg://me:secret@host/db"),
        n_trials=3, best_value=0.3, recommended=1, schedule=Schedule(np.array([1.0, 0.5])),
        scores={"standard": plain, "s2e": score}, noise_rate=None, validation="noisy",
        suspects_quality={"listed": 1, "samples": 60}, seconds={}, files={}, data=data,
    )  # fmt: skip
    return replace(found, **changes)


def write(folder: Path, found: SearchResult, **options) -> str:
    figure = schedule_figure(found.schedule, title="R(t)")
    path = write_report(folder / "report.html", found, schedule=figure, **options)
    return path.read_text(encoding="utf-8")


SUSPECTS = [
    Suspect("3<i>", "cat", EVIL, 0.9, 0.1, 0.8, 0.2, None),
    Suspect("4<i>", "dog", "cat", 0.2, 0.9, 0.9, None, None),
]


class _Page(HTMLParser):
    """Tags that are open, and what the page would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [v for k, v in attrs if k in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(tmp_path):
    page = write(tmp_path, result(), suspects=SUSPECTS, command="s2e search x")
    parsed = _Page()
    parsed.feed(page)
    assert parsed.open == [] and "script" not in parsed.tags and "i" not in parsed.tags
    assert all(source.startswith("data:image/") for source in parsed.sources)
    assert len(parsed.sources) == 4  # schedule, one learning curve, two thumbnails
    assert "http:" not in re.sub(r"base64,[^\"]*", "", page)


def test_what_it_says(tmp_path):
    page = write(tmp_path, result(), suspects=SUSPECTS, command="s2e search x")
    for part in (
        "1 of 2 labels",
        "no difference in test accuracy that 2 seeds can show (+10.0 points, ± 30.4)",
        "compared on the 12 samples cut from the training data; their labels are as noisy",
        "that takes a cross-validation",
        "65.00 ± 7.07 %",
        "s2e search x",
        "plain training",
        "How to read this",
        "suspicion 0.900",
    ):
        assert part in page, part
    assert "secret" not in page and "nan" not in re.sub(r"base64,[^\"]*", "", page).lower()


def test_it_says_what_the_labels_are_worth_and_draws_their_transition_matrix(tmp_path):
    quality = assess_labels(np.arange(60) % 3, np.eye(3)[np.arange(60) % 3], draws=2)
    labels = LabelReport.of(quality, ("cat", EVIL, "dog"), 1, False)
    page = write(tmp_path, result(labels=labels), suspects=SUSPECTS)
    assert "Your labels may be fine" in page and "No label is known to be right" in page
    assert 'alt="transition matrix" src="data:image/svg' in page
    assert "transition matrix" not in write(tmp_path, result(), suspects=SUSPECTS)


@pytest.mark.parametrize(
    ("chance", "words"),
    [(0.5, "wrong: 50 %"), (0.999, "wrong: &gt; 99 %"), (0.001, "wrong: &lt; 1 %")],
)
def test_no_probability_is_rounded_to_a_certainty(tmp_path, chance, words):
    one = replace(SUSPECTS[0], wrong_probability=chance)
    assert words in write(tmp_path, result(), suspects=[one])


def test_the_truth_of_a_list_is_told_in_one_way():
    assert truth_words(1200, 0.5, 0.25) == (
        "Known truth: 50.0 % of them are wrong, which is 25.0 % of the 1,200 wrong labels."
    )
    assert "none of them are wrong" in truth_words(3, math.nan, 0.0)


def test_label_precision_is_explained_where_it_is_shown(tmp_path):
    explained = "Label precision is the share"
    assert explained not in write(tmp_path, result())
    known = {name: replace(s, label_precision=(0.9, 0.8)) for name, s in result().scores.items()}
    assert explained in write(tmp_path, result(scores=known))


def test_labels_of_ones_own_are_as_given(tmp_path):
    assert "3 classes, labels: as given" in write(tmp_path, result())


def test_a_search_without_a_comparison_has_a_report_too(tmp_path):
    page = write(tmp_path, result(scores={}, suspects_quality=None, validation="clean"))
    assert "The schedule" in page and "How well it does" not in page
    assert "Labels that are probably wrong" not in page


PLAIN, BETTER = (0.60, 0.61, 0.59), (0.70, 0.71, 0.69)
NONE = (math.nan,) * 3


@pytest.mark.parametrize(
    ("ours", "plain", "words"),
    [
        (BETTER, PLAIN, "gains 10.0 points of test accuracy"),
        (PLAIN, BETTER, "did not help: 10.0 points of test accuracy less"),
        ((0.58, 0.62, 0.61), PLAIN, r"no difference .* that 3 seeds can show \(\+0.3 points"),
        (BETTER[:1], PLAIN[:1], "no difference in test accuracy that 1 seed can show."),
        ((0.6, math.nan), PLAIN, r"no difference"),
        ((0.7, 0.7), (0.6, 0.6), "gains 10.0 points"),
        (NONE, NONE, "gains 10.0 points of validation.* has also chosen the schedule"),
    ],
)
def test_the_verdict_is_one_that_the_seeds_can_show(tmp_path, ours, plain, words):
    score = replace(result().scores["s2e"], validation_accuracy=BETTER[: len(ours)])
    scores = {
        "standard": replace(score, test_accuracy=plain, validation_accuracy=PLAIN),
        "s2e": replace(score, test_accuracy=ours),
    }
    assert re.search(words, write(tmp_path, result(scores=scores)))


def test_without_a_test_part_the_verdict_goes_by_samples_that_have_not_chosen(tmp_path):
    score = replace(result().scores["s2e"], test_accuracy=NONE, validation_accuracy=BETTER)
    scores = {
        "standard": replace(score, validation_accuracy=PLAIN, expected_validation=PLAIN),
        "s2e": replace(score, expected_validation=PLAIN),
    }
    page = write(tmp_path, result(scores=scores))
    assert re.search("no better than plain.*no difference in validation accuracy", page)
    assert "each half judges the epochs that the other has chosen" in page


@pytest.mark.parametrize(
    ("posterior", "kept", "words"),
    [
        (BETTER, "posterior", "clean part, gains 10.0 points of test accuracy over a logistic"),
        (BETTER, "posterior", "kept is that of training on the posterior, the best by validation"),
        ((0.605, 0.59, 0.6), "s2e", r"is no better than a logistic regression: no difference"),
        ((0.5, 0.51, 0.49), "linear", r"costs 10.0 points of test accuracy beside a logistic"),
        (BETTER, "posterior", r"The schedule is no better than a logistic regression: no diff"),
    ],
)
def test_the_verdict_speaks_of_the_posterior_and_of_the_best_baseline(
    tmp_path, posterior, kept, words
):
    score = replace(result().scores["s2e"], validation_accuracy=BETTER)
    plain = (0.5, 0.5, 0.5)
    rows = {"standard": plain, "clean_only": plain, "linear": (0.6,), "s2e": PLAIN}
    rows["posterior"] = posterior
    scores = {name: replace(score, test_accuracy=row) for name, row in rows.items()}
    scores["linear"] = replace(scores["linear"], curves={}, stopped_epoch=(), schedule=())
    assert re.search(words, write(tmp_path, result(scores=scores, kept=kept)))


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (torch.zeros(1, 1, 30), False),
        (torch.zeros(2, 5, 5), False),
        (torch.rand(1, 8, 8), True),
        (torch.randn(3, 300, 200), True),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), True),
    ],
)
def test_thumbnails_are_made_of_images_only(image, shown):
    uri = thumbnail(image)
    assert (uri is not None) == shown
    assert not shown or (uri.startswith("data:image/png;base64,") and len(uri) < 50_000)
