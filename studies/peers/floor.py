"""What the products and Adam of a step of `mlp` cost alone: no step of these libraries is faster.

A step is a product of the images with the first layer's weights, a product of the errors of the
kept samples with theirs for the gradient of these weights, and Adam: one after the other, as in
a training, so that each finds what the one before has left of the cache.
"""

from __future__ import annotations

import time

import torch
from task import BETAS, EPSILON, HIDDEN, LEARNING_RATE, Task, tell, wait_for_turns
from torch.optim.adam import adam

task = Task()
models, batch, kept, inputs = task.models, task.batch_size, task.kept, task.x.shape[1]
images = torch.from_numpy(task.x[:batch]).expand(models, -1, -1)
weight = torch.from_numpy(task.first_weights()[0])
bias, hidden = torch.zeros(models, HIDDEN, 1), torch.empty(models, HIDDEN, batch)
errors, gradient = 1e-3 * torch.randn(models, HIDDEN, kept), torch.empty(models, HIDDEN, inputs)
moments = torch.zeros_like(weight), torch.zeros_like(weight)
count = torch.zeros(())


def step() -> None:
    torch.baddbmm(bias, weight, images.mT, out=hidden)
    torch.bmm(errors, images[:, :kept], out=gradient)
    adam(
        *([weight], [gradient], [moments[0]], [moments[1]], [], [count]),
        **{"fused": True, "amsgrad": False, "maximize": False, "weight_decay": 0.0},
        **{"lr": LEARNING_RATE, "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPSILON},
    )


for _ in wait_for_turns():
    started = time.perf_counter()
    for _ in range(task.steps):
        step()
    tell(seconds=time.perf_counter() - started)
