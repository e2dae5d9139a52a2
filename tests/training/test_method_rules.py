"""The property that defines each method."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from method_steps import view_of
from torch.func import functional_call
from torch.nn import functional

from s2e_optuna.data import from_arrays
from s2e_optuna.data.noisy_data import scale_pixels
from s2e_optuna.errors import DataError
from s2e_optuna.training import METHODS, TrainConfig, get_method, train
from s2e_optuna.training.methods import Step
from s2e_optuna.training.methods.comining import arcface_logits
from s2e_optuna.training.methods.f_correction import ForwardCorrection, estimate_transition
from s2e_optuna.training.networks import make_network


def batch_of(losses, predicted=None, *, rate=0.5, epoch=0, first_sample=100):
    """Losses [networks][B] of one trial; `predicted` are the classes that the networks see."""
    losses = torch.tensor([losses], dtype=torch.float32)
    _, networks, size = losses.shape
    predicted = torch.zeros(networks, size) if predicted is None else torch.tensor(predicted)
    return view_of(
        losses,
        functional.one_hot(predicted.long(), 4).float()[None],
        torch.zeros(size, dtype=torch.int64),
        torch.arange(first_sample, first_sample + size),
        rate=rate,
        epoch=epoch,
    )


def weigh(name, batch):
    return get_method(name).weights(batch)[0].tolist()


RISING_AND_FALLING = [[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]]


def test_standard_keeps_everything_whatever_the_schedule():
    assert weigh("standard", batch_of([[1.0, 2.0, 3.0, 4.0]])) == [[0.25] * 4]


def test_mentornet_trains_on_its_own_smallest_losses():
    assert get_method("mentornet").networks == 1
    assert weigh("mentornet", batch_of([[4.0, 2.0, 3.0, 1.0]])) == [[0.0, 0.5, 0.0, 0.5]]


def test_coteaching_networks_swap_their_selections():
    first, second = weigh("coteaching", batch_of(RISING_AND_FALLING))
    assert first == [0.0, 0.0, 0.5, 0.5]  # what the second trusts
    assert second == [0.5, 0.5, 0.0, 0.0]  # what the first trusts


class TestDecoupling:
    def test_both_update_only_where_they_disagree(self):
        batch = batch_of(RISING_AND_FALLING, [[0, 1, 2, 3], [0, 2, 2, 1]])
        assert weigh("decoupling:warm_up=0", batch) == [[0.0, 0.5, 0.0, 0.5]] * 2

    def test_a_few_disagreements_do_not_make_a_full_step(self):
        predicted = [[0] * 20, [1] + [0] * 19]
        weights = weigh("decoupling:warm_up=0", batch_of([[1.0] * 20] * 2, predicted))
        assert weights == [[0.5] + [0.0] * 19] * 2  # one of max(0.1 * 20, 1)

    def test_no_disagreement_no_update(self):
        assert weigh("decoupling:warm_up=0", batch_of(RISING_AND_FALLING)) == [[0.0] * 4] * 2

    def test_the_warm_up_takes_everything(self):
        for epoch, expected in ((4, 0.25), (5, 0.0)):
            batch = batch_of(RISING_AND_FALLING, epoch=epoch)
            assert weigh("decoupling", batch) == [[expected] * 4] * 2


class TestCoTeachingPlus:
    apart = ((0, 0, 0, 0, 0, 0), (0, 1, 1, 0, 1, 1))
    losses = ((0.0, 1.0, 2.0, 0.0, 3.0, 4.0), (0.0, 4.0, 3.0, 0.0, 2.0, 1.0))

    def test_it_selects_within_the_disagreement(self):
        first, second = weigh("coteaching_plus", batch_of(self.losses, self.apart))
        assert first == [0.0, 0.0, 0.0, 0.0, 0.5, 0.5]
        assert second == [0.0, 0.5, 0.5, 0.0, 0.0, 0.0]

    def test_where_the_share_is_no_sample_it_takes_all_of_the_disagreement(self):
        weights = weigh("coteaching_plus", batch_of(self.losses, self.apart, rate=0.2))
        assert weights == [[0.0, 0.25, 0.25, 0.0, 0.25, 0.25]] * 2

    def test_without_disagreement_it_takes_the_whole_batch(self):
        weights = weigh("coteaching_plus", batch_of(RISING_AND_FALLING))
        assert weights == [[0.25] * 4] * 2

    def test_the_warm_up_is_coteaching(self):
        batch = batch_of(self.losses, self.apart, epoch=2)
        assert weigh("coteaching_plus:warm_up=3", batch) == weigh("coteaching", batch)
        assert weigh("coteaching_plus:warm_up=2", batch) == weigh("coteaching_plus", batch)

    @pytest.mark.parametrize(("name", "epochs"), [("mnist", 0), ("cifar10", 20), ("cifar100", 5)])
    def test_the_warm_up_is_the_papers(self, blobs, name, epochs):
        fitted = get_method("coteaching_plus").fitted_to(replace(blobs, name=name))
        assert fitted.warm_up == epochs
        assert get_method("coteaching_plus:warm_up=3").fitted_to(blobs).warm_up == 3

    def test_as_released_it_takes_the_mean_over_k_and_divides_by_k_again(self):
        batch = batch_of(self.losses, self.apart)
        first, _ = weigh("coteaching_plus:as_released", batch)
        assert first == [0.0, 0.0, 0.0, 0.0, 0.25, 0.25]

    def test_as_released_the_first_sample_costs_the_last_of_the_disagreement(self):
        apart = [[0] * 4, [1, 1, 1, 1]]
        for first_sample, kept in ((100, 4), (0, 3)):
            batch = batch_of([[1.0] * 4] * 2, apart, rate=1.0, first_sample=first_sample)
            weights = get_method("coteaching_plus:as_released").weights(batch)
            assert (weights[0, 0] > 0).tolist() == [True] * kept + [False] * (4 - kept)

    def test_as_released_the_softmax_is_applied_twice_after_the_warm_up(self, blobs):
        logits, labels = torch.randn(1, 2, 5, 3), torch.arange(5) % 3
        method = get_method("coteaching_plus:as_released,warm_up=1")
        for epoch, expected in ((0, logits), (1, logits.softmax(-1))):
            step = step_of(blobs, method, epoch=epoch)
            plain = functional.cross_entropy(
                expected.flatten(0, 2), labels.repeat(2), reduction="none"
            )
            torch.testing.assert_close(method.losses(logits, labels, step).flatten(), plain)


class TestForwardCorrection:
    transition = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.6, 0.4], [0.1, 0.0, 0.9]])

    def test_it_recovers_a_known_matrix_from_true_posteriors(self):
        generator = torch.Generator().manual_seed(0)
        truth = torch.randn(3000, 3, generator=generator).mul(4).softmax(-1)
        truth[:300] = torch.eye(3).repeat(100, 1)  # some samples certainly are of their class
        estimate = estimate_transition(truth @ self.transition, percentile=100.0)
        torch.testing.assert_close(estimate, self.transition, atol=1e-4, rtol=0)

    def test_the_percentile_leaves_outliers_out(self):
        posterior = torch.full((100, 2), 0.5)
        posterior[:, 0] = torch.linspace(0.1, 0.9, 100)
        posterior[:, 1] = 1 - posterior[:, 0]
        posterior[99] = torch.tensor([1.0, 0.0])
        plain, robust = (estimate_transition(posterior, p)[0, 0].item() for p in (100.0, 97.0))
        assert plain == 1.0
        assert robust == pytest.approx(posterior[96, 0].item())

    def test_each_trial_has_its_own_matrix(self):
        posteriors = torch.rand(4, 1, 50, 3).softmax(-1)
        together = estimate_transition(posteriors, 97.0)
        assert together.shape == (4, 1, 3, 3)
        assert torch.equal(together[2], estimate_transition(posteriors[2], 97.0))

    def test_its_loss_goes_through_the_matrix(self, blobs):
        method = get_method("f_correction")
        logits, labels = torch.randn(2, 1, 7, 3), torch.arange(7) % 3
        step = step_of(blobs, method, trials=2)
        plain = functional.cross_entropy(logits.flatten(0, 2), labels.repeat(2), reduction="none")
        torch.testing.assert_close(method.losses(logits, labels, step).flatten(), plain)
        step.state["transition"][1] = self.transition
        expected = -(logits[1, 0].softmax(-1) @ self.transition)[torch.arange(7), labels].log()
        torch.testing.assert_close(method.losses(logits, labels, step)[1, 0], expected)

    def test_it_finds_the_noise_and_learns_the_truth(self, monkeypatch):
        # Enough samples, and so well apart that the posteriors can be learnt.
        rng = np.random.default_rng(0)
        labels = np.arange(3000) % 3
        points = (np.eye(3)[labels] * 0.6 + rng.normal(0.2, 0.06, (3000, 3))).astype(np.float32)
        data = from_arrays(
            points[:2400],
            labels[:2400],
            points[2400:],
            labels[2400:],
            noise="pair",
            noise_rate=0.4,
        )
        found = []

        class Remembering(ForwardCorrection):
            def prepare(self, stack):
                super().prepare(stack)
                found.extend(shard.state["transition"].clone() for shard in stack.shards)

        monkeypatch.setitem(METHODS, "f_correction", Remembering())
        config = TrainConfig(epochs=15, batch_size=32, learning_rate=3e-3)
        corrected, _ = train("f_correction", [None, None], data, config)
        truth = torch.tensor([[0.6, 0.4, 0.0], [0.0, 0.6, 0.4], [0.4, 0.0, 0.6]])
        torch.testing.assert_close(found[0], truth.expand(2, 1, 3, 3), atol=0.08, rtol=0)
        assert corrected.validation_accuracy[-1] > 0.97

    def test_many_classes_take_the_plain_maximum(self, blobs):
        few, many = (
            get_method("f_correction").fitted_to(replace(blobs, n_classes=n)) for n in (10, 100)
        )
        assert (few.percentile, many.percentile) == (97.0, 100.0)

    @pytest.mark.parametrize(("options", "epochs"), [("", 3), (":estimation_epochs=2", 2)])
    def test_its_preparation_is_as_long_as_the_training_or_as_it_is_told(
        self, blobs, options, epochs
    ):
        seen = []
        config = TrainConfig(epochs=3, batch_size=20)
        name = f"f_correction{options}"
        (result,) = train(name, [None], blobs, config, on_preparation=seen.append)
        assert seen == list(range(1, epochs + 1))
        assert result.epochs == 3


def step_of(data, method, trials=1, epoch=0, count=20, network="mlp"):
    """Make the first step of a training: forward pass, parameters, a batch and a clean one."""
    architecture = make_network(network, data.input_shape, data.n_classes)
    parameters = architecture.initial(list(range(method.networks)), copies=trials)
    for tensor in parameters.values():
        tensor += 0.01 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))

    def forward(values, images):
        return architecture.forward(values, images).unflatten(0, (-1, method.networks))

    return Step(
        forward=forward,
        parameters={name: tensor.requires_grad_() for name, tensor in parameters.items()},
        images=scale_pixels(data.x_train[:count]),
        labels=data.y_train[:count],
        targets=None,
        clean=(scale_pixels(data.x_val[:count]), data.y_val[:count]),
        samples=torch.arange(count),
        rate=torch.ones(trials, 1, 1, dtype=torch.float64),
        keep=torch.full((trials, 1, 1), count),
        by_rank=torch.full((trials, 1, count), 1.0 / count),
        epoch=torch.tensor(epoch),
        state=method.state(trials, data.n_classes, torch.device("cpu")),
    )


class TestReweight:
    @pytest.mark.parametrize("network", ["mlp", "cnn1"])
    def test_its_weights_are_those_of_the_virtual_step(self, digits, network):
        """Against the algorithm as printed: a step with weights e, differentiated twice."""
        data = digits
        if network == "cnn1":  # it wants larger images
            data = replace(
                digits,
                x_train=digits.x_train.repeat_interleave(2, 2).repeat_interleave(2, 3),
                x_val=digits.x_val.repeat_interleave(2, 2).repeat_interleave(2, 3),
            )
        method = get_method("reweight")
        step = step_of(data, method, trials=2, network=network)
        method.prepare(None)
        weights = method.step(step).weights
        architecture = make_network(network, data.input_shape, data.n_classes)
        for trial in range(2):
            module = architecture.plain()
            start = {
                name: p[trial].detach().requires_grad_() for name, p in step.parameters.items()
            }
            e = torch.zeros(20, requires_grad=True)
            losses = functional.cross_entropy(
                functional_call(module, start, step.images), step.labels, reduction="none"
            )
            gradients = torch.autograd.grad((e * losses).sum(), start.values(), create_graph=True)
            moved = {
                name: p - 0.1 * g for (name, p), g in zip(start.items(), gradients, strict=True)
            }
            clean = functional.cross_entropy(
                functional_call(module, moved, step.clean[0]), step.clean[1]
            )
            (gradient,) = torch.autograd.grad(clean, e)
            expected = (-gradient).clamp_min(0)
            torch.testing.assert_close(
                weights[trial, 0], expected / expected.sum(), atol=1e-5, rtol=1e-4
            )

    def test_the_step_learns_from_the_losses_themselves(self, blobs):
        method = get_method("reweight")
        step = step_of(blobs, method)
        decision = method.step(step)
        logits = step.forward(step.parameters, step.images)
        torch.testing.assert_close(decision.losses, method.losses(logits, step.labels, step))
        gradients = torch.autograd.grad(
            decision.losses, step.parameters.values(), decision.weights
        )
        assert all(gradient.abs().sum() > 0 for gradient in gradients)

    def test_wrong_labels_weigh_less(self, blobs):
        (result,) = train("reweight", [None], blobs, TrainConfig(epochs=20, batch_size=20))
        clean = (blobs.y_clean == blobs.y_train).numpy()
        kept = result.kept_counts / result.offered_counts
        assert kept[clean].mean() > 1.5 * kept[~clean].mean()

    def test_without_anything_useful_nothing_is_learnt(self, blobs):
        step = step_of(blobs, get_method("reweight"))
        step = replace(step, clean=(step.images, (step.labels + 1) % 3), labels=step.labels)
        weights = get_method("reweight").step(step).weights
        assert weights.isfinite().all()

    def test_it_is_judged_on_other_samples_than_it_learns_from(self, blobs):
        config = TrainConfig(epochs=4, batch_size=20)
        (result,) = train("reweight", [None], blobs, config)
        # 60 validation samples: 30 to learn from, 30 to be judged on.
        assert (result.validation_accuracy * 30 == np.round(result.validation_accuracy * 30)).all()

    def test_noisy_validation_data_will_not_do(self, blobs):
        noisy = replace(blobs, validation="noisy")
        with pytest.raises(DataError, match="learns from clean samples, but the validation"):
            train("reweight", [None], noisy, TrainConfig(epochs=1, batch_size=20))


class TestCoMining:
    losses = ((1.0, 2.0, 9.0, 3.0), (1.0, 9.0, 8.0, 2.0))

    def test_it_drops_what_neither_trusts_and_exchanges_the_rest(self):
        first, second = weigh("comining", batch_of(self.losses))
        assert [w > 0 for w in first] == [True, False, False, True]  # what the second trusts
        assert [w > 0 for w in second] == [True, True, False, False]

    def test_the_clean_dominate(self):
        first, _ = weigh("comining", batch_of(self.losses))
        assert sum(first) == pytest.approx(1.0)
        # Mean losses 1 and 2.5; their mean is 1.75.
        assert first[0] / first[3] == pytest.approx(math.exp(1.5 / 1.75))

    def test_the_scale_of_the_losses_does_not_matter(self):
        large = [[64 * loss for loss in row] for row in self.losses]
        assert weigh("comining", batch_of(large))[0] == pytest.approx(
            weigh("comining", batch_of(self.losses))[0]
        )

    def test_losses_of_nought_are_no_trouble(self):
        weights = weigh("comining", batch_of([[0.0] * 4] * 2))
        assert weights[0] == [0.5, 0.5, 0.0, 0.0]

    @pytest.mark.parametrize("margin", [0.0, 0.5])
    def test_cosines_get_the_margin_of_arcface(self, margin):
        cosines, labels = torch.tensor([[0.3, -0.2, 0.9], [0.5, 0.1, -0.4]]), torch.tensor([2, 1])
        logits = arcface_logits(cosines, labels, 64.0, margin)
        expected = cosines.clone()
        expected[0, 2] = math.cos(math.acos(0.9) + margin)
        expected[1, 1] = math.cos(math.acos(0.1) + margin)
        torch.testing.assert_close(logits, 64 * expected, atol=1e-3, rtol=1e-4)

    def test_the_margin_never_makes_a_wrong_face_look_right(self):
        cosines = torch.linspace(-1, 1, 201)[:, None]
        logits = arcface_logits(cosines, torch.zeros(201, dtype=torch.int64), 64.0, 0.5)
        assert (logits.diff(dim=0) >= -1e-4).all()

    def test_faces_have_losses_of_scaled_cosines(self, blobs):
        method = get_method("comining:scale=16,margin=0.3")
        cosines, labels = torch.rand(1, 2, 6, 3, requires_grad=True), torch.arange(6) % 3
        losses = method.losses(cosines, labels, step_of(blobs, method))
        plain = get_method("comining").losses(16 * cosines, labels, step_of(blobs, method))
        assert (losses > plain).all()
        losses.sum().backward()
        assert cosines.grad.isfinite().all()

    def test_a_network_of_cosines_learns_with_the_margin(self, blobs):
        config = TrainConfig(
            epochs=15,
            batch_size=20,
            learning_rate=3e-3,
            network=lambda shape, n: Cosines(shape, n),
        )
        rates = 1 - 0.3 * np.minimum(np.arange(15) / 5, 1)
        (result,) = train("comining:scale=16,margin=0.2", [rates], blobs, config)
        assert result.test_accuracy[-1] > 0.9
        assert result.label_precision[-1] > 0.85


class Cosines(torch.nn.Module):
    """Cosines between an embedding and the centre of each class, as in face recognition."""

    def __init__(self, shape, n_classes):
        super().__init__()
        self.embed = torch.nn.Linear(math.prod(shape), 16)
        self.centres = torch.nn.Parameter(torch.randn(n_classes, 16))

    def forward(self, images):
        embedded = functional.normalize(self.embed(images.flatten(1)), dim=1)
        return embedded @ functional.normalize(self.centres, dim=1).t()
