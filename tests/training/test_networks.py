import pickle

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional

from s2e_optuna.errors import DataError
from s2e_optuna.training import StackedModels, TrainingPass, make_network, unstack
from s2e_optuna.training.evaluation import sample_losses
from s2e_optuna.training.networks.cnn3 import Cnn3
from s2e_optuna.training.networks.layers import dropout

CASES = [
    ("mlp", (1, 8, 8)),
    ("mlp", (3, 5, 9)),
    ("cnn1", (3, 32, 32)),
    ("cnn1", (1, 28, 28)),
    ("cnn1", (2, 16, 21)),
    ("cnn2", (3, 16, 16)),
    ("cnn2", (1, 9, 13)),
]


class Normalised(nn.Module):
    """A user's network with batch normalisation, dropout, a tied and a frozen parameter."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        channels, height, width = input_shape
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.again = self.norm
        self.frozen = nn.Parameter(torch.ones(4, 1, 1), requires_grad=False)
        self.drop = nn.Dropout(0.5)
        self.output = nn.Linear(4 * height * width, n_classes)

    def forward(self, images):
        hidden = self.again(self.conv(images)).relu() * self.frozen
        return self.output(self.drop(hidden).flatten(1))


class Branching(nn.Module):
    """Reads a number back to the host, which vmap refuses."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.output = nn.Linear(input_shape[1] * input_shape[2] * input_shape[0], n_classes)

    def forward(self, images):
        logits = self.output(images.flatten(1))
        return logits if logits.sum().item() < 1e9 else -logits


class NoDropout(Cnn3):
    dropout = 0.0
    widths = (4, 4, 5, 6, 6, 7, 8, 7, 6)


def training_pass(networks=1, seed=0):
    return TrainingPass(networks, torch.Generator().manual_seed(seed))


def assert_like_plain_networks(network, training, models=3):
    """Compare logits, gradients and buffers with those of the plain networks, in float64."""
    generator = torch.Generator().manual_seed(0)
    state = {
        name: tensor.double() if tensor.is_floating_point() else tensor
        for name, tensor in network.initial(range(models)).items()
    }
    plain = [
        unstack(StackedModels(network, state), m).double().train(training) for m in range(models)
    ]
    parameters = {n: p.requires_grad_() for n, p in state.items() if n in network.parameter_names}
    images = torch.rand(6, *network.input_shape, generator=generator, dtype=torch.float64)
    labels = torch.arange(6) % network.n_classes
    weights = torch.rand(models, 6, generator=generator, dtype=torch.float64)
    logits = network.forward(state, images, training_pass() if training else None)
    losses = sample_losses(logits, labels)
    gradients = torch.autograd.grad(losses, list(parameters.values()), weights)
    for m, module in enumerate(plain):
        outputs = module(images)
        torch.testing.assert_close(logits[m], outputs)
        given = functional.cross_entropy(outputs, labels, reduction="none")
        expected = torch.autograd.grad(
            (given * weights[m]).sum(), [dict(module.named_parameters())[n] for n in parameters]
        )
        for name, ours, theirs in zip(parameters, gradients, expected, strict=True):
            torch.testing.assert_close(ours[m], theirs, msg=lambda t, n=name: f"{n}: {t}")
        for name, buffer in module.named_buffers():
            torch.testing.assert_close(state[name][m], buffer)


def test_a_stack_of_modules_can_be_pickled():
    network = make_network(Branching, (1, 4, 4), 3)
    state, images = network.initial([0, 1]), torch.rand(5, 1, 4, 4)
    copy = pickle.loads(pickle.dumps(network))
    assert torch.equal(copy.forward(state, images), network.forward(state, images))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_stacked_networks_are_the_plain_ones(name, shape, training):
    assert_like_plain_networks(make_network(name, shape, 4, execution="folded"), training)


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 16, 21), (3, 33, 16)])
def test_unfolded_networks_are_the_plain_ones(shape):
    assert_like_plain_networks(make_network("cnn1", shape, 4, execution="unfold"), True)


