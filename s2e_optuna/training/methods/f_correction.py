"""Forward correction: learn through the transition matrix from true to given labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from s2e_optuna.errors import DataError
from s2e_optuna.training.methods.base import BatchView, Method, Preparation, State, Step

if TYPE_CHECKING:
    from s2e_optuna.data.noisy_data import NoisyData

MANY_CLASSES = 100
SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class ForwardCorrection(Method):
    """F-correction (Patrini et al., CVPR 2017): loss -log (p T)[y], with T estimated.

    A network is first trained with cross-entropy, for as many epochs as the training proper and
    with the same settings. From its outputs comes T[i, j], the chance that a sample of class i
    is given the label j. Then all begins again from the initial weights, with the corrected
    loss. Only these epochs are reported, so a training costs two; this is how the comparisons
    in the literature count as well. A first training that memorises the wrong labels finds a T
    near 1, which corrects nothing: a shorter one may find a better T.

    Parameters
    ----------
    percentile
        For class i the sample with the highest p_i up to this percentile stands for the whole
        class (equation 13); the few above are taken for outliers. By default 97, and 100, the
        plain maximum, where there are 100 classes or more.
    estimation_epochs
        Epochs of the first training; by default as many as the training proper has.
    """

    percentile: float | None = None
    estimation_epochs: int | None = None

    name = "f_correction"
    summary = "corrects the loss by estimated mistakes (Patrini, 2017)"
    networks = 1
    uses_schedule = False
    learns_soft = False

    def __post_init__(self) -> None:
        if self.percentile is not None and not 0.0 < self.percentile <= 100.0:
            raise DataError(f"percentile {self.percentile} is out of range: choose up to 100")
        if self.estimation_epochs is not None and self.estimation_epochs < 1:
            raise DataError(
                f"estimation_epochs {self.estimation_epochs} is out of range: choose 1 or more"
            )

    def fitted_to(self, data: NoisyData) -> Self:
        """Choose the percentile by the number of classes."""
        if self.percentile is not None:
            return self
        return replace(self, percentile=100.0 if data.n_classes >= MANY_CLASSES else 97.0)

    def state(self, trials: int, n_classes: int, device: torch.device) -> State:
        """Begin with T = 1, with which the loss is plain cross-entropy."""
        one = torch.eye(n_classes, device=device)
        return {"transition": one.expand(trials, 1, n_classes, n_classes).clone()}

    def prepare(self, stack: Preparation) -> None:
        """Train with cross-entropy, estimate T, begin again."""
        stack.run(self.estimation_epochs)
        percentile = 97.0 if self.percentile is None else self.percentile
        estimate = estimate_transition(stack.training_probabilities(), percentile)
        stack.remember("transition", estimate)
        stack.restart()

    def losses(self, logits: Tensor, labels: Tensor, step: Step) -> Tensor:
        """Return -log (p T)[y], from logarithms: p may be too small for float32."""
        columns = step.state["transition"].log()[..., labels]  # log T[c, y], [P, 1, C, B]
        joint = logits.log_softmax(-1) + columns.transpose(-1, -2)
        return -joint.logsumexp(-1)

    def weights(self, batch: BatchView) -> Tensor:
        """Give every sample the weight 1/B."""
        return torch.full_like(batch.losses, 1.0 / batch.losses.shape[-1])


def estimate_transition(probabilities: Tensor, percentile: float) -> Tensor:
    """Estimate the transition matrix from a network that was trained on the given labels.

    Parameters
    ----------
    probabilities
        Class probabilities of all training samples [..., N, C].
    percentile
        Of p_i over the samples: those above it do not stand for class i.

    Returns
    -------
    Tensor
        T [..., C, C]; row i holds the probabilities of class i's sample, and sums to 1.
    """
    samples, classes = probabilities.shape[-2:]
    last = min(samples - 1, max(0, int(samples * percentile / 100.0) - 1))
    # The sample at that place of the sorted column is the highest that is not above it.
    anchors = probabilities.argsort(dim=-2, stable=True)[..., last, :]
    rows = probabilities.gather(-2, anchors.unsqueeze(-1).expand(*anchors.shape, classes))
    rows = rows.clamp_min(SMALLEST_PROBABILITY)
    return rows / rows.sum(-1, keepdim=True)
