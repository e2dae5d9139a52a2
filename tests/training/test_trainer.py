import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from s2e_optuna.device import resolve_device
from s2e_optuna.errors import DataError
from s2e_optuna.training import CURVES, METHODS, TrainConfig, make_network, train, trainer
from s2e_optuna.training.config import default_batch_size
from s2e_optuna.training.setup import is_recorded

EVERY = sorted(METHODS)
CONFIG = TrainConfig(epochs=6, batch_size=20, learning_rate=3e-3)


def schedules(count, epochs=6):
    return [np.linspace(1.0, end, epochs) for end in np.linspace(0.3, 1.0, count)]


def assert_same(first, second, tolerance=1e-5):
    for name in CURVES:
        np.testing.assert_allclose(
            getattr(first, name), getattr(second, name), atol=tolerance, rtol=0, err_msg=name
        )
    assert first.kept_counts.tolist() == second.kept_counts.tolist()
    for one, other in zip(first.model.states, second.model.states, strict=True):
        for name in one:
            torch.testing.assert_close(one[name], other[name], atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", EVERY)
def test_a_trial_is_the_same_alone_and_among_eight(name, blobs):
    rates = schedules(8)
    stacked = train(name, rates, blobs, CONFIG)
    for position in (0, 5):
        (alone,) = train(name, [rates[position]], blobs, CONFIG)
        assert_same(alone, stacked[position])


def test_a_convolutional_trial_is_the_same_alone_and_among_five(digits):
    big = replace(
        digits,
        x_train=digits.x_train[:80].repeat_interleave(2, 2).repeat_interleave(2, 3),
        y_train=digits.y_train[:80],
        y_clean=None,
        x_val=digits.x_val[:40].repeat_interleave(2, 2).repeat_interleave(2, 3),
        y_val=digits.y_val[:40],
        x_test=None,
        y_test=None,
    )
    config = TrainConfig(epochs=3, batch_size=20, network="cnn1")
    rates = schedules(5, 3)
    stacked = train("coteaching", rates, big, config)
    (alone,) = train("coteaching", rates[2:3], big, config)
    assert_same(alone, stacked[2])
    assert np.isnan(alone.test_accuracy).all()
    assert np.isnan(alone.label_precision).all()


@pytest.mark.parametrize("name", EVERY)
def test_the_seed_decides_everything(name, blobs):
    first, again = (train(name, schedules(1), blobs, CONFIG)[0] for _ in range(2))
    (other,) = train(name, schedules(1), blobs, replace(CONFIG, seed=1))
    assert_same(first, again, 0.0)
    assert not np.allclose(first.training_loss, other.training_loss)


@pytest.mark.parametrize("name", EVERY)
def test_stopped_trials_leave_the_others_undisturbed(name, blobs):
    seen = []

    def stop_two(epoch, reports):
        seen.append([report.trial for report in reports])
        assert {report.epoch for report in reports} == {epoch}
        return {1: [1], 3: {0, 99}}.get(epoch)

    rates = schedules(4)
    undisturbed = train(name, rates, blobs, CONFIG)
    results = train(name, rates, blobs, CONFIG, stop_two)
    assert seen == [[0, 1, 2, 3]] * 2 + [[0, 2, 3]] * 2 + [[2, 3]] * 2
    assert [r.status for r in results] == ["stopped", "stopped", "complete", "complete"]
    assert [r.epochs for r in results] == [4, 2, 6, 6]
    assert results[1].model is not None
    for position in (2, 3):
        assert_same(results[position], undisturbed[position], 1e-6)


def test_a_stack_of_which_all_were_stopped_ends(blobs):
    results = train("coteaching", schedules(2), blobs, CONFIG, lambda epoch, reports: [0, 1])
    assert [(r.status, r.epochs) for r in results] == [("stopped", 1)] * 2


def test_a_diverging_trial_fails_with_its_epoch_and_the_others_go_on(blobs, monkeypatch):
    class Spoiled(type(METHODS["coteaching"])):
        def step(self, step):
            decision = super().step(step)
            if step.epoch == 2 and len(decision.weights) == 3:
                decision.weights[1] *= float("nan")
            return decision

    rates = schedules(3)
    undisturbed = train("coteaching", rates, blobs, CONFIG)
    monkeypatch.setitem(METHODS, "coteaching", Spoiled())
    results = train("coteaching", rates, blobs, CONFIG)
    assert [r.status for r in results] == ["complete", "failed", "complete"]
    assert "epoch 3 of 6" in results[1].failure
    assert results[1].model is None
    assert_same(results[2], undisturbed[2], 1e-6)


def test_reports_are_the_curves(blobs):
    seen = []
    (result,) = train("coteaching", schedules(1), blobs, CONFIG, lambda _, r: seen.extend(r))
    for name in CURVES:
        np.testing.assert_array_equal([getattr(r, name) for r in seen], getattr(result, name))
    assert result.kept_share == pytest.approx([int(r * 20 + 1e-9) / 20 for r in result.rates])
    assert result.seconds > 0


def test_label_precision_is_the_clean_share_when_all_is_kept(blobs):
    (result,) = train("coteaching", [None], blobs, CONFIG)
    clean = (blobs.y_clean == blobs.y_train).double().mean()
    assert result.label_precision == pytest.approx(np.full(6, clean))


def test_every_keep_is_counted_in_the_last_epochs(blobs):
    (result,) = train("coteaching", [np.full(6, 0.5)], blobs, CONFIG)
    assert CONFIG.last_epochs == 5
    assert result.offered_counts.tolist() == [2 * 5] * 120  # 120 samples are 6 full batches
    assert result.kept_counts.sum() == 2 * 5 * 6 * 10
    assert (result.kept_counts <= result.offered_counts).all()


def test_the_rest_of_an_epoch_is_left_out(blobs):
    (result,) = train("standard", [None], blobs, replace(CONFIG, batch_size=50))
    assert result.offered_counts.sum() == 5 * 100
    assert (result.kept_counts == result.offered_counts).all()


def test_evaluation_can_be_rarer(blobs):
    often, rare = (
        train("coteaching", schedules(1), blobs, replace(CONFIG, evaluate_every=e))[0]
        for e in (1, 4)
    )
    measured = [3, 5]
    assert np.flatnonzero(np.isfinite(rare.validation_accuracy)).tolist() == measured
    assert (rare.test_accuracy[measured] == often.test_accuracy[measured]).all()
    assert (rare.training_loss == often.training_loss).all()


def test_probabilities_are_kept_of_complete_trials_on_request(blobs):
    stopped, complete = train(
        "coteaching", [None] * 2, blobs, CONFIG, lambda *_: [0], keep_probabilities=True
    )
    assert stopped.training_probabilities is None
    assert complete.training_probabilities.shape == (120, 3)
    assert complete.training_probabilities.sum(1) == pytest.approx(np.ones(120), abs=1e-5)


def test_nothing_is_predicted_that_nobody_asked_for(blobs, monkeypatch):
    def refused(*_):
        raise AssertionError("predicted")

    monkeypatch.setattr(trainer, "iterate_probabilities", refused)
    (result,) = train("coteaching", [None], blobs, replace(CONFIG, epochs=1))
    assert result.training_probabilities is None


def test_schedules_may_be_objects_with_rates(blobs):
    class Holder:
        rates = np.linspace(1, 0.5, 6)

    by_object, by_list = train("coteaching", [Holder(), Holder.rates.tolist()], blobs, CONFIG)
    assert_same(by_object, by_list)


def test_no_schedules_no_results(blobs):
    assert train("coteaching", [], blobs, CONFIG) == []


@pytest.mark.parametrize(
    ("method", "rates", "changes", "says"),
    [
        ("magic", None, {}, "unknown method 'magic'"),
        ("standard", None, {"network": "vgg"}, "unknown network 'vgg'"),
        ("standard", None, {"network": "cnn1"}, "at least 16x16"),
        ("standard", None, {"device": "tpu"}, "unknown device 'tpu'"),
        ("standard", None, {"batch_size": 121}, "120 samples, fewer than one batch of 121"),
        ("coteaching", [1.0] * 5, {}, "for 6 epochs"),
        ("coteaching", [1.0] * 5 + [1.1], {}, r"outside \[0, 1\]"),
        ("coteaching", [1.0] * 5 + [float("nan")], {}, r"outside \[0, 1\]"),
    ],
)
def test_bad_arguments_say_what_to_do(blobs, method, rates, changes, says):
    with pytest.raises(DataError, match=says):
        train(method, [rates], blobs, replace(CONFIG, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"evaluate_every": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"decay_start": 1.5},
        {"seed": -1},
    ],
)
def test_settings_out_of_range(changes):
    with pytest.raises(DataError, match=f".{next(iter(changes))}. .*must be|is out of range"):
        TrainConfig(**changes)


