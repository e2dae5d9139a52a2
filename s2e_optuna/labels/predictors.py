"""Which predictions the posterior over true labels stands on: all of them, as one.

Out-of-sample probabilities come from networks, from a logistic regression, from neighbours, and
from networks that have learnt the clean part alone. Together they are their geometric mean: what
they say as independent witnesses, but for a factor that calibration finds. Ranked by it wrong
labels come first more often than by the predictor with the least log loss on the clean part, or
by weights fitted to that: log loss is about the clean samples, which no wrong label has bent. So
clean samples only say who hinders: what is left out is a predictor without which the others,
calibrated on clean samples by calibrations that have not seen these, have a much smaller loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.cores import one_thread
from s2e_optuna.labels.arrays import Ints
from s2e_optuna.labels.calibration import cross_fitted, fit_calibration
from s2e_optuna.labels.out_of_fold import Unseen

HINDERS = 0.05
"""Log loss a sample that the others must gain without a predictor that is left out."""

AGREES = 0.5
"""Share of the labels that the best predictor says that another one must say."""

_SMALLEST = 1e-12

Single = NDArray[np.float32]


def clean_log_loss(truth: Ints, clean: Single) -> float:
    """Return the log loss of calibrated predictions of clean samples.

    Parameters
    ----------
    truth
        Their labels [V].
    clean
        Probabilities [F, V, C], as in `Unseen`; those of the first network are taken, which is
        a tenth of a second.
    """
    clean = clean[:1]
    calibrated = cross_fitted(truth, clean, fit_calibration(truth, clean))
    own = calibrated[:, np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(own, _SMALLEST)).mean())


def geometric_mean(arrays: Sequence[Single]) -> Single:
    """Return the geometric mean of probabilities [..., C] each, of classes that sum to one."""
    # Not the logarithms of the products, which can be 0 in single precision.
    logs = np.log(np.maximum(arrays[0], _SMALLEST))
    for array in arrays[1:]:
        logs = logs + np.log(np.maximum(array, _SMALLEST))
    logs /= len(arrays)
    means = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(means / means.sum(axis=-1, keepdims=True), dtype=np.float32)


def together(predictors: Sequence[Unseen]) -> Unseen:
    """Take several predictors of the same samples as one: of what all of them have predicted."""
    parts = [one.clean for one in predictors if one.clean is not None]
    held_out = [one.held_out for one in predictors if one.held_out is not None]
    several = [len(part) for part in parts if len(part) > 1]
    networks = min(several, default=1)  # a single one goes with each of the others
    every = len(predictors)
    return Unseen(
        geometric_mean([one.training for one in predictors]),
        geometric_mean([part[:networks] for part in parts]) if len(parts) == every else None,
        geometric_mean(held_out) if len(held_out) == every else None,
        predictors[0].samples,
    )


def agreeing(candidates: Mapping[str, Unseen], given: Ints) -> tuple[str, ...]:
    """Return the names of the predictors that are taken together where no part is clean.

    A few checked samples cannot say who hinders. But what says the given labels of less than half
    as many samples as another one does has learnt nothing.

    Parameters
    ----------
    candidates
        Predictors by name.
    given
        Given labels of the training part [N].
    """
    found = {
        name: float((one.training.argmax(axis=1) == given).mean())
        for name, one in candidates.items()
    }
    most = max(found.values())
    return tuple(name for name, share in found.items() if share >= AGREES * most)


def helpful(candidates: Mapping[str, Unseen], truth: Ints) -> tuple[str, ...]:
    """Return the names of the predictors that are taken together, at least one.

    Parameters
    ----------
    candidates
        Predictors by name.
    truth
        True labels of the clean part [V].
    """

    def loss(names: Sequence[str]) -> float:
        clean = together([candidates[name] for name in names]).clean
        assert clean is not None
        return clean_log_loss(truth, clean)

    kept = tuple(candidates)
    with one_thread():
        now = loss(kept)
        while len(kept) > 1:
            without = {name: loss([one for one in kept if one != name]) for name in kept}
            worst = min(without, key=lambda name: without[name])
            if without[worst] > now - HINDERS:
                break
            kept, now = tuple(name for name in kept if name != worst), without[worst]
    return kept
