"""Gradients that are written out, without what is not kept: the same results in less time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from s2e_optuna.training import CURVES, TrainConfig, train
from s2e_optuna.training import setup as setup_of_training
from s2e_optuna.training.evaluation import cross_entropy_gradient, losses_of, sample_losses
from s2e_optuna.training.networks.by_hand import groups_of, kept_samples
from s2e_optuna.training.networks.mlp import Mlp
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


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("counts", [(8, 3, 24), (16, 16, 24), (24, 24, 24)])
def test_the_gradients_are_those_of_a_graph(counts, own):
    generator = torch.Generator().manual_seed(0)
    network = Mlp((1, 1, 5), 4)
    state = {name: p.requires_grad_() for name, p in network.initial([0, 1, 2]).items()}
    images = torch.rand(*([3] if own else []), 24, 1, 1, 5, generator=generator)
    labels = torch.randint(0, 4, (24,), generator=generator)
    marked = [torch.randperm(24, generator=generator) < count for count in counts]
    weights = torch.stack(marked) * torch.rand(3, 24, generator=generator)
    logits = network.forward(state, images)
    loss = (sample_losses(logits, labels) * weights).sum()
    expected = torch.autograd.grad(loss, list(state.values()))
    with torch.no_grad():
        begun = network.begin(state, images)
        torch.testing.assert_close(begun.logits.mT, logits)
        errors = cross_entropy_gradient(begun.logits.log_softmax(1), labels, weights)
        found = {name: torch.full_like(p, float("nan")) for name, p in state.items()}
        begun.differentiate(errors, found, kept_samples(weights > 0))
    for ours, theirs in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_models_that_learn_from_as_many_samples_are_a_group():
    groups = [(slice(0, 2), 8), (slice(2, 3), 24), (slice(3, 4), 32)]
    assert groups_of([5, 8, 17, 32], 32) == groups
    kept = kept_samples(torch.arange(32) % 2 < torch.tensor([[1], [2]]))
    assert kept.groups == [(slice(0, 1), 16), (slice(1, 2), 32)]
    assert kept.samples[0, :16].tolist() == list(range(0, 32, 2))
    assert groups_of([32, 27], 32) is None
    assert kept_samples(torch.ones(2, 32, dtype=torch.bool)) is None


@pytest.mark.parametrize("soft", [False, True])
def test_losses_of_logarithms_are_cross_entropies_and_have_their_gradient(soft):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 4, generator=generator, requires_grad=True)
    labels = torch.rand(6, 4, generator=generator) if soft else torch.arange(6) % 4
    weights = torch.rand(3, 6, generator=generator)
    losses = sample_losses(logits, labels)
    (expected,) = torch.autograd.grad((losses * weights).sum(), logits)
    logs = logits.detach().mT.log_softmax(-2)
    torch.testing.assert_close(losses_of(logs, labels), losses.detach())
    torch.testing.assert_close(cross_entropy_gradient(logs, labels, weights).mT, expected)


@pytest.mark.parametrize("method", KEEPING)
def test_a_training_is_the_one_that_multiplies_by_nought(method, blobs, leaving_out):
    leaving_out(False)
    masked = train(method, RATES, blobs, CONFIG)
    leaving_out(True)
    assert Setup.of(method, blobs, CONFIG).leaves_out
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
    assert not Setup.of(method, blobs, replace(CONFIG, **changes)).leaves_out


def test_nothing_is_read_back_from_a_gpu(blobs, leaving_out):
    leaving_out(True)
    setup = Setup.of("coteaching", blobs, CONFIG)
    assert not replace(setup, device=torch.device("cuda")).leaves_out


def test_small_products_are_not_worth_it(blobs):
    setup = Setup.of("coteaching", blobs, CONFIG)
    assert step_operations(setup.network, 20) < WORK_OF_LEAVING_OUT
    assert not setup.leaves_out
