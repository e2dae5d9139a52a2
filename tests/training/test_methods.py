"""One table-driven test over all methods; what is special about each is in test_method_rules."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_steps import view_of
from torch._subclasses.fake_tensor import FakeTensorMode

from s2e_optuna.errors import DataError
from s2e_optuna.training import METHODS, Method, TrainConfig, get_method, train
from s2e_optuna.training.methods import Step

EVERY = [*METHODS, "coteaching_plus:as_released"]
WEIGHING = [name for name in EVERY if type(get_method(name)).step is Method.step]

# Validation accuracy after the first of two epochs on digits with half of the labels wrong.
FIRST_EPOCH = {
    "standard": 0.725,
    "decoupling": 0.722,
    "f_correction": 0.320,
    "mentornet": 0.494,
    "coteaching": 0.521,
    "coteaching_plus": 0.281,
    "coteaching_plus:as_released": 0.154,
    "reweight": 0.291,
    "comining": 0.350,
}


def view(method, trials=2, batch=12, rate=0.6, seed=0, epoch=9):
    generator = torch.Generator().manual_seed(seed)
    shape = (trials, method.networks, batch)
    return view_of(
        losses=torch.rand(shape, generator=generator),
        logits=torch.randn(*shape, 4, generator=generator),
        labels=torch.randint(4, (batch,), generator=generator),
        samples=torch.randperm(50, generator=generator)[:batch],
        rate=rate,
        epoch=epoch,
        state=method.state(trials, 4, torch.device("cpu")),
    )


@pytest.mark.parametrize("name", WEIGHING)
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), keep=st.integers(1, 12))
def test_weights_are_shares_of_at_most_the_whole(name, seed, keep):
    method = get_method(name)
    batch = view(method, rate=keep / 12, seed=seed)
    weights = method.weights(batch)
    assert weights.shape == batch.losses.shape
    assert (weights >= 0).all()
    assert (weights.sum(2) <= 1 + 1e-6).all()
    if method.uses_schedule:
        assert ((weights > 0).sum(2) <= keep).all() or name.startswith("coteaching_plus")


@pytest.mark.parametrize("name", WEIGHING)
def test_trials_do_not_see_each_other(name):
    method = get_method(name)
    both = view(method)
    alone = replace(
        both,
        losses=both.losses[1:],
        logits=both.logits[1:],
        rate=both.rate[1:],
        keep=both.keep[1:],
        by_rank=both.by_rank[1:],
    )
    assert torch.equal(method.weights(both)[1:], method.weights(alone))


@pytest.mark.parametrize("name", [*WEIGHING, "comining:scale=16,margin=0.3"])
def test_a_step_reads_nothing_back_and_has_no_shape_that_varies(name):
    """What a CUDA graph asks for: tensors without values are enough to run it."""
    method = get_method(name)
    with FakeTensorMode(allow_non_fake_inputs=True):
        batch = view(method)
        step = Step(**{field.name: getattr(batch, field.name) for field in fields(Step)})
        assert method.step(step).weights.shape == batch.losses.shape


@pytest.mark.parametrize("name", EVERY)
def test_first_epoch_is_what_it_was(name, digits):
    config = TrainConfig(epochs=2, batch_size=32)
    (result,) = train(name, [[0.7, 0.7]], digits, config)
    assert result.validation_accuracy[0] == pytest.approx(FIRST_EPOCH[name], abs=0.02)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_in_spite_of_wrong_labels(name, blobs):
    config = TrainConfig(epochs=15, batch_size=20, learning_rate=3e-3)
    (result,) = train(name, [1 - 0.3 * np.minimum(np.arange(15) / 5, 1)], blobs, config)
    assert result.status == "complete"
    assert result.test_accuracy[-1] > 0.9
    assert len(result.test_accuracy) == len(result.label_precision) == 15


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].uses_schedule])
def test_the_schedule_matters_where_it_is_said_to(name, blobs):
    config = TrainConfig(epochs=2, batch_size=20)
    much, little = train(name, [[1.0, 1.0], [0.4, 0.4]], blobs, config)
    assert little.kept_share[1] < much.kept_share[1]


@pytest.mark.parametrize("name", [name for name in METHODS if not METHODS[name].uses_schedule])
def test_the_schedule_is_ignored_by_the_others(name, blobs):
    config = TrainConfig(epochs=2, batch_size=20)
    much, little = train(name, [[1.0, 1.0], [0.4, 0.4]], blobs, config)
    assert little.training_loss.tolist() == much.training_loss.tolist()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name):
    assert METHODS[name].name == name
    assert 20 < len(METHODS[name].summary) < 90


def test_options_follow_the_name():
    method = get_method("coteaching_plus:warm_up=7,as_released")
    assert (method.warm_up, method.as_released) == (7, True)
    assert get_method("f_correction:percentile=90").percentile == 90.0
    assert METHODS["coteaching_plus"].warm_up is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("magic", "unknown method 'magic': choose one of comining, coteaching"),
        ("standard:x=1", "method 'standard' has no option 'x': it has none"),
        ("decoupling:x=1", "no option 'x': choose one of warm_up"),
        ("decoupling:warm_up=soon", "warm_up of method 'decoupling' is 'soon': give a whole"),
        ("decoupling:warm_up=-1", "warm_up -1 is out of range"),
        ("coteaching_plus:as_released=2", "is '2': give true or false"),
        ("f_correction:estimation_epochs=0", "estimation_epochs 0 is out of range"),
        ("f_correction:percentile=0", "percentile 0.0 is out of range"),
        ("comining:margin=0.5", "margin 0.5 is out of range"),
        ("comining:scale=-1", "scale -1.0 is out of range"),
    ],
)
def test_a_wrong_name_or_option_says_what_to_do(name, says):
    with pytest.raises(DataError, match=says):
        get_method(name)
