"""Co-teaching in torch: `torch.func.vmap` over networks whose weights are stacked."""

from __future__ import annotations

import torch
from task import BETAS, LEARNING_RATE, POOL, Task
from torch.func import grad, vmap
from torch.nn.functional import conv2d, cross_entropy, linear, max_pool2d

task = Task()
x, y, x_test = (torch.from_numpy(array) for array in (task.x, task.y, task.x_test))
y = y.long()
weights = [torch.from_numpy(drawn).requires_grad_() for drawn in task.first_weights()]
optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE, betas=BETAS, fused=True)


def mlp(weights, images):
    first, bias, second, other_bias = weights
    return linear(linear(images, first, bias).relu(), second, other_bias)


def cnn1(weights, images):
    convolutions, full = weights[:4], weights[4:]
    hidden = images
    for weight, bias in zip(convolutions[::2], convolutions[1::2], strict=True):
        hidden = max_pool2d(conv2d(hidden, weight, bias), POOL).relu()
    hidden = hidden.flatten(1)
    for weight, bias in zip(full[:-2:2], full[1:-2:2], strict=True):
        hidden = linear(hidden, weight, bias).relu()
    return linear(hidden, *full[-2:])


logits = {"mlp": mlp, "cnn1": cnn1}[task.network]


def sample_losses(weights, images, labels):
    return cross_entropy(logits(weights, images), labels, reduction="none")


def kept_loss(weights, images, labels):
    return sample_losses(weights, images, labels).mean()


def masked_loss(weights, images, labels, mask):
    return (sample_losses(weights, images, labels) * mask).sum() / task.kept


def crossed(rows):
    """Hand each network what belongs to the other one of its trial."""
    return rows.view(task.trials, 2, -1).flip(1).flatten(0, 1)


losses_of_all = vmap(sample_losses, (0, None, None))
gradient_of_kept = vmap(grad(kept_loss))
gradient_of_masked = vmap(grad(masked_loss), (0, None, None, 0))


def epoch(order):
    for rows in torch.from_numpy(order).long():
        images, labels = x[rows], y[rows]
        now = [weight.detach() for weight in weights]
        least = losses_of_all(now, images, labels).topk(task.kept, 1, largest=False).indices
        chosen = crossed(least)
        if task.select == "top-k":
            found = gradient_of_kept(now, images[chosen], labels[chosen])
        else:
            mask = torch.zeros(task.models, task.batch_size).scatter_(1, chosen, 1.0)
            found = gradient_of_masked(now, images, labels, mask)
        for weight, gradient in zip(weights, found, strict=True):
            weight.grad = gradient
        optimizer.step()


@torch.no_grad()
def accuracy():
    predicted = vmap(logits, (0, None), chunk_size=2)(weights, x_test).argmax(2)
    return float((predicted == torch.from_numpy(task.y_test)).float().mean())


task.run(epoch, accuracy)
