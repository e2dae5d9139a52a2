import pytest
import torch

from s2e_optuna.training.optimizer import AdamPlan, StackedAdam


@pytest.mark.parametrize("fused", [True, False])
def test_every_model_of_a_stack_moves_like_torch_adam(fused):
    generator = torch.Generator().manual_seed(0)
    start = {
        "w": torch.randn(3, 7, 5, generator=generator),
        "b": torch.randn(3, 64, generator=generator),
    }
    adam = StackedAdam(start, fused=fused)
    singles = [[p[m].clone().requires_grad_() for p in start.values()] for m in range(3)]
    references = [torch.optim.Adam(single, lr=1.0) for single in singles]
    for step in range(30):
        rate, beta1 = (1e-2, 0.9) if step < 15 else (5e-3, 0.1)
        gradients = {n: torch.randn(p.shape, generator=generator) for n, p in start.items()}
        adam.set_rates(rate, beta1)
        adam.step(gradients)
        for m, (single, reference) in enumerate(zip(singles, references, strict=True)):
            reference.param_groups[0].update(lr=rate, betas=(beta1, 0.999))
            for parameter, gradient in zip(single, gradients.values(), strict=True):
                parameter.grad = gradient[m].clone()
            reference.step()
    for m, single in enumerate(singles):
        for name, parameter in zip(start, single, strict=True):
            torch.testing.assert_close(
                adam.parameters[name][m], parameter.detach(), atol=2e-6, rtol=1e-5
            )


@pytest.mark.parametrize("fused", [True, False])
def test_a_gradient_in_another_memory_layout_moves_the_same_numbers(fused):
    gradient = torch.arange(128.0).view(2, 8, 8) - 40.0
    turned = gradient.transpose(1, 2).contiguous().transpose(1, 2)
    assert not turned.is_contiguous()
    plain, other = (StackedAdam({"w": torch.zeros(2, 8, 8)}, fused=fused) for _ in range(2))
    for adam, given in ((plain, gradient), (other, turned)):
        adam.set_rates(1e-2, 0.9)
        adam.step({"w": given})
        adam.step({"w": given.square()})
    assert torch.equal(plain.parameters["w"], other.parameters["w"])


@pytest.mark.parametrize("fused", [True, False])
def test_selected_models_go_on_to_the_bit_as_if_nothing_had_happened(fused):
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(40, 5, 7, generator=generator)
    adam = StackedAdam({"w": torch.randn(5, 7, generator=generator)}, fused=fused)
    adam.set_rates(1e-2, 0.9)
    for gradient in gradients[:20]:
        adam.step({"w": gradient})
    stay = torch.tensor([1, 4])
    rest = adam.select(stay)
    for gradient in gradients[20:]:
        adam.step({"w": gradient})
        rest.step({"w": gradient[stay]})
    assert torch.equal(rest.parameters["w"], adam.parameters["w"][stay])


def test_the_plan_of_the_common_setting():
    plan = AdamPlan(200)
    assert [plan.rate(e) for e in (0, 79, 80)] == [1e-3] * 3
    assert plan.rate(140) == pytest.approx(0.5e-3)
    assert plan.rate(199) == pytest.approx(1e-3 / 120)
    assert [plan.beta1(e) for e in (79, 80)] == [0.9, 0.1]


def test_a_plan_without_a_fall():
    plan = AdamPlan(10, decay_start=1.0)
    assert {plan.rate(e) for e in range(10)} == {1e-3}
