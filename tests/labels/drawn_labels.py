"""Labels and predictions that are drawn, so that everything about them is known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Drawn:
    true: Ints
    labels: Ints
    pred_probs: Floats
    """By a network that is not sure enough: calibrated, they are to the power of `strength`."""
    calibrated: Floats
    """Probabilities of the true class, exactly."""

    @property
    def wrong(self) -> NDArray[np.bool_]:
        return self.true != self.labels


def softmax(values: Floats) -> Floats:
    shares = np.exp(values - values.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def pair(rate: float, n_classes: int) -> Floats:
    eye = np.eye(n_classes)
    return (1 - rate) * eye + rate * np.roll(eye, 1, axis=1)


def even(rate: float, n_classes: int) -> Floats:
    eye = np.eye(n_classes)
    return (1 - rate) * eye + rate / (n_classes - 1) * (1 - eye)


def drawn(
    n: int, matrix: Floats, strength: float = 3.0, seed: int = 0, shares: Floats | None = None
) -> Drawn:
    """Normal evidence of variance 1 for each class, with the mean `strength` for the true one."""
    rng = np.random.default_rng(seed)
    n_classes = len(matrix)
    prior = np.full(n_classes, 1 / n_classes) if shares is None else shares
    true = rng.choice(n_classes, n, p=prior)
    evidence = rng.standard_normal((n, n_classes)) + strength * np.eye(n_classes)[true]
    labels = (rng.random((n, 1)) > np.cumsum(matrix, axis=1)[true]).sum(axis=1)
    exact = softmax(strength * evidence + np.log(prior))
    return Drawn(true, np.minimum(labels, n_classes - 1), softmax(evidence), exact)
