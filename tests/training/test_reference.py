"""The stacked trainer against the plain loop of `studies.reference_trainer`."""

import copy

import numpy as np
import pytest
import torch

from s2e_optuna.data import from_arrays
from s2e_optuna.training import StackedModels, TrainConfig, make_network, train, unstack
from s2e_optuna.training.parts import Batches, TrainingPart
from s2e_optuna.training.setup import Seeds
from studies.reference_trainer import train_reference

RATES = [1.0, 0.9, 0.7, 0.6]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 3
    centres = rng.uniform(40, 200, (3, 18, 18, 3))
    pixels = (centres[labels] + rng.normal(0, 30, (180, 18, 18, 3))).clip(0, 255)
    pixels = pixels.astype(np.uint8)
    return from_arrays(
        pixels[:120], labels[:120], pixels[120:], labels[120:], noise="pair", noise_rate=0.3
    )


def reference(method, data, config):
    """Train one trial from the same initial weights, on the same batches."""
    networks = {"standard": 1, "coteaching": 2}[method]
    seeds = Seeds.of(config.seed, networks)
    batches = Batches(
        TrainingPart(data.x_train, data.y_train, None), config.batch_size, seeds.order, 0
    )
    architecture = make_network(config.network, data.input_shape, data.n_classes)
    stacked = StackedModels(architecture, architecture.initial(seeds.networks))
    modules = [unstack(stacked, i) for i in range(networks)]
    result = train_reference(
        modules, data, RATES, config, order=lambda epoch: batches.draw(epoch).samples.tolist()
    )
    return modules, result


@pytest.mark.parametrize("method", ["standard", "coteaching"])
@pytest.mark.parametrize("network", ["mlp", "cnn1"])
def test_a_trial_of_a_stack_is_what_the_plain_loop_trains(method, network, images):
    config = TrainConfig(epochs=4, batch_size=30, network=network, stop="last")
    modules, plain = reference(method, copy.deepcopy(images), config)
    result = train(method, [None, RATES, None], images, config)[1]
    assert result.validation_accuracy == pytest.approx(plain.validation_accuracy)
    assert result.kept_counts.tolist() == plain.kept.tolist()
    for module, trained in zip(modules, result.model.modules(), strict=True):
        for ours, theirs in zip(trained.parameters(), module.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)


def test_a_trial_with_batch_normalisation_is_what_the_plain_loop_trains(images):
    # One epoch: Adam's first steps follow the sign of gradients, rounding included.
    config = TrainConfig(epochs=1, batch_size=30, network="cnn2", stop="last")
    modules, plain = reference("coteaching", copy.deepcopy(images), config)
    result = train("coteaching", [None, RATES[:1]], images, config)[1]
    assert result.validation_accuracy == pytest.approx(plain.validation_accuracy, abs=0.02)
    assert result.kept_counts.tolist() == plain.kept.tolist()
    for module, trained in zip(modules, result.model.modules(), strict=True):
        theirs = dict(module.named_buffers())
        for name, ours in trained.named_buffers():
            torch.testing.assert_close(ours, theirs[name], atol=1e-2, rtol=5e-2)