def test_graphs_that_cannot_be_recorded_are_refused(blobs):
    asked = replace(CONFIG, cuda_graph=True, device="cpu")
    with pytest.raises(DataError, match="cuda_graph is not possible, for the training runs on"):
        train("standard", [None], blobs, asked)
    cuda, network = torch.device("cuda"), make_network("mlp", (1, 6, 6), 3)
    assert is_recorded(asked, network, cuda)
    random = replace_field(network, "uses_host_randomness", True)
    with pytest.raises(DataError, match="for mlp seeds its random numbers"):
        is_recorded(asked, random, cuda)
    for chosen in (False, None):
        assert not is_recorded(replace(CONFIG, cuda_graph=chosen), random, cuda)
        train("standard", [None], blobs, replace(asked, epochs=1, cuda_graph=chosen))


def replace_field(network, name, value):
    changed = copy.copy(network)
    setattr(changed, name, value)
    return changed


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_cuda_that_is_not_there(name):
    with pytest.raises(DataError, match=f"'{name}' was asked for"):
        resolve_device(name)


def test_the_default_device_exists():
    assert resolve_device("auto").type in ("cpu", "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", EVERY)
def test_cuda_learns_as_the_cpu_does(name, blobs):
    (gpu,) = train(name, schedules(1), blobs, replace(CONFIG, device="cuda"))
    (cpu,) = train(name, schedules(1), blobs, replace(CONFIG, device="cpu"))
    np.testing.assert_allclose(gpu.training_loss, cpu.training_loss, rtol=1e-3)


def test_coteaching_beats_plain_training_on_digits_with_half_of_the_labels_wrong(digits):
    config = TrainConfig(epochs=60, batch_size=32, evaluate_every=60)
    told = 1 - 0.5 * np.minimum(np.arange(60) / 20, 1)
    (selected,) = train("coteaching", [told], digits, config)
    (plain,) = train("standard", [None], digits, config)
    assert selected.test_accuracy[-1] > plain.test_accuracy[-1] + 0.02
    assert selected.test_accuracy[-1] > 0.88
    assert selected.label_precision[-1] > 0.85 > 0.6 > plain.label_precision[-1]


@pytest.mark.parametrize(
    ("n_samples", "expected"),
    [(60_000, 128), (7_680, 128), (7_679, 64), (2_500, 32), (1_000, 16), (100, 16), (5, 5)],
)
def test_small_data_get_small_batches(n_samples: int, expected: int) -> None:
    assert default_batch_size(n_samples) == expected
