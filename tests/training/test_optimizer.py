import pytest
import torch

from s2e_optuna.errors import DataError
from s2e_optuna.training.optimizer import OPTIMIZERS, make_optimizer

REFERENCES = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
EVERY = sorted(OPTIMIZERS)


@pytest.mark.parametrize("name", EVERY)
def test_every_model_of_a_stack_moves_as_with_torchs_own(name):
    generator = torch.Generator().manual_seed(0)
    start = {
        "w": torch.randn(3, 7, 5, generator=generator),
        "b": torch.randn(3, 64, generator=generator),
    }
    ours = make_optimizer(name, start)
    singles = [[p[m].clone().requires_grad_() for p in start.values()] for m in range(3)]
    references = [REFERENCES[name](single, lr=1.0) for single in singles]
    for step in range(30):
        rate, beta1 = (1e-2, 0.9) if step < 15 else (5e-3, 0.1)
        gradients = {n: torch.randn(p.shape, generator=generator) for n, p in start.items()}
        ours.set_rates(rate, beta1)
        ours.step(gradients)
        for m, (single, reference) in enumerate(zip(singles, references, strict=True)):
            reference.param_groups[0]["lr"] = rate
            if name == "adam":
                reference.param_groups[0]["betas"] = (beta1, 0.999)
            for parameter, gradient in zip(single, gradients.values(), strict=True):
                parameter.grad = gradient[m].clone()
            reference.step()
    for m, single in enumerate(singles):
        for key, parameter in zip(start, single, strict=True):
            torch.testing.assert_close(
                ours.parameters[key][m], parameter.detach(), atol=2e-6, rtol=1e-5
            )


@pytest.mark.parametrize("name", EVERY)
def test_a_gradient_in_another_memory_layout_moves_the_same_numbers(name):
    gradient = torch.arange(128.0).view(2, 8, 8) - 40.0
    turned = gradient.transpose(1, 2).contiguous().transpose(1, 2)
    assert not turned.is_contiguous()
    plain, other = (make_optimizer(name, {"w": torch.zeros(2, 8, 8)}) for _ in range(2))
    for optimizer, given in ((plain, gradient), (other, turned)):
        optimizer.set_rates(1e-2, 0.9)
        optimizer.step({"w": given})
        optimizer.step({"w": given.square()})
    assert torch.equal(plain.parameters["w"], other.parameters["w"])


@pytest.mark.parametrize("name", EVERY)
def test_a_gradient_that_repeats_one_number_is_not_read_past(name):
    number = torch.tensor([1.0] + [-1.0] * 127)[:1]  # what lies behind it is another's
    plain, other = (make_optimizer(name, {"w": torch.zeros(1, 64)}) for _ in range(2))
    for optimizer, given in ((plain, torch.ones(1, 64)), (other, number.expand(1, 64))):
        optimizer.set_rates(1e-2, 0.9)
        optimizer.step({"w": given})
    assert torch.equal(plain.parameters["w"], other.parameters["w"])


@pytest.mark.parametrize("name", EVERY)
def test_selected_models_go_on_to_the_bit_as_if_nothing_had_happened(name):
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(40, 5, 7, generator=generator)
    optimizer = make_optimizer(name, {"w": torch.randn(5, 7, generator=generator)})
    optimizer.set_rates(1e-2, 0.9)
    for gradient in gradients[:20]:
        optimizer.step({"w": gradient})
    stay = torch.tensor([1, 4])
    rest = optimizer.select(stay)
    for gradient in gradients[20:]:
        optimizer.step({"w": gradient})
        rest.step({"w": gradient[stay]})
    assert torch.equal(rest.parameters["w"], optimizer.parameters["w"][stay])


def test_only_adam_bakes_its_beta1_into_a_recording():
    for name in EVERY:
        optimizer = make_optimizer(name, {"w": torch.zeros(2)})
        optimizer.set_rates(1e-3, 0.9)
        early = optimizer.signature
        optimizer.set_rates(1e-4, 0.9)
        assert optimizer.signature == early
        optimizer.set_rates(1e-4, 0.1)
        assert (optimizer.signature == early) is (name != "adam")


def test_an_unknown_optimizer_lists_what_exists():
    with pytest.raises(DataError, match="choose one of adam, rmsprop, sgd"):
        make_optimizer("lion", {"w": torch.zeros(2)})


@pytest.mark.parametrize("name", EVERY)
def test_each_model_has_weight_decay_and_learning_rate_of_its_own_as_in_torch(name):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 7, 5, generator=generator)
    decays, factors = [0.0, 0.1, 0.02], [1.0, 0.5, 3.0]
    ours = make_optimizer(name, {"w": start}, torch.tensor(decays), torch.tensor(factors))
    ours.set_rates(1e-2, 0.9)
    singles = [p.clone().requires_grad_() for p in start]
    references = [
        REFERENCES[name]([p], lr=1e-2 * factor, weight_decay=decay)
        for p, decay, factor in zip(singles, decays, factors, strict=True)
    ]
    for step in range(20):
        if step == 10:  # two of them go on by themselves
            ours, singles, references = (
                ours.select(torch.tensor([2, 1])), singles[:0:-1], references[:0:-1]
            )  # fmt: skip
        gradient = torch.randn(3, 7, 5, generator=generator)[: len(singles)]
        ours.step({"w": gradient})
        for single, reference, own in zip(singles, references, gradient, strict=True):
            single.grad = own.clone()
            reference.step()
    for found, single in zip(ours.parameters["w"], singles, strict=True):
        torch.testing.assert_close(found, single.detach(), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_no_weight_decay_changes_no_bit(name):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 9, generator=generator)
    plain = make_optimizer(name, {"w": start})
    other = make_optimizer(name, {"w": start}, torch.tensor([0.0, 0.3]))
    for optimizer in (plain, other):
        optimizer.set_rates(1e-2, 0.9)
        optimizer.step({"w": start.square()})
        optimizer.step({"w": start.sin()})
    assert torch.equal(plain.parameters["w"][0], other.parameters["w"][0])
    assert not torch.equal(plain.parameters["w"][1], other.parameters["w"][1])