def test_cnn1_unfolds_images_of_one_channel_on_cpu():
    def taken(channels, device_type):
        return make_network("cnn1", (channels, 16, 16), 4, device_type=device_type).execution

    assert [taken(channels, "cpu") for channels in (1, 2, 3)] == ["unfold", "folded", "folded"]
    assert {taken(channels, "cuda") for channels in (1, 3)} == {"folded"}


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
def test_unfolded_networks_move_with_their_parameters_as_folded_ones_do():
    network = make_network("cnn1", (2, 17, 20), 4, execution="unfold")
    state = {
        name: tensor.double().requires_grad_() for name, tensor in network.initial([0, 1]).items()
    }
    images = torch.rand(5, *network.input_shape, dtype=torch.float64)

    def moved(execution):
        network = make_network("cnn1", (2, 17, 20), 4, execution=execution)
        with forward_ad.dual_level():
            duals = {name: forward_ad.make_dual(t, t.detach().cos()) for name, t in state.items()}
            return forward_ad.unpack_dual(network.forward(duals, images)).tangent

    torch.testing.assert_close(moved("unfold"), moved("folded"))


def test_the_gradient_of_an_unfolded_pool_goes_to_the_first_of_equal_numbers():
    network = make_network("cnn1", (1, 16, 16), 4, execution="unfold")
    state = network.initial(range(2))
    state["conv1.bias"].fill_(0.5)
    bias = state["conv1.bias"].requires_grad_()
    gradients = []
    for execution in ("unfold", "folded"):
        network = make_network("cnn1", (1, 16, 16), 4, execution=execution)
        logits = network.forward(state, torch.zeros(3, 1, 16, 16))
        gradients += torch.autograd.grad(logits.square().sum(), bias)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("training", [True, False])
def test_cnn3_is_the_plain_one_apart_from_dropout(training):
    assert_like_plain_networks(NoDropout((3, 28, 28), 4), training, models=2)


@pytest.mark.parametrize("execution", ["vmap", "loop"])
@pytest.mark.parametrize("name", ["mlp", "cnn1", "cnn2"])
def test_other_ways_to_run_a_network_give_the_same(name, execution):
    network = make_network(name, (3, 16, 16), 4, execution=execution)
    assert (network.name, network.execution) == (name, execution)
    assert_like_plain_networks(network, True, models=2)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet121"])
def test_networks_of_torchvision(name):
    pytest.importorskip("torchvision")
    network = make_network(name, (1, 8, 8), 4)
    assert network.execution == "loop"
    state = network.initial([1])
    assert network.forward(state, torch.rand(2, 1, 8, 8)).shape == (1, 2, 4)


@pytest.mark.parametrize("execution", ["vmap", "loop"])
def test_a_users_own_network_in_evaluation(execution):
    assert_like_plain_networks(
        make_network(Normalised, (1, 6, 6), 3, execution=execution), training=False
    )


@pytest.mark.parametrize("execution", ["vmap", "loop"])
def test_dropout_differs_between_networks_and_not_between_trials(execution):
    network = make_network(Normalised, (1, 6, 6), 3, execution=execution)
    images = torch.rand(4, 1, 6, 6)
    state = network.initial([1, 1], copies=3)
    logits = network.forward(state, images, training_pass(networks=2))
    assert torch.equal(logits[:2], logits[4:])
    assert not torch.equal(logits[0], logits[1])
    alone = network.forward(network.initial([1, 1]), images, training_pass(networks=2))
    assert torch.equal(alone, logits[:2])
    evaluated = network.forward(state, images)
    assert torch.equal(evaluated[0], evaluated[1])


