"""Samples that are not kept are left out of backward passes: the same results in less time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from s2e_optuna.training import CURVES, TrainConfig, train
from s2e_optuna.training import setup as setup_of_training
from s2e_optuna.training.networks import KeptSamples
from s2e_optuna.training.networks.layers import shared_linear
from s2e_optuna.training.setup import WORK_OF_LEAVING_OUT, Setup, step_operations

CONFIG = TrainConfig(epochs=4, batch_size=20, network="mlp")
RATES = [np.linspace(1.0, end, 4) for end in (0.2, 0.5, 1.0)]
KEEPING = ["mentornet", "coteaching", "coteaching_plus:warm_up=2", "comining"]


@pytest.fixture
def leaving_out(monkeypatch):
    """All work is enough for it, or none is."""

    def choose(on):
        monkeypatch.setattr(setup_of_training, "WORK_OF_LEAVING_OUT", 0.0 if on else float("inf"))

    return choose


@pytest.mark.parametrize("counts", [(1, 3, 6), (6, 6, 6)])
def test_a_layer_has_the_gradients_that_it_has_of_the_whole_batch(counts):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(6, 5, generator=generator)
    state = {
        "layer.weight": torch.randn(3, 4, 5, generator=generator).requires_grad_(),
        "layer.bias": torch.randn(3, 4, generator=generator).requires_grad_(),
    }
    mask = torch.stack([torch.randperm(6, generator=generator) < count for count in counts])
    gradient = torch.randn(3, 4, 6, generator=generator) * mask[:, None]
    kept = KeptSamples()
    outputs = [shared_linear(inputs, state, "layer", told) for told in (None, kept)]
    kept.tell(mask)
    assert bool(kept.positions) == (min(counts) < 6)
    assert torch.equal(*outputs)
    whole, alone = (torch.autograd.grad(o, list(state.values()), gradient) for o in outputs)
    for ours, theirs in zip(alone, whole, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("method", KEEPING)
def test_a_training_is_the_one_that_multiplies_by_nought(method, blobs, leaving_out):
    leaving_out(False)
    masked = train(method, RATES, blobs, CONFIG)
    leaving_out(True)
    assert Setup.of(method, blobs, CONFIG).tells_kept
    for ours, theirs in zip(train(method, RATES, blobs, CONFIG), masked, strict=True):
        assert ours.kept_counts.tolist() == theirs.kept_counts.tolist()
        for name in CURVES:
            np.testing.assert_allclose(ours.curves[name], theirs.curves[name], atol=1e-5)


def test_a_trial_does_not_depend_on_what_its_neighbours_keep(blobs, leaving_out):
    leaving_out(True)
    stacked = train("coteaching", RATES, blobs, CONFIG)
    for position, rates in enumerate(RATES):
        (alone,) = train("coteaching", [rates], blobs, CONFIG)
        for one, other in zip(alone.model.states, stacked[position].model.states, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("standard", {}),
        ("reweight", {}),
        ("coteaching", {"precision": "bfloat16"}),
        ("coteaching", {"execution": "vmap"}),
    ],
)
def test_it_is_only_done_where_it_can_be(method, changes, blobs, leaving_out):
    leaving_out(True)
    assert not Setup.of(method, blobs, replace(CONFIG, **changes)).tells_kept


def test_nothing_is_read_back_from_a_gpu(blobs, leaving_out):
    leaving_out(True)
    setup = Setup.of("coteaching", blobs, CONFIG)
    assert not replace(setup, device=torch.device("cuda")).tells_kept


def test_small_products_are_not_worth_it(blobs):
    setup = Setup.of("coteaching", blobs, CONFIG)
    assert step_operations(setup.network, 20) < WORK_OF_LEAVING_OUT
    assert not setup.tells_kept
