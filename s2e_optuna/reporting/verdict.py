"""What a search was worth, in words: beside the best of what people would have done instead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.metrics import METRIC_WORDS

if TYPE_CHECKING:
    from s2e_optuna.search.search import SearchResult

METHOD_NAMES = {
    "standard": "plain training",
    "linear": "linear model",
    "clean_only": "clean part alone",
    "coteaching": "Co-teaching",
    "coteaching_estimated": "Co-teaching, rate estimated",
    "s2e": "S2E",
    "posterior": "posterior",
}
"""Ways to train, by their keys in a comparison: short, for tables."""

_IN_SENTENCES = {
    "linear": "a logistic regression",
    "clean_only": "training on the clean part alone",
    "coteaching": "Co-teaching told the noise rate",
    "coteaching_estimated": "Co-teaching at the estimated noise rate",
    "posterior": "training on the posterior",
}

_NOT_STOPPED = ("linear",)
_NO_BASELINE = ("s2e", "posterior")


def verdict(result: SearchResult) -> list[str]:
    """Say what schedule and posterior gain over the best baseline, and which model is kept.

    A difference counts if the 95% interval of the means over the seeds (Welch) leaves out zero.
    Empty without a final comparison.
    """
    scores = result.scores
    if not {"s2e", "standard"} <= scores.keys():
        return []
    part = "test" if np.isfinite(scores["s2e"].test_accuracy).any() else "validation"
    found = {
        name: values
        for name, score in scores.items()
        if len(values := _finite(score.test_value if part == "test" else score.unflattered))
    }
    if not {"s2e", "standard"} <= found.keys():
        return []
    kind = f"{part} {METRIC_WORDS[result.config.training.metric]}"
    stopped = bool(scores["s2e"].stopped_epoch)
    baseline = _best(found, [name for name in found if name not in _NO_BASELINE])
    gain, margin = _gain(found, "s2e", baseline)
    name = _in_words(baseline, stopped)
    if abs(gain) <= margin:
        words = (
            f"The schedule is no better than {name}: {_no_difference(result, gain, margin, kind)}"
        )
    elif gain < 0:
        words = (
            f"On this data the schedule did not help: {-gain:.1f} points of {kind} less "
            f"than {name}. More trials or more epochs may change that; few wrong labels, or a "
            "validation part that is too small, would not."
        )
    else:
        words = f"The schedule gains {gain:.1f} points of {kind} over {name}."
    if part == "validation":
        words += " There is no test part: " + (
            "on the validation part each half judges the epochs that the other has chosen."
            if scores["s2e"].expected_validation
            else "the validation part has also chosen the schedule."
        )
    sentences = [words]
    if result.searched and "standard" in scores:
        sentences.append(_of_searched(result, found, kind, name=baseline))
    if "posterior" in found:
        sentences.append(_of_posterior(result, found, kind, stopped))
    if result.kept not in (None, "s2e"):
        kept = _in_words(str(result.kept), stopped=False)
        sentences[-1] += f" The model that is kept is that of {kept}, the best by validation."
    return sentences


def _of_searched(
    result: SearchResult, found: Mapping[str, NDArray[np.float64]], kind: str, name: str
) -> str:
    """Say what was searched beside the schedule, and what the schedule then adds."""
    ours, plain = (values_words(result.scores[way].searched) for way in ("s2e", "standard"))
    words = (
        f"Beside the schedule {ours} was found; plain training searched the same as long and "
        f"found {plain}."
    )
    if name == "standard":
        return words
    gain, margin = _gain(found, "s2e", "standard")
    between = f" \u00b1 {margin:.1f}" if np.isfinite(margin) else ""
    return f"{words} To that the schedule adds {gain:.1f}{between} points of {kind}."


def values_words(searched: Mapping[str, float]) -> str:
    """Write values of what was searched: weight decay 0.0012, learning rate 0.003."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.2g}" for name, value in searched.items())


def _of_posterior(
    result: SearchResult, found: Mapping[str, NDArray[np.float64]], kind: str, stopped: bool
) -> str:
    """Say what training on the posterior gains over the best of all else, the schedule too."""
    other = _best(found, [name for name in found if name != "posterior"])
    gain, margin = _gain(found, "posterior", other)
    name = _in_words(other, stopped)
    too = " and on the clean part," if "clean_only" in found else ""
    what = f"Training on what the true labels probably are{',' if too else ''}{too}"
    if abs(gain) <= margin:
        return f"{what} is no better than {name}: {_no_difference(result, gain, margin, kind)}"
    if gain < 0:
        return f"{what} costs {-gain:.1f} points of {kind} beside {name}."
    return f"{what} gains {gain:.1f} points of {kind} over {name}."


def _best(found: Mapping[str, NDArray[np.float64]], names: Sequence[str]) -> str:
    return max(names, key=lambda name: found[name].mean())


def _gain(found: Mapping[str, NDArray[np.float64]], ours: str, other: str) -> tuple[float, float]:
    """Return a difference of means and half of its 95% interval, in points."""
    first, second = found[ours], found[other]
    # A logistic regression is the same with every seed.
    margin = _margin_of_mean(first) if other == "linear" else _margin(first, second)
    return 100 * float(first.mean() - second.mean()), 100 * margin


def _in_words(name: str, stopped: bool) -> str:
    words = _IN_SENTENCES.get(name, METHOD_NAMES.get(name, name))
    return words + (", stopped in time" if stopped and name not in _NOT_STOPPED else "")


def _no_difference(result: SearchResult, gain: float, margin: float, kind: str) -> str:
    seeds = len(result.scores["s2e"].validation_accuracy)
    between = f"{gain:+.1f} points, \u00b1 {margin:.1f}" if np.isfinite(margin) else f"{gain:+.1f}"
    return (
        f"no difference in {kind} that {seeds} {'seed' if seeds == 1 else 'seeds'} can "
        f"show ({between})."
    )


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64)
    return found[np.isfinite(found)]


def _margin(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Half of the 95% interval of a difference of means (Welch); infinite for a single value."""
    from scipy import stats

    counts = np.array([len(first), len(second)])
    if counts.min() < 2:
        return math.inf
    # Not by `ttest_ind`, which warns where values are as good as equal.
    parts = np.array([first.var(ddof=1), second.var(ddof=1)]) / counts
    if not parts.any():
        return 0.0
    freedom = parts.sum() ** 2 / (parts**2 / (counts - 1)).sum()
    return float(stats.t.ppf(0.975, freedom) * math.sqrt(parts.sum()))


def _margin_of_mean(values: NDArray[np.float64]) -> float:
    """Half of the 95% interval of a mean (Student); infinite for a single value."""
    from scipy import stats

    if len(values) < 2:
        return math.inf
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
