"""One table-driven test over all methods, and what is special about each."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna.training import (
    METHODS,
    BatchView,
    DataError,
    Method,
    TrainConfig,
    get_method,
    train,
)

EVERY = sorted(METHODS)
WEIGHING = [name for name in EVERY if type(METHODS[name]).step is Method.step]

# Validation accuracy after one epoch on digits with half of the labels wrong, keep rate 0.7.
FIRST_EPOCH = {"standard": 0.670, "coteaching": 0.451, "f_correction": 0.295, "reweight": 0.382}


def view(method, trials=2, batch=12, keep=7, seed=0, epoch=3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(trials, method.networks, batch, 4, generator=generator)
    labels = torch.randint(4, (batch,), generator=generator)
    losses = torch.rand(trials, method.networks, batch, generator=generator)
    counts = torch.full((trials, 1, 1), keep)
    return BatchView(
        losses=losses, logits=logits, labels=labels, keep=counts, epoch=torch.tensor(epoch)
    )


@pytest.mark.parametrize("name", WEIGHING)
@settings(deadline=None)
@given(seed=st.integers(0, 1000), keep=st.integers(1, 12))
def test_weights_are_a_mean_over_the_kept(name, seed, keep):
    method = get_method(name)
    batch = view(method, keep=keep, seed=seed)
    weights = method.weights(batch)
    assert weights.shape == batch.losses.shape
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(2), torch.ones(2, method.networks))
    if method.uses_schedule:
        assert ((weights > 0).sum(2) == keep).all()


@pytest.mark.parametrize("name", WEIGHING)
def test_trials_do_not_see_each_other(name):
    method = get_method(name)
    both = view(method)
    alone = BatchView(both.losses[1:], both.logits[1:], both.labels, both.keep[1:], both.epoch)
    assert torch.equal(method.weights(both)[1:], method.weights(alone))


@pytest.mark.parametrize("name", EVERY)
def test_first_epoch_is_what_it_was(name, digits):
    config = TrainConfig(epochs=1, batch_size=32)
    (result,) = train(name, [[0.7]], digits, config)
    assert result.validation_accuracy[0] == pytest.approx(FIRST_EPOCH[name], abs=0.02)


def test_standard_keeps_everything_whatever_the_schedule():
    weights = get_method("standard").weights(view(get_method("standard"), keep=1))
    assert torch.equal(weights, torch.full((2, 1, 12), 1 / 12))


def test_coteaching_networks_swap_their_selections():
    losses = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]]])
    batch = BatchView(
        losses,
        torch.zeros(1, 2, 4, 3),
        torch.zeros(4).long(),
        torch.full((1, 1, 1), 2),
        torch.tensor(0),
    )
    weights = get_method("coteaching").weights(batch)
    assert weights[0, 0].tolist() == [0.0, 0.0, 0.5, 0.5]  # what the second trusts
    assert weights[0, 1].tolist() == [0.5, 0.5, 0.0, 0.0]  # what the first trusts


def test_an_unknown_method_lists_what_exists():
    with pytest.raises(DataError, match="choose one of coteaching"):
        get_method("magic")
