"""Learning to reweight: samples weigh as much as they help on a few clean ones."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.autograd import forward_ad

from s2e_optuna.training.methods.base import BatchView, Decision, Method, Preparation, Step


class Reweight(Method):
    """L2RW (Ren et al., ICML 2018, algorithm 1). It learns from clean samples.

    The paper takes a virtual step of gradient descent with weights e = 0 and differentiates the
    clean loss G behind it. At e = 0 this step leaves the parameters where they are, so

        -dG/de_i = rate * (grad G) . (grad loss_i),

    and no graph of the second order is needed: one backward pass over the clean batch gives
    v = grad G, and one forward pass of the batch with tangent v gives all products at once. The
    rate is lost when the weights, max(product, 0), are divided by their sum.
    """

    name = "reweight"
    summary = "weighs samples by their use for clean ones (Ren, 2018)"
    networks = 1
    uses_schedule = False
    drops_doubtful = True
    uses_clean_data = True
    learns_soft = False
    runs_in_threads = False  # the levels of PyTorch's forward mode belong to the whole process

    def prepare(self, stack: Preparation) -> None:
        """Let PyTorch load its forward mode, without the warnings that it causes itself."""
        with warnings.catch_warnings(), forward_ad.dual_level():
            warnings.simplefilter("ignore")
            _dual(torch.zeros(1), torch.zeros(1))

    def step(self, step: Step) -> Decision:
        """Weigh each sample by its gradient's product with that of the clean loss."""
        assert step.clean is not None
        images, labels = step.clean
        parameters = list(step.parameters.values())
        clean = self.losses(step.forward(step.parameters, images), labels, step)
        direction = torch.autograd.grad(clean.mean(-1).sum(), parameters)
        with forward_ad.dual_level():
            moved = {
                name: _dual(parameter, tangent)
                for (name, parameter), tangent in zip(
                    step.parameters.items(), direction, strict=True
                )
            }
            logits = step.forward(moved, step.images)
            losses, products = _parts(self.losses(logits, step.labels, step))
            return Decision(_parts(logits)[0].detach(), losses, weights_of(products.detach()))

    def weights(self, batch: BatchView) -> Tensor:
        """Not used: the weights need gradients, and `step` has them."""
        raise NotImplementedError("the weights of this method are made in its step")


def _dual(value: Tensor, tangent: Tensor) -> Tensor:
    dual: Tensor = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
    return dual


def _parts(dual: Tensor) -> tuple[Tensor, Tensor]:
    value, tangent = forward_ad.unpack_dual(dual)  # type: ignore[no-untyped-call]
    return value, tangent


def weights_of(products: Tensor) -> Tensor:
    """Keep what is positive and divide it by its sum; all 0 where nothing is positive."""
    useful = products.clamp_min(0.0)
    total = useful.sum(-1, keepdim=True)
    return useful / torch.where(total > 0, total, 1.0)
