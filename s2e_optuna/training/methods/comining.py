"""Co-mining: drop what looks wrong, exchange what looks right, re-weight it by how right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from s2e_optuna.errors import DataError
from s2e_optuna.training.methods.base import BatchView, Method, Step
from s2e_optuna.training.selection import small_loss_mask


@dataclass(frozen=True)
class CoMining(Method):
    """Co-mining (Wang et al., ICCV 2019), made for face recognition.

    Each network takes the share R(t) with the smallest similarity losses for clean; samples that
    neither takes are dropped, and each network learns from what the other took, weighted so that
    the clean dominate. There is no public program, and the paper's summary does not give the
    weights, so this choice is ours: sample i weighs exp(-l_i / mean l), where l_i is the mean of
    both networks' losses and the mean goes over what the network learns from. It needs no scale
    of the losses: a sample with an average loss weighs 0.37 of one with no loss at all.

    Parameters
    ----------
    scale
        Above 0 the outputs of the network are taken for cosines between a face and the class
        centres, and the loss is ArcFace's with this scale (Deng et al., CVPR 2019; 64 there).
        At 0 they are ordinary logits.
    margin
        Angle in radians that is added for the given class (0.5 in ArcFace); needs a scale.
    """

    scale: float = 0.0
    margin: float = 0.0

    name = "comining"
    summary = "Co-teaching, weighted by both losses (Wang, 2019)"
    networks = 2
    uses_schedule = True
    drops_doubtful = True
    learns_soft = False

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise DataError(f"scale {self.scale} is out of range: choose 0 (logits) or more")
        if not 0.0 <= self.margin <= math.pi / 2 or (self.margin and not self.scale):
            raise DataError(
                f"margin {self.margin} is out of range: choose 0 to {math.pi / 2:.3f} radians, "
                "and a scale for it"
            )

    @property
    def takes_cross_entropy(self) -> bool:
        """Whether losses are cross-entropies of the outputs as they are."""
        return self.scale == 0

    def losses(self, logits: Tensor, labels: Tensor, step: Step) -> Tensor:
        """Return the similarity losses: cross-entropy of logits, or of scaled cosines."""
        if self.scale > 0:
            logits = arcface_logits(logits, labels, self.scale, self.margin)
        return super().losses(logits, labels, step)

    def weights(self, batch: BatchView) -> Tensor:
        """Weigh what the peer takes for clean by the batch.losses of both."""
        taken = small_loss_mask(batch.losses, batch.keep).flip(1)
        loss = batch.losses.mean(1, keepdim=True)
        average = (loss * taken).sum(-1, keepdim=True) / batch.keep
        confidence = torch.exp(-loss / average.clamp_min(torch.finfo(loss.dtype).tiny)) * taken
        return confidence / confidence.sum(-1, keepdim=True)


def arcface_logits(cosines: Tensor, labels: Tensor, scale: float, margin: float) -> Tensor:
    """Add an angular margin to the given class and scale (Deng et al., CVPR 2019, equation 3).

    Parameters
    ----------
    cosines
        Similarities [..., B, C] in [-1, 1].
    labels
        Given labels [B].
    scale, margin
        s and m (radians) of the paper.

    Returns
    -------
    Tensor
        s cos(angle + m) for the given class, s cos(angle) for the others. Beyond pi - m, where
        the cosine would rise again, it goes on falling linearly: s (cos(angle) - m sin m).
    """
    given = labels[:, None] == torch.arange(cosines.shape[-1], device=labels.device)
    # Strictly inside, where the derivative of the sine is finite.
    cosine = cosines.clamp(-1.0 + 1e-6, 1.0 - 1e-6)
    sine = (1.0 - cosine.square()).sqrt()
    moved = cosine * math.cos(margin) - sine * math.sin(margin)
    beyond = cosine < math.cos(math.pi - margin)
    moved = torch.where(beyond, cosine - margin * math.sin(margin), moved)
    return scale * torch.where(given, moved, cosine)
