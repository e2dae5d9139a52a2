"""The stacked trainer against a loop that anyone would write with torch.nn and torch.optim."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from s2e_optuna.training import (
    StackedModels,
    TrainConfig,
    from_arrays,
    make_network,
    train,
    unstack,
)
from s2e_optuna.training.parts import Batches, TrainingPart
from s2e_optuna.training.trainer import _seeds

RATES = [1.0, 0.9, 0.7, 0.6]


def sliced_losses(method, outputs, labels, rate):
    """Losses of each network, selected by slicing."""
    losses = [functional.cross_entropy(out, labels, reduction="none") for out in outputs]
    if method == "standard":
        return [loss.mean() for loss in losses]
    kept = [loss.argsort(stable=True)[: int(rate * len(labels) + 1e-9)] for loss in losses]
    return [losses[0][kept[1]].mean(), losses[1][kept[0]].mean()]


def plain_loop(method, data, config):
    """Train one trial; return its networks and the validation accuracy of each epoch."""
    networks = {"standard": 1, "coteaching": 2}[method]
    order_seed, *seeds = _seeds(config.seed, 1 + networks)
    batches = Batches(
        TrainingPart(data.x_train, data.y_train, None), config.batch_size, order_seed, 0
    )
    architecture = make_network(config.network, data.input_shape, data.n_classes)
    stacked = StackedModels(architecture, architecture.initial(seeds))
    modules = [unstack(stacked, i) for i in range(networks)]
    optimizers = [torch.optim.Adam(module.parameters()) for module in modules]
    accuracies = []
    for epoch in range(config.epochs):
        for optimizer in optimizers:
            beta1 = config.plan.beta1(epoch)
            optimizer.param_groups[0].update(lr=config.plan.rate(epoch), betas=(beta1, 0.999))
        for samples in batches.draw().samples:
            images, labels = data.x_train[samples].float() / 255, data.y_train[samples]
            outputs = [module(images) for module in modules]
            losses = sliced_losses(method, outputs, labels, RATES[epoch])
            for optimizer, loss in zip(optimizers, losses, strict=True):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            hits = [m(data.x_val.float() / 255).argmax(1) == data.y_val for m in modules]
        accuracies.append(np.mean([hit.double().mean().item() for hit in hits]))
    return modules, accuracies


@pytest.mark.parametrize("method", ["standard", "coteaching"])
@pytest.mark.parametrize("network", ["mlp", "cnn1"])
def test_a_trial_of_a_stack_is_what_the_plain_loop_trains(method, network):
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 3
    centres = rng.uniform(40, 200, (3, 18, 18, 3))
    images = (centres[labels] + rng.normal(0, 30, (180, 18, 18, 3))).clip(0, 255).astype(np.uint8)
    data = from_arrays(
        images[:120], labels[:120], images[120:], labels[120:], noise="pair", noise_rate=0.3
    )
    config = TrainConfig(epochs=4, batch_size=30, network=network)
    modules, accuracies = plain_loop(method, copy.deepcopy(data), config)
    result = train(method, [None, RATES, None], data, config)[1]
    assert result.validation_accuracy == pytest.approx(accuracies, abs=0.02)
    for module, trained in zip(modules, result.model.modules(), strict=True):
        for ours, theirs in zip(trained.parameters(), module.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
