"""Co-teaching in JAX: `vmap` over trials, `jit`, and one `scan` over the steps of an epoch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from task import BETAS, EPSILON, LEARNING_RATE, POOL, Task

task = Task()
x, y, x_test = (jnp.asarray(array) for array in (task.x, task.y, task.x_test))


def mlp(weights, images):
    first, bias, second, other_bias = weights
    return jax.nn.relu(images @ first.T + bias) @ second.T + other_bias


def convolve(images, weight):
    """Convolve [B, H, W, C], by a product with all windows.

    `jax.lax.conv_general_dilated` becomes a grouped convolution where weights differ by network,
    and takes many times as long on a CPU.
    """
    out, _, size, _ = weight.shape
    height, width = (side - size + 1 for side in images.shape[1:3])
    shifted = [
        images[:, row : row + height, column : column + width]
        for row in range(size)
        for column in range(size)
    ]
    matrix = weight.transpose(2, 3, 1, 0).reshape(-1, out)
    return jnp.concatenate(shifted, -1) @ matrix


def pool(images):
    batch, height, width, channels = images.shape
    height, width = height // POOL, width // POOL
    even = images[:, : height * POOL, : width * POOL]
    return even.reshape(batch, height, POOL, width, POOL, channels).max((2, 4))


def cnn1(weights, images):
    convolutions, full = weights[:4], weights[4:]
    hidden = images.transpose(0, 2, 3, 1)
    for weight, bias in zip(convolutions[::2], convolutions[1::2], strict=True):
        hidden = jax.nn.relu(pool(convolve(hidden, weight)) + bias)
    hidden = hidden.transpose(0, 3, 1, 2).reshape(len(images), -1)
    for weight, bias in zip(full[:-2:2], full[1:-2:2], strict=True):
        hidden = jax.nn.relu(hidden @ weight.T + bias)
    return hidden @ full[-2].T + full[-1]


logits = {"mlp": mlp, "cnn1": cnn1}[task.network]


def sample_losses(weights, images, labels):
    logs = jax.nn.log_softmax(logits(weights, images))
    return -jnp.take_along_axis(logs, labels[:, None], 1)[:, 0]


def least(losses):
    return jax.lax.top_k(-losses, task.kept)[1]


def top_k_gradient(pair, images, labels):
    """Gradients of two networks: losses of all, a second pass over those that are kept."""
    chosen = jax.vmap(least)(jax.vmap(sample_losses, (0, None, None))(pair, images, labels))[::-1]

    def loss(weights, rows):
        return sample_losses(weights, images[rows], labels[rows]).mean()

    return jax.vmap(jax.grad(loss))(pair, chosen)


def mask_gradient(pair, images, labels):
    """Gradients of two networks: one pass over all, losses of those that are dropped count 0."""

    def loss(pair):
        losses = jax.vmap(sample_losses, (0, None, None))(pair, images, labels)
        ranks = jnp.argsort(jnp.argsort(jax.lax.stop_gradient(losses), 1), 1)
        return jnp.where(ranks[::-1] < task.kept, losses, 0.0).sum() / task.kept

    return jax.grad(loss)(pair)


gradient = jax.vmap(top_k_gradient if task.select == "top-k" else mask_gradient, (0, None, None))


@jax.jit
def train_epoch(state, order):
    def step(state, rows):
        weights, mean, square, count = state
        found = gradient(weights, x[rows], y[rows])
        count = count + 1
        mean = [BETAS[0] * m + (1 - BETAS[0]) * g for m, g in zip(mean, found, strict=True)]
        square = [
            BETAS[1] * v + (1 - BETAS[1]) * g * g for v, g in zip(square, found, strict=True)
        ]
        rate = LEARNING_RATE * jnp.sqrt(1 - BETAS[1] ** count) / (1 - BETAS[0] ** count)
        weights = [
            w - rate * m / (jnp.sqrt(v) + EPSILON)
            for w, m, v in zip(weights, mean, square, strict=True)
        ]
        return (weights, mean, square, count), None

    return jax.lax.scan(step, state, order)[0]


pairs = [
    jnp.asarray(drawn).reshape(task.trials, 2, *drawn.shape[1:]) for drawn in task.first_weights()
]
state = (pairs, [jnp.zeros_like(w) for w in pairs], [jnp.zeros_like(w) for w in pairs], 0)


def epoch(order):
    global state
    state = jax.block_until_ready(train_epoch(state, jnp.asarray(order)))


def accuracy():
    flat = [weights.reshape(task.models, *weights.shape[2:]) for weights in state[0]]
    # One network after the other: windows of all test images take memory.
    predicted = jax.lax.map(lambda weights: logits(weights, x_test).argmax(1), flat)
    return float((predicted == jnp.asarray(task.y_test)).mean())


task.run(epoch, accuracy)
