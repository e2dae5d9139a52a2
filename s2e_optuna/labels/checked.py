"""Validation labels of which a handful were checked: what accuracy on all of them would be.

| symbol | meaning |
|---|---|
| x, g | a validation sample and its given label; N of them, n checked: their true label is known |
| p(k, x) | mean of the softmax of networks' logits over 2: an average at temperature 2 |
| w(k; x, g) | probability that the true class is k; of a checked sample 1 or 0 |

w is that of equation (8) in `s2e_optuna.labels.witness`, with the roots of p for s.

A candidate's value is the mean of w(its prediction) over all N: what its accuracy on true labels
is expected to be (other metrics: `s2e_optuna.metrics`, with w for the labels). Ten to twenty
checked labels choose schedules nearly as well as a thousand clean ones do. The likelihood of the
given labels does worse than accuracy on them: it rewards networks that predict the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from s2e_optuna.errors import DataError, unknown_name
from s2e_optuna.labels.arrays import Floats, Ints, Real, as_labels, as_probabilities
from s2e_optuna.labels.witness import UNKNOWN, learn_habits
from s2e_optuna.metrics import METRICS, class_mean

TEMPERATURE = 2.0

NOT_CHECKED = -1
"""True label of a sample that nobody has checked, as in `s2e_optuna.data.NoisyData`."""


@dataclass(frozen=True, eq=False)
class CheckedLabels:
    """What each class is worth as a prediction of each validation sample.

    Attributes
    ----------
    weights
        w, [N, C]; rows sum to one.
    matrix
        T, float64 [C, C].
    """

    weights: Real
    matrix: Floats

    def value(self, predictions: ArrayLike, metric: str = "accuracy") -> float | Floats:
        """Return the expected accuracy on true labels, or another metric.

        Parameters
        ----------
        predictions
            Predicted classes, integers [..., N]: of one candidate or of many.
        metric
            A name in `s2e_optuna.metrics.METRICS`: recalls and F1 are ratios of the numbers of
            samples that are to be expected.

        Returns
        -------
        float or ndarray
            0 to 1, one for each candidate [...].

        Raises
        ------
        DataError
            Not one prediction for each sample, or classes that are none.

        Examples
        --------
        >>> checked = CheckedLabels(np.array([[1.0, 0.0], [0.25, 0.75]]), np.eye(2))
        >>> checked.value([[0, 1], [0, 0]])
        array([0.875, 0.625])

        Of 1.25 samples of the first class, and 0.75 of the second:

        >>> checked.value([[0, 1], [0, 0]], "balanced_accuracy")
        array([0.9, 0.5])
        """
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS)
        n_samples, n_classes = self.weights.shape
        found = np.asarray(predictions)
        if found.shape[-1:] != (n_samples,):
            raise DataError(
                f"predictions has the shape {found.shape}: give [..., {n_samples}], one a sample"
            )
        classes = as_labels(found.reshape(-1), found.size, n_classes).reshape(found.shape)
        values = self.weights[np.arange(n_samples), classes]
        if metric == "accuracy":
            values = values.mean(axis=-1, dtype=np.float64)
        else:
            predicted = np.eye(n_classes)[classes]  # [..., N, C]
            support = self.weights.sum(axis=0, dtype=np.float64)
            hits = (values[..., None] * predicted).sum(axis=-2)
            values = class_mean(metric, hits, support, predicted.sum(axis=-2))
        return float(values) if found.ndim == 1 else np.asarray(values)


def check_labels(labels: ArrayLike, true: ArrayLike, pred_probs: ArrayLike) -> CheckedLabels:
    """Turn given labels, some of them checked, into expected accuracies.

    Parameters
    ----------
    labels
        Given labels of the validation samples, integers [N].
    true
        True labels, integers [N]; `NOT_CHECKED` where nobody has looked. Those to look at are best
        drawn at random.
    pred_probs
        p [N, C], `tempered_average` of good candidates.

    Raises
    ------
    DataError
        Arrays that do not fit together, or no checked sample.

    Examples
    --------
    Of six labels four are checked, and one of these is wrong:

    >>> labels, true = [0, 0, 1, 1, 0, 1], [0, 1, 1, 1, -1, -1]
    >>> check_labels(labels, true, [[0.5, 0.5]] * 6).weights[4:].round(2)
    array([[0.55, 0.45],
           [0.14, 0.86]])
    """
    average = as_probabilities(pred_probs).astype(np.float64)
    given = as_labels(labels, *average.shape)
    n_samples, n_classes = average.shape
    known, truth = _checked(true, n_samples, n_classes)
    if not known.any():
        raise DataError("no validation label is checked: give the true label of some")
    found = learn_habits(given, average, np.sqrt(average), np.where(known, truth, UNKNOWN))
    return CheckedLabels(found.weights, found.matrix)


def tempered_average(pred_probs: ArrayLike, temperature: float = TEMPERATURE) -> Floats:
    """Average the probabilities of candidates, each made less sure.

    Parameters
    ----------
    pred_probs
        Of candidates [M, N, C]; the eight that are best on the checked samples do well.
    temperature
        Logits are divided by it.

    Returns
    -------
    ndarray
        [N, C].

    Examples
    --------
    >>> tempered_average([[[0.2, 0.8]], [[0.5, 0.5]]]).round(3)
    array([[0.417, 0.583]])
    """
    values = as_probabilities(pred_probs)
    if values.ndim != 3 or not len(values):
        raise DataError(f"pred_probs has the shape {values.shape}: it needs [M, N, C]")
    total = np.zeros(values.shape[1:])
    for one in values:
        roots = one.astype(np.float64) ** (1.0 / temperature)
        total += roots / roots.sum(axis=1, keepdims=True)
    return total / len(values)


def _checked(true: ArrayLike, n_samples: int, n_classes: int) -> tuple[Ints, Ints]:
    values = np.asarray(true)
    known = values != NOT_CHECKED
    truth = as_labels(np.where(known, values, 0), n_samples, n_classes)
    return np.asarray(known), truth
