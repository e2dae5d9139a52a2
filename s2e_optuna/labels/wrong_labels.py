"""Probabilities of true labels, by networks that have not seen the sample and by clean samples.

| symbol | meaning |
|---|---|
| x, y, z | a sample, its given label, and its true label, which nobody knows |
| l(x) | log probabilities of the classes by networks that have not seen x (cross-validation) |
| q(z, x) | calibrated probability of class z: softmax of a l + W l + b, fitted to clean samples |
| π(z) | share of class z among the clean samples |
| A(z, y) | share of class z among the samples that have the given label y |
| w | share of wrong labels |

The networks of a cross-validation have seen neither the clean validation samples nor the fold they
predict, so what they say means the same for both. Calibration turns it into chances of the true
label, however wrong the labels were that they learnt. If labels go wrong by class alone,

    P(z | x, y) = A(z, y) q(z, x)/π(z), divided by its sum over z     (1)

and the label is wrong with the probability 1 - P(y | x, y). A(., y) is the mean of (1) over the
samples with the given label y: the EM algorithm of Saerens, Latinne and Decaestecker (Neural
Computation 14, 2002) for shares of classes that are not those of the calibration, here one for
each given label. Networks that know little cannot tell so many shares apart, and the best fit then
finds more wrong labels than there are. So a Dirichlet prior holds A to the symmetric matrix with
1 - w on the diagonal, and w is the smallest that is plausible: the lower end of its likelihood
ratio interval. Networks that know nothing so find nothing. W and b are held to zero likewise.

Where people confuse what networks confuse, too, (1) finds fewer wrong labels than there are.
``studies.bench_suspects`` shows how far the estimates are off.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from s2e_optuna.data.assemble import stratified_order

Floats = NDArray[np.float64]

LEAST_OF_A_CLASS = 20
"""Clean samples of each class that a calibration takes."""

PRIOR_SAMPLES = 100.0
"""Weight of the symmetric matrix, in samples of each given label."""

_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Prior variances of W and b, to choose from by cross-validation."""

_PARTS = 5
_SMALLEST = 1e-3
"""Probabilities below count as this: how sure a network is beyond that says nothing."""

_PLAUSIBLE = 1.92
"""Log likelihood that w may lack: the lower end of a 95 % interval (Wilks)."""

_MOST_STEPS, _TOLERANCE = 500, 1e-6


def true_label_probabilities(
    unseen: ArrayLike, given: ArrayLike, clean: ArrayLike, labels: ArrayLike
) -> Floats | None:
    """Estimate the probability of each class to be the true label: equation (1).

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
    ndarray or None
        float64 [N, C]; None where a class has fewer than `LEAST_OF_A_CLASS` clean samples.
    """
    values, found = np.asarray(unseen, dtype=np.float64), np.asarray(given)
    truth = np.asarray(labels)
    counts = np.bincount(truth, minlength=values.shape[1])
    if counts.min() < LEAST_OF_A_CLASS:
        return None
    calibrated = _calibrate(values, np.asarray(clean, dtype=np.float64), truth)
    return _posterior(calibrated * len(truth) / counts, found)


def _calibrate(values: Floats, clean: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return q [N, C]."""
    networks, n_samples, n_classes = clean.shape
    logits, truth = _logits(clean), torch.from_numpy(labels)
    one_each = logits[torch.arange(n_samples) % networks, torch.arange(n_samples)]
    part = torch.empty(n_samples, dtype=torch.int64)
    order = stratified_order(labels, np.random.default_rng(0))
    part[torch.from_numpy(order)] = torch.arange(n_samples) % _PARTS
    losses = []
    for strength in _STRENGTHS:
        total = 0.0
        for held_out in range(_PARTS):
            rest, out = part != held_out, part == held_out
            fitted = _fit(one_each[rest], truth[rest], strength)
            total += float(cross_entropy(fitted(one_each[out]), truth[out], reduction="sum"))
        losses.append(total)
    shares = truth.bincount(minlength=n_classes) / n_samples
    if min(losses) >= -float(shares.log()[truth].sum()):  # the networks know nothing
        return np.tile(shares.numpy().astype(np.float64), (len(values), 1))
    best = _STRENGTHS[int(np.argmin(losses))]
    # All networks' predictions of a sample together weigh as much as one.
    every = logits.reshape(-1, n_classes)
    fitted = _fit(every, truth.repeat(networks), best / networks)
    return np.asarray(fitted(_logits(values)).softmax(dim=1).numpy())


def _fit(logits: Tensor, labels: Tensor, strength: float) -> Callable[[Tensor], Tensor]:
    """Fit a, W and b to samples [M, C]; return the calibration of logits."""
    n_classes = logits.shape[1]
    scale = torch.ones(1, dtype=logits.dtype, requires_grad=True)
    matrix = torch.zeros(n_classes, n_classes, dtype=logits.dtype, requires_grad=True)
    shift = torch.zeros(n_classes, dtype=logits.dtype, requires_grad=True)
    parameters = [scale, matrix, shift]
    optimizer = torch.optim.LBFGS(parameters, max_iter=100, line_search_fn="strong_wolfe")

    def calibrate(values: Tensor) -> Tensor:
        return scale * values + values @ matrix + shift

    def closure() -> Tensor:
        optimizer.zero_grad()
        prior = (matrix.square().sum() + shift.square().sum()) / (2 * strength * len(labels))
        loss: Tensor = cross_entropy(calibrate(logits), labels) + prior
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    scale, matrix, shift = (parameter.detach() for parameter in parameters)
    return calibrate


def _logits(probabilities: Floats) -> Tensor:
    logs = torch.from_numpy(np.log(np.maximum(probabilities, _SMALLEST)))
    return logs - logs.mean(dim=-1, keepdim=True)


def _posterior(evidence: Floats, given: NDArray[np.int64]) -> Floats:
    """Return (1) [N, C] from q/π [N, C]."""
    symmetric = _symmetric(evidence, given)
    members = np.eye(evidence.shape[1])[given]
    weights = members.sum(axis=0)[:, None] + PRIOR_SAMPLES
    shares = symmetric
    for _ in range(_MOST_STEPS):
        found = _normalised(evidence * shares[given])
        before, shares = shares, (members.T @ found + PRIOR_SAMPLES * symmetric) / weights
        if np.abs(shares - before).max() < _TOLERANCE:
            break
    return _normalised(evidence * shares[given])


def _symmetric(evidence: Floats, given: NDArray[np.int64]) -> Floats:
    """Return the symmetric A [C, C], one row for each given label, with the least plausible w."""
    n_classes = evidence.shape[1]
    own = evidence[np.arange(len(given)), given]
    others = (evidence.sum(axis=1) - own) / (n_classes - 1)
    rates = np.linspace(0.005, 0.995, 199)  # above 0, for a ranking where nothing seems wrong
    likelihood = np.array([np.log((1.0 - w) * own + w * others).sum() for w in rates])
    wrong = rates[np.argmax(likelihood >= likelihood.max() - _PLAUSIBLE)]
    return np.asarray(np.where(np.eye(n_classes) > 0, 1.0 - wrong, wrong / (n_classes - 1)))


def _normalised(values: Floats) -> Floats:
    return np.asarray(values / values.sum(axis=1, keepdims=True))
