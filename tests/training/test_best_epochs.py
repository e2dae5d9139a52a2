"""Networks of the best validation epoch: `TrainConfig(stop="best")`."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from s2e_optuna.errors import DataError
from s2e_optuna.scores import best_epoch
from s2e_optuna.training import CURVES, Checkpoint, TrainConfig, evaluate_schedules, train
from s2e_optuna.training import shards as shards_module
from s2e_optuna.training.best_epochs import BestEpochs
from s2e_optuna.training.setup import Setup
from s2e_optuna.training.shards import model_bytes

CONFIG = TrainConfig(epochs=8, batch_size=20, learning_rate=1e-2)
LAST = replace(CONFIG, stop="last")
RATES = [np.linspace(1.0, end, 8) for end in (0.3, 0.6, 1.0)]


def accuracy(model, images, labels):
    """Mean over the networks, as curves have it."""
    with torch.no_grad():
        hits = [(module(images).argmax(1) == labels).double() for module in model.modules()]
    return float(torch.stack(hits).mean())


def assert_equal(first, second):
    assert first.stopped_epoch == second.stopped_epoch
    for one, other in zip(first.model.states, second.model.states, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def stopped(blobs):
    return train("coteaching", RATES, blobs, CONFIG, keep_probabilities=True)


def test_the_networks_are_those_of_the_best_validation_epoch(stopped, blobs):
    assert {result.stopped_epoch for result in stopped} != {7}
    for result in stopped:
        epoch = result.stopped_epoch
        assert epoch == best_epoch(result.validation_accuracy)
        for part, curve in (("val", "validation_accuracy"), ("test", "test_accuracy")):
            measured = accuracy(
                result.model, getattr(blobs, f"x_{part}"), getattr(blobs, f"y_{part}")
            )
            assert measured == pytest.approx(result.curves[curve][epoch])


def test_curves_and_counts_are_of_all_epochs(stopped, blobs):
    for ours, theirs in zip(stopped, train("coteaching", RATES, blobs, LAST), strict=True):
        assert theirs.stopped_epoch == 7
        assert ours.kept_counts.tolist() == theirs.kept_counts.tolist()
        for name in CURVES:
            np.testing.assert_array_equal(ours.curves[name], theirs.curves[name])


def test_probabilities_are_of_the_same_networks(stopped, blobs):
    for result in stopped:
        with torch.no_grad():
            own = [module(blobs.x_train).softmax(1) for module in result.model.modules()]
        np.testing.assert_allclose(
            result.training_probabilities, torch.stack(own).mean(0), atol=1e-5
        )


def test_a_trial_that_leaves_has_its_best_so_far_and_disturbs_nobody(stopped, blobs):
    results = train("coteaching", RATES, blobs, CONFIG, lambda epoch, _: [1] if epoch == 3 else [])
    assert results[1].status == "stopped"
    assert results[1].stopped_epoch == best_epoch(stopped[1].validation_accuracy[:4])
    for position in (0, 2):
        assert_equal(results[position], stopped[position])


def test_the_test_part_can_be_measured_at_the_end_alone(stopped, blobs):
    def leave(epoch, _):
        return [1] if epoch == 3 else []

    results = train("coteaching", RATES, blobs, CONFIG, leave, test_once=True)
    for position, (once, each_epoch) in enumerate(zip(results, stopped, strict=True)):
        stop, ran = once.stopped_epoch, 4 if position == 1 else 8
        assert np.isfinite(once.test_accuracy).nonzero()[0].tolist() == [stop]
        assert once.test_accuracy[stop] == pytest.approx(each_epoch.test_accuracy[stop])
        np.testing.assert_array_equal(
            once.validation_accuracy, each_epoch.validation_accuracy[:ran]
        )


def test_without_stopping_the_test_part_is_measured_each_epoch(blobs):
    (result,) = train("coteaching", RATES[:1], blobs, LAST, test_once=True)
    assert np.isfinite(result.test_accuracy).all()


def test_at_the_end_another_metric_is_measured_too(blobs):
    config = replace(CONFIG, metric="macro_f1")
    (once,) = train("coteaching", RATES[:1], blobs, config, test_once=True)
    (each_epoch,) = train("coteaching", RATES[:1], blobs, config)
    stop = once.stopped_epoch
    assert once.test_metric[stop] == pytest.approx(each_epoch.test_metric[stop])
    assert once.test_accuracy[stop] == pytest.approx(each_epoch.test_accuracy[stop])


def test_before_the_first_evaluation_the_present_networks_count(blobs):
    config = replace(CONFIG, evaluate_every=4)

    def stop_first(epoch, _):
        return [0] if epoch == 1 else []

    early, late = train("coteaching", RATES[:2], blobs, config, stop_first)
    (present,) = train("coteaching", RATES[:1], blobs, config, stop_first)
    assert_equal(early, present)
    assert late.stopped_epoch in (3, 7)


@pytest.mark.parametrize("size", [1, 2])
def test_shards_of_any_size_give_the_same(size, stopped, blobs, monkeypatch):
    monkeypatch.setattr(shards_module, "trials_per_shard", lambda *_: size)
    for ours, theirs in zip(train("coteaching", RATES, blobs, CONFIG), stopped, strict=True):
        assert_equal(ours, theirs)


def test_an_interrupted_training_goes_on_with_its_best_networks(stopped, blobs, tmp_path):
    class Killed(Exception):
        pass

    def kill(epoch, _):
        if epoch == 6:
            raise Killed

    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        kept = Checkpoint(path, every=0.0)
        train("coteaching", RATES, blobs, CONFIG, kill, checkpoint=kept)
    epochs = []
    resumed = Checkpoint(tmp_path / "new", resume=path)
    chosen = [RATES[2], RATES[0]]

    def note(epoch, _):
        epochs.append(epoch)

    found = train("coteaching", chosen, blobs, CONFIG, note, checkpoint=resumed)
    assert epochs == [6, 7]
    assert min(result.stopped_epoch for result in found) < 6
    assert_equal(found[0], stopped[2])
    assert_equal(found[1], stopped[0])
    train("coteaching", chosen, blobs, LAST, note, checkpoint=resumed)
    assert epochs == [6, 7, *range(8)]  # to stop otherwise is another training


def test_only_a_higher_accuracy_is_better():
    best = BestEpochs(2, {"w": torch.zeros(4, 1)})
    for epoch, accuracies in enumerate([[0.5, np.nan], [0.5, 0.2], [np.nan, 0.1], [0.6, 0.2]]):
        best.update({"w": torch.full((4, 1), float(epoch))}, accuracies, epoch)
    assert best.epoch.tolist() == [3, 1]
    assert best.tensors["w"].flatten().tolist() == [3.0, 3.0, 1.0, 1.0]
    chosen = best.select(torch.tensor([1]), torch.tensor([2, 3]))
    assert (chosen.epoch.tolist(), chosen.tensors["w"].flatten().tolist()) == ([1], [1.0, 1.0])


def test_it_takes_the_memory_of_one_more_state(blobs):
    last, best = (
        Setup.of("coteaching", blobs, replace(CONFIG, stop=stop)) for stop in ("last", "best")
    )
    assert model_bytes(best) - model_bytes(last) == 4 * last.network.footprint.parameters


def test_a_comparison_hands_it_on(stopped, blobs):
    found = evaluate_schedules({"a": ("coteaching", RATES[0])}, blobs, CONFIG, [0])
    assert_equal(found["a"][0], stopped[0])


def test_an_unknown_stop_lists_what_exists():
    with pytest.raises(DataError, match=r"unknown stop 'soon'.*best, last"):
        replace(CONFIG, stop="soon")
