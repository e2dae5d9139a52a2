"""What trainings are compared on: accuracy, or a mean over the classes.

| symbol | meaning |
|---|---|
| w[i, k] | what class k is worth as a prediction of sample i: 1 of its label, or a probability |
| s[k] | support: sum of w[i, k] over all samples |
| n[k] | how often k is predicted |
| h[k] | hits: sum of w[i, k] over the samples of which k is predicted |

    accuracy            sum of h over the number of samples
    balanced accuracy   mean over the classes of h / s, the recalls
    macro F1            mean over the classes of 2 h / (s + n)

Where w are probabilities that classes are true, h and s are the numbers to be expected, and
recalls and F1 their ratios. Classes without samples (s below a half) are left out of the means,
the same ones for all trainings.

Balanced accuracy on labels that are wrong as often in every sample of a class is that on true
labels, shrunk and shifted, if there are two classes: it ranks as clean labels do, whatever the
share of each class (Menon et al., ICML 2015). Accuracy and F1 do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # the command line reads the names, and starts without NumPy
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
"""Names of metrics; the first is the usual one."""

METRIC_WORDS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}
"""Metrics in sentences and headings."""

LEAST_SUPPORT = 0.5
"""Samples of a class below which it has none."""

Counts = TypeVar("Counts", "Tensor", "NDArray[np.float64]")


def class_mean(metric: str, hits: Counts, support: Counts, predicted: Counts) -> Counts:
    """Return balanced accuracy or macro F1, of one network or of many.

    Parameters
    ----------
    metric
        ``"balanced_accuracy"`` or ``"macro_f1"``.
    hits, support, predicted
        h, s and n, floats [..., C]: arrays of NumPy or tensors of torch.

    Returns
    -------
    ndarray or Tensor
        Shares [...]; NaN where no class has samples.

    Examples
    --------
    Of nine and one samples all are taken for the first class:

    >>> import numpy as np
    >>> hits, support, predicted = np.array([[9.0, 0.0], [9.0, 1.0], [10.0, 0.0]])
    >>> float(class_mean("balanced_accuracy", hits, support, predicted))
    0.5
    >>> round(float(class_mean("macro_f1", hits, support, predicted)), 3)
    0.474
    """
    counted = support >= LEAST_SUPPORT
    of_each = support.clip(LEAST_SUPPORT)
    ratio = hits / of_each if metric == "balanced_accuracy" else 2 * hits / (of_each + predicted)
    mean: Counts = (ratio * counted).sum(-1) / counted.sum(-1)
    return mean


def error_words(metric: str) -> str:
    """Name what a search minimises."""
    return "validation error" if metric == "accuracy" else f"1 - validation {METRIC_WORDS[metric]}"
