"""What a search was worth, in words: beside the best of what people would have done instead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from s2e_optuna.search.search import SearchResult

METHOD_NAMES = {"standard": "plain training", "coteaching": "Co-teaching", "s2e": "S2E"}
"""Ways to train, by their keys in a comparison."""


def verdict(result: SearchResult) -> list[str]:
    """Say whether the schedule gains anything over the best baseline, and which model is kept.

    A difference counts if the 95% interval of the means over the seeds (Welch) leaves out zero.
    Empty without a final comparison.
    """
    scores = result.scores
    if not {"s2e", "standard"} <= scores.keys():
        return []
    kind = "test" if np.isfinite(scores["s2e"].test_accuracy).any() else "validation"
    found = {name: _finite(getattr(score, f"{kind}_accuracy")) for name, score in scores.items()}
    if not len(found["s2e"]) or not len(found["standard"]):
        return []
    others = [name for name in found if name != "s2e" and len(found[name])]
    baseline = max(others, key=lambda name: found[name].mean())
    ours, best = found["s2e"], found[baseline]
    gain, margin = 100 * (ours.mean() - best.mean()), 100 * _margin(ours, best)
    name = METHOD_NAMES.get(baseline, baseline)
    if scores["s2e"].stopped_epoch:
        name += ", stopped in time"
    if baseline == "coteaching":
        name += " and told the noise rate"
    seeds = len(scores["s2e"].validation_accuracy)
    between = f"{gain:+.1f} points, \u00b1 {margin:.1f}" if np.isfinite(margin) else f"{gain:+.1f}"
    if abs(gain) <= margin:
        words = (
            f"The schedule is no better than {name}: no difference in {kind} accuracy that "
            f"{seeds} {'seed' if seeds == 1 else 'seeds'} can show ({between})."
        )
    elif gain < 0:
        words = (
            f"On this data the schedule did not help: {-gain:.1f} points of {kind} accuracy less "
            f"than {name}. More trials or more epochs may change that; few wrong labels, or a "
            "validation part that is too small, would not."
        )
    else:
        words = f"The schedule gains {gain:.1f} points of {kind} accuracy over {name}."
    if kind == "validation":
        words += " There is no test part; the validation part has also chosen the schedule."
    if result.kept == "standard":
        words += " The model that is kept is that of plain training, the best by validation."
    return [words]


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64)
    return found[np.isfinite(found)]


def _margin(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Half of the 95% interval of a difference of means (Welch); infinite for a single value."""
    from scipy import stats

    if min(len(first), len(second)) < 2:
        return math.inf
    if first.std() == second.std() == 0.0:
        return 0.0
    interval = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    return float(interval.high - interval.low) / 2.0
