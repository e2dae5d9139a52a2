"""The posterior by the name and with the arguments that it had before `assess_labels`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from s2e_optuna.labels.arrays import Real
from s2e_optuna.labels.quality import CleanPart, assess_labels
from s2e_optuna.labels.transition import PRIOR_SAMPLES

__all__ = ["LEAST_OF_A_CLASS", "PRIOR_SAMPLES", "true_label_probabilities"]

LEAST_OF_A_CLASS = 0
"""Clean samples of each class that are needed: none any more, since classes are pooled."""


def true_label_probabilities(
    unseen: ArrayLike, given: ArrayLike, clean: ArrayLike, labels: ArrayLike
) -> Real:
    """Estimate the probability of each class to be the true label.

    Parameters
    ----------
    unseen
        Class probabilities [N, C] by networks that have not seen the samples.
    given
        Their labels, integers [N].
    clean
        Probabilities of clean samples by the same networks [F, V, C].
    labels
        True labels of these, integers [V].

    Returns
    -------
    ndarray
        `LabelQuality.posterior` [N, C].
    """
    return assess_labels(given, unseen, CleanPart(labels, clean)).posterior
