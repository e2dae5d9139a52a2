"""Steps without networks, to ask methods for their weights."""

import torch

from s2e_optuna.training.methods import BatchView


def view_of(losses, logits, labels, samples, *, rate=0.5, epoch=0, state=None):
    """What a method weighs by: losses [P, networks, B], logits, labels [B] and samples [B]."""
    trials, _, size = losses.shape
    keep = max(1, int(rate * size + 1e-9))
    return BatchView(
        forward=lambda parameters, images: logits,
        parameters={},
        images=torch.empty(0),
        labels=labels,
        targets=None,
        clean=None,
        samples=samples,
        rate=torch.full((trials, 1, 1), rate, dtype=torch.float64),
        keep=torch.full((trials, 1, 1), keep),
        by_rank=((torch.arange(size) < keep) / torch.tensor(float(keep))).expand(trials, 1, size),
        epoch=torch.tensor(epoch),
        state=state or {},
        losses=losses,
        logits=logits,
    )
