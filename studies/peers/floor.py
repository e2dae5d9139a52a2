"""What the products and Adam of a step cost alone: nothing can be faster with these libraries."""

from __future__ import annotations

import json
import sys
import time

import torch
from task import HIDDEN, Task

task = Task()
models, batch, kept, inputs = task.models, task.batch_size, task.kept, task.x.shape[1]
x = torch.from_numpy(task.x[:batch])
weight = torch.from_numpy(task.first_weights()[0])
bias, errors = torch.zeros(models, HIDDEN, 1), torch.randn(models, HIDDEN, batch)
hidden, gradient = torch.empty(models, HIDDEN, batch), torch.empty(models, HIDDEN, inputs)
images = x.expand(models, -1, -1)
parameter = weight.clone().requires_grad_()
parameter.grad = gradient.normal_()
optimizer = torch.optim.Adam([parameter], fused=True)
of_kept, kept_images = errors[..., :kept].contiguous(), images[:, :kept]

PARTS = {
    "forward, all": lambda: torch.baddbmm(bias, weight, images.mT, out=hidden),
    "gradient, kept": lambda: torch.bmm(of_kept, kept_images, out=gradient),
    "Adam": optimizer.step,
}
steps = len(task.x) // batch
told = {}
for name, act in PARTS.items():
    times = []
    for _ in range(30):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    told[name] = 1000 * sorted(times)[len(times) // 2]
told["seconds"] = [steps * sum(told.values()) / 1000]
json.dump(told, sys.stdout)
