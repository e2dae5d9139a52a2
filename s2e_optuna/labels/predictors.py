"""Which predictions the posterior over true labels stands on: the clean part chooses.

Out-of-sample probabilities come from networks, from a logistic regression, and from networks that
have learnt the clean part alone. Two of them together are their geometric mean: what they say as
independent witnesses, but for a factor that calibration finds. Each is calibrated on clean
samples, by calibrations that have not seen these, and the one with the least log loss is taken:
the simplest, if that is the best.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.cores import one_thread
from s2e_optuna.labels.arrays import Ints
from s2e_optuna.labels.calibration import cross_fitted, fit_calibration
from s2e_optuna.labels.out_of_fold import Unseen

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


def geometric_mean(first: Single, second: Single) -> Single:
    """Return the geometric mean of probabilities [..., C], of classes that sum to one."""
    # Not the logarithms of the products, which can be 0 in single precision.
    logs = np.log(np.maximum(first, _SMALLEST)) + np.log(np.maximum(second, _SMALLEST))
    means = np.exp(0.5 * (logs - logs.max(axis=-1, keepdims=True)))
    return np.asarray(means / means.sum(axis=-1, keepdims=True), dtype=np.float32)


def together(first: Unseen, second: Unseen) -> Unseen:
    """Take two predictors of the same samples as one; both have predicted the clean part."""
    assert first.clean is not None and second.clean is not None
    lengths = sorted((len(first.clean), len(second.clean)))
    networks = lengths[0] if lengths[0] > 1 else lengths[1]  # one goes with each of the others
    return Unseen(
        geometric_mean(first.training, second.training),
        geometric_mean(first.clean[:networks], second.clean[:networks]),
        samples=first.samples,
    )


def best_predictor(candidates: Mapping[str, Unseen], truth: Ints) -> str:
    """Return the name of the predictor with the least log loss on the clean part.

    Parameters
    ----------
    candidates
        Predictors by name, the simplest first.
    truth
        True labels of the clean part [V].
    """
    with one_thread():
        losses = {
            name: clean_log_loss(truth, one.clean)
            for name, one in candidates.items()
            if one.clean is not None
        }
    return min(losses, key=lambda name: losses[name])
