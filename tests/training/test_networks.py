import pytest
import torch
from torch.nn import functional

from s2e_optuna.training import DataError, StackedModels, make_network, unstack
from s2e_optuna.training.evaluation import sample_losses

CASES = [
    ("mlp", (1, 8, 8)),
    ("mlp", (3, 5, 9)),
    ("cnn1", (3, 32, 32)),
    ("cnn1", (1, 28, 28)),
    ("cnn1", (2, 16, 21)),
]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_stacked_gradients_are_those_of_the_plain_networks(name, shape):
    network = make_network(name, shape, 4)
    parameters = network.initial([1, 2, 3])
    for p in parameters.values():
        p.requires_grad_()
    images, labels = torch.rand(6, *shape), torch.randint(4, (6,))
    weights = torch.rand(3, 6)
    logits = network.forward(parameters, images)
    gradients = torch.autograd.grad(
        sample_losses(logits, labels), list(parameters.values()), weights
    )
    stacked = StackedModels(network, parameters)
    for m in range(3):
        plain = unstack(stacked, m)
        outputs = plain(images)
        torch.testing.assert_close(logits[m].detach(), outputs.detach(), atol=1e-5, rtol=1e-4)
        losses = functional.cross_entropy(outputs, labels, reduction="none")
        (losses * weights[m]).sum().backward()
        for gradient, (key, parameter) in zip(gradients, plain.named_parameters(), strict=True):
            torch.testing.assert_close(
                gradient[m], parameter.grad, atol=1e-5, rtol=1e-4, msg=lambda t, k=key: f"{k}: {t}"
            )


@pytest.mark.parametrize("name", ["mlp", "cnn1"])
def test_trials_start_alike_and_their_two_networks_differ(name):
    parameters = make_network(name, (1, 28, 28), 10).initial([5, 6], copies=3)
    for tensor in parameters.values():
        assert len(tensor) == 6
        assert torch.equal(tensor[:2], tensor[4:])
        assert not torch.equal(tensor[0], tensor[1])


def test_initial_weights_are_torchs_and_leave_the_global_generator_alone():
    torch.manual_seed(7)
    expected = make_network("mlp", (1, 4, 4), 3).plain().state_dict()
    torch.manual_seed(8)
    before = torch.get_rng_state()
    drawn = make_network("mlp", (1, 4, 4), 3).initial([7])
    assert torch.equal(before, torch.get_rng_state())
    for name, tensor in expected.items():
        assert torch.equal(drawn[name][0], tensor)


@pytest.mark.parametrize(
    ("shape", "name"),
    [((1, 28, 28), "mlp"), ((1, 8, 8), "mlp"), ((3, 32, 32), "cnn1"), ((3, 8, 8), "mlp")],
)
def test_auto_picks_by_input_size(shape, name):
    assert make_network("auto", shape, 10).name == name


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [("cnn1", (1, 8, 8), "at least 16x16.*use network mlp"), ("vgg", (1, 8, 8), "cnn1, mlp")],
)
def test_bad_networks_say_what_to_do(name, shape, says):
    with pytest.raises(DataError, match=says):
        make_network(name, shape, 10)
