"""Co-teaching in torch, one trial after the other: a tidy loop over tensors, no DataLoader."""

from __future__ import annotations

import torch
from task import BETAS, KERNEL, LEARNING_RATE, POOL, Task
from torch import nn
from torch.nn.functional import cross_entropy

task = Task()
x, y, x_test = (torch.from_numpy(array) for array in (task.x, task.y, task.x_test))
y = y.long()


def network(drawn):
    shapes = [weight.shape for weight in drawn[::2]]
    layers = [
        nn.Conv2d(shape[1], shape[0], KERNEL) if len(shape) == 4 else nn.Linear(shape[1], shape[0])
        for shape in shapes
    ]
    with torch.no_grad():
        for layer, weight, bias in zip(layers, drawn[::2], drawn[1::2], strict=True):
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
    if task.network == "mlp":
        return nn.Sequential(layers[0], nn.ReLU(), layers[1])
    first, second, *full = layers
    pooled = first, nn.MaxPool2d(POOL), nn.ReLU(), second, nn.MaxPool2d(POOL), nn.ReLU()
    return nn.Sequential(*pooled, nn.Flatten(), full[0], nn.ReLU(), full[1], nn.ReLU(), full[2])


networks = [network(drawn) for drawn in zip(*task.first_weights(), strict=True)]
optimizers = [
    torch.optim.Adam(one.parameters(), lr=LEARNING_RATE, betas=BETAS, fused=True)
    for one in networks
]


def epoch(order):
    batches = torch.from_numpy(order).long()
    for trial in range(0, task.models, 2):
        pair = slice(trial, trial + 2)
        for rows in batches:
            images, labels = x[rows], y[rows]
            losses = [
                cross_entropy(one(images), labels, reduction="none") for one in networks[pair]
            ]
            least = [one.detach().topk(task.kept, largest=False).indices for one in losses]
            for optimizer, own, chosen in zip(optimizers[pair], losses, least[::-1], strict=True):
                optimizer.zero_grad()
                own[chosen].mean().backward()
                optimizer.step()


@torch.no_grad()
def accuracy():
    right = [(one(x_test).argmax(1) == torch.from_numpy(task.y_test)).float() for one in networks]
    return float(torch.stack(right).mean())


task.run(epoch, accuracy)