def test_folded_dropout_differs_between_networks_and_not_between_trials():
    ones = torch.ones(8, 6 * 5, 4, 4)
    dropped = dropout(ones, 6, 0.25, training_pass(networks=2)).view(8, 3, 2, 5, 4, 4)
    assert torch.equal(dropped[:, 0], dropped[:, 2])
    assert not torch.equal(dropped[:, :, 0], dropped[:, :, 1])
    assert (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.05)
    assert dropped.max() == pytest.approx(4 / 3)
    assert dropout(ones, 6, 0.25, None) is ones


def test_what_vmap_refuses_is_run_in_a_loop():
    assert make_network(Branching, (1, 4, 4), 3).execution == "loop"


def test_a_network_of_linear_layers_is_run_with_vmap():
    def build(shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(16, classes))

    assert make_network(build, (1, 4, 4), 3).execution == "vmap"


@pytest.mark.parametrize("name", ["mlp", "cnn1", "cnn2"])
def test_trials_start_alike_and_their_two_networks_differ(name):
    network = make_network(name, (1, 28, 28), 10)
    state = network.initial([5, 6], copies=3)
    for tensor in state.values():
        assert len(tensor) == 6
        assert torch.equal(tensor[:2], tensor[4:])
    first = next(iter(state.values()))
    assert not torch.equal(first[0], first[1])


def test_initial_weights_are_torchs_and_leave_the_global_generator_alone():
    torch.manual_seed(7)
    expected = make_network("mlp", (1, 4, 4), 3).plain().state_dict()
    torch.manual_seed(8)
    before = torch.get_rng_state()
    drawn = make_network("mlp", (1, 4, 4), 3).initial([7])
    make_network(Normalised, (1, 4, 4), 3).initial([7])
    assert torch.equal(before, torch.get_rng_state())
    for name, tensor in expected.items():
        assert torch.equal(drawn[name][0], tensor)


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "flops"),
    [
        ("mlp", (1, 28, 28), 203_530, 406_528),
        ("cnn1", (3, 32, 32), 62_006, 1_303_440),
        ("cnn2", (3, 32, 32), 517_554, 224_801_792),
        ("cnn3", (3, 32, 32), 4_432_522, 1_491_077_632),
    ],
)
def test_layers_of_table_5(name, shape, parameters, flops):
    """Counted by hand from the table."""
    network = make_network(name, shape, 10)
    assert sum(p.numel() for p in network.plain().parameters()) == parameters
    assert network.footprint.operations == flops


@pytest.mark.parametrize(
    ("shape", "name"),
    [((1, 28, 28), "mlp"), ((1, 8, 8), "mlp"), ((3, 32, 32), "cnn1"), ((3, 8, 8), "mlp")],
)
def test_auto_picks_by_input_size(shape, name):
    assert make_network("auto", shape, 10).name == name


def not_a_module(input_shape, n_classes):
    return "network"


def wrong_outputs(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes + 1))


def wrong_inputs(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(65, n_classes))


@pytest.mark.parametrize(
    ("network", "options", "says"),
    [
        ("cnn1", {}, "at least 16x16.*use network mlp"),
        ("cnn2", {"execution": "magic"}, "unknown execution 'magic'"),
        ("cnn3", {}, "at least 28x28"),
        ("vgg", {}, "cnn1, cnn2, cnn3.*package.module:function"),
        ("nowhere.at.all:build", {}, "cannot import network nowhere.at.all:build"),
        ("torch.nn:Nothing", {}, "cannot import network torch.nn:Nothing"),
        ("torch:__version__", {}, "is no function"),
        (3, {}, "neither a name nor a function"),
        (Branching, {"execution": "folded"}, "no execution 'folded' .*: choose auto, vmap, loop"),
        ("mlp", {"execution": "unfold"}, "only cnn1.: choose auto, folded, vmap, loop"),
        (not_a_module, {}, "built a str"),
        (wrong_outputs, {}, r"returns \[2, 11\] for 2 images"),
        (wrong_inputs, {}, "does not take images of"),
    ],
)
def test_bad_networks_say_what_to_do(network, options, says):
    with pytest.raises(DataError, match=says):
        make_network(network, (1, 8, 8), 10, **options)
