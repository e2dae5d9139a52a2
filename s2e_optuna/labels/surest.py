"""What can be said of labels when none is known to be right, by the surest predictions.

| symbol | meaning |
|---|---|
| l(x) | log probabilities of the classes by a network that has not seen x, less their mean [C] |
| a, b | inverse temperature, and bias of each class |
| w | share of wrong labels |
| g | given label |

Networks that learnt from wrong labels never disagree with fewer labels than are wrong, however
sure they are, while their own errors die out where they are sure. So let p = softmax(a l + b) be
the probabilities of true classes, and labels go wrong with probability w whatever the sample:

    P(g | x) = (1 - w) p(g, x) + w (1 - p(g, x))/(C - 1)     (4)

a, b and w are those that make the given labels most likely. w is then the disagreement that is
left where predictions are surest, and its likelihood ratio interval says whether the data need a
w above 0 at all (Wilks, Annals of Mathematical Statistics 9, 1938).

That holds as far as the networks are right where they are surest, and labels there go wrong as
often as elsewhere. Nobody can test it without labels that are known to be right. Where labels go
wrong by how a sample looks, w comes out too small; pair noise that is nearly as frequent as the
truth looks to the networks like classes that nobody can tell apart, and w comes out as 0. Errors
of both kinds make lists short.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from s2e_optuna.labels.arrays import Floats, Ints, as_labels, as_probabilities, logits, softmax
from s2e_optuna.labels.calibration import Calibration
from s2e_optuna.labels.transition import PLAUSIBLE

MOST_NUMBERS = 300_000
"""Probabilities that are fitted at most; of more samples, a random part."""

_LEAST, _STARTS = 1e-6, (0.02, 0.3)
_MOST_STEPS, _HALVINGS = 100, 10
_VARIANCES = 4.0, 1.0
"""Prior variances of a, around 1, and of b."""


@dataclass(frozen=True, eq=False)
class Surest:
    """Equation (4), fitted.

    Attributes
    ----------
    rate, low
        w, and the lower end of its interval; 0 where the data do not need wrong labels.
    calibration, cautious
        a and b that fit best, with w and with w at the lower end.
    """

    rate: float
    low: float
    calibration: Calibration
    cautious: Calibration


def fit_surest(labels: ArrayLike, pred_probs: ArrayLike) -> Surest:
    """Fit equation (4) to given labels.

    Parameters
    ----------
    labels
        Given labels, integers [N].
    pred_probs
        Probabilities [N, C] by networks that have not seen the sample.

    Raises
    ------
    DataError
        Arrays that do not fit together.

    Examples
    --------
    Of 600 samples, every tenth has a wrong label; networks are mostly sure, and right:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> true = np.arange(600) % 3
    >>> labels = np.where(np.arange(600) % 10 == 0, (true + 1) % 3, true)
    >>> evidence = 3 * np.eye(3)[true] + rng.standard_normal((600, 3))
    >>> found = fit_surest(labels, softmax(evidence))
    >>> round(found.rate, 1), found.low > 0.05
    (0.1, True)
    """
    values = as_probabilities(pred_probs)
    given = as_labels(labels, *values.shape)
    n_samples, n_classes = values.shape
    nothing = np.zeros((n_classes, n_classes))
    if n_samples == 0 or n_classes == 1:
        as_it_is = Calibration(1.0, np.zeros(n_classes), nothing, 0.0)
        return Surest(0.0, 0.0, as_it_is, as_it_is)
    most = max(MOST_NUMBERS // n_classes, 1)
    if n_samples > most:
        chosen = np.sort(np.random.default_rng(0).permutation(n_samples)[:most])
        values, given = values[chosen], given[chosen]
    likelihood = _Likelihood(logits(values), given)
    start = np.concatenate([[1.0], np.zeros(n_classes)])
    fits = [likelihood.best(start, w, free=True) for w in (_LEAST, *_STARTS)]
    none = likelihood.best(start, _LEAST)
    best = max((none, *fits), key=lambda fit: fit.value)
    low = none
    if none.value < best.value - PLAUSIBLE:
        low, above = best, best.rate
        below = _LEAST
        for _ in range(_HALVINGS):
            ratio = above / below
            middle = float(np.sqrt(below * above)) if ratio > 4 else (below + above) / 2
            fit = likelihood.best(low.numbers, middle)
            if fit.value >= best.value - PLAUSIBLE:
                low, above = fit, middle
            else:
                below = middle
    rate, least = (0.0 if fit.rate <= 2 * _LEAST else fit.rate for fit in (best, low))
    fitted = (
        Calibration(float(fit.numbers[0]), fit.numbers[1:], nothing, _VARIANCES[1])
        for fit in (best, low)
    )
    return Surest(rate, least, *fitted)


@dataclass(frozen=True, eq=False)
class _Fit:
    value: float
    """Log likelihood and log prior."""
    rate: float
    numbers: Floats
    """a and b."""


class _Likelihood:
    """The log likelihood of given labels under equation (4), and where it is largest."""

    def __init__(self, logs: Floats, given: Ints) -> None:
        self._logs, self._given = logs, given
        self._rows = np.arange(len(given))
        # At random labels w may go no further: the given class stays the most probable.
        self._most = 1.0 - 1.0 / logs.shape[1]

    def best(self, start: Floats, rate: float, free: bool = False) -> _Fit:
        """Maximise over a and b, and over w, too, if it is free."""
        n_classes = len(start) - 1

        def objective(x: Floats) -> tuple[float, Floats]:
            value, gradient = self._at(x[:-1], x[-1])
            if not free:
                gradient[-1] = 0.0
            return -value / len(self._given), -gradient / len(self._given)

        bounds = [(0.0, 50.0)] + [(-20.0, 20.0)] * n_classes + [(_LEAST, self._most)]
        options = {"maxiter": _MOST_STEPS, "gtol": 1e-6}
        first = np.append(start, min(max(rate, _LEAST), self._most))
        found = minimize(
            objective, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
        return _Fit(-float(found.fun) * len(self._given), float(found.x[-1]), found.x[:-1])

    def _at(self, numbers: Floats, rate: float) -> tuple[float, Floats]:
        scale, bias = numbers[0], numbers[1:]
        shares = softmax(scale * self._logs + bias)
        own = shares[self._rows, self._given]
        other = rate / (shares.shape[1] - 1)
        chance = other + (1.0 - rate - other) * own  # (4)
        # d log chance / d score of class k = factor (own) ([k = g] - share k)
        factor = (1.0 - rate - other) * own / chance
        error = -factor[:, None] * shares
        error[self._rows, self._given] += factor
        by_rate = ((1.0 - own) / (shares.shape[1] - 1) - own) / chance
        value = np.log(chance).sum()
        value -= (scale - 1.0) ** 2 / (2 * _VARIANCES[0]) + bias @ bias / (2 * _VARIANCES[1])
        by_scale = (error * self._logs).sum() - (scale - 1.0) / _VARIANCES[0]
        by_bias = error.sum(axis=0) - bias / _VARIANCES[1]
        return float(value), np.concatenate([[by_scale], by_bias, [by_rate.sum()]])
