"""Trials of several seeds in one stack: each is what it would be alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from s2e_optuna.data import load_data
from s2e_optuna.errors import DataError
from s2e_optuna.training import TrainConfig, evaluate_schedules, train
from s2e_optuna.training import setup as setups
from s2e_optuna.training.jobs import Beside, in_turn
from s2e_optuna.training.networks.mlp import Mlp
from s2e_optuna.training.setup import Share, takes_own_batches

CONFIG = TrainConfig(epochs=4, device="cpu", batch_size=32)
FALLING = [1.0, 0.7, 0.5, 0.5]


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", noise="symmetric", noise_rate=0.4, train_size=300)


def alike(ours, theirs):
    assert ours.seed == theirs.seed and ours.status == theirs.status
    assert ours.stopped_epoch == theirs.stopped_epoch
    for name, curve in theirs.curves.items():
        np.testing.assert_allclose(ours.curves[name], curve, atol=1e-4, err_msg=name)
    assert ours.offered_counts.tolist() == theirs.offered_counts.tolist()
    assert np.mean(ours.kept_counts != theirs.kept_counts) < 0.01  # near ties may fall otherwise


@pytest.mark.parametrize("method", ["coteaching", "standard", "mentornet"])
def test_each_is_what_it_would_be_alone(digits, method):
    seeds = [5, 5, 9, 2]
    schedules = [FALLING, None, FALLING, FALLING]
    together = train(method, schedules, digits, CONFIG, shares=[Share(seed) for seed in seeds])
    for seed, schedule, ours in zip(seeds, schedules, together, strict=True):
        (alone,) = train(method, [schedule], digits, replace(CONFIG, seed=seed))
        alike(ours, alone)


def test_in_shards_and_when_some_leave(digits, monkeypatch):
    monkeypatch.setattr(Mlp, "models_side_by_side", 4)
    seeds = [3, 4, 5, 6]

    def second_leaves(epoch, reports):
        return {1} if epoch == 1 else ()

    together = train(
        "coteaching",
        [FALLING] * 4,
        digits,
        CONFIG,
        second_leaves,
        shares=[Share(seed) for seed in seeds],
    )
    assert [run.status for run in together] == ["complete", "stopped", "complete", "complete"]
    for place in (0, 2, 3):
        (alone,) = train("coteaching", [FALLING], digits, replace(CONFIG, seed=seeds[place]))
        alike(together[place], alone)


def test_where_what_is_dropped_is_left_out_of_products(digits, monkeypatch):
    monkeypatch.setattr(setups, "WORK_OF_LEAVING_OUT", 0)
    together = train("coteaching", [FALLING] * 2, digits, CONFIG, shares=[Share(3), Share(4)])
    for seed, ours in zip([3, 4], together, strict=True):
        (alone,) = train("coteaching", [FALLING], digits, replace(CONFIG, seed=seed))
        alike(ours, alone)


def test_with_soft_labels(digits):
    soft = torch.nn.functional.one_hot(digits.y_train, digits.n_classes) * 0.8 + 0.02
    data = replace(digits, targets=soft.to(torch.float32))
    together = train("coteaching", [FALLING] * 2, data, CONFIG, shares=[Share(3), Share(4)])
    for seed, ours in zip([3, 4], together, strict=True):
        (alone,) = train("coteaching", [FALLING], data, replace(CONFIG, seed=seed))
        alike(ours, alone)


def test_on_samples_of_its_own_and_stopped_by_some(digits):
    shares, alone = [], []
    for seed, out in enumerate(np.array_split(np.arange(300), 3)):
        rest = np.setdiff1d(np.arange(300), out)
        stopping = np.arange(seed, len(digits.y_val), 3)
        shares.append(Share(seed, rest, stopping))
        part = replace(
            digits,
            x_train=digits.x_train[rest],
            y_train=digits.y_train[rest],
            y_clean=None,
            x_val=digits.x_val[stopping],
            y_val=digits.y_val[stopping],
            y_val_clean=None,
        )
        alone += train("coteaching", [FALLING], part, replace(CONFIG, seed=seed))
    together = train("coteaching", [FALLING] * 3, digits, CONFIG, shares=shares)
    for share, ours, theirs in zip(shares, together, alone, strict=True):
        assert ours.stopped_epoch == theirs.stopped_epoch
        for name in ("validation_accuracy", "validation_loss", "kept_share", "test_accuracy"):
            np.testing.assert_allclose(ours.curves[name], theirs.curves[name], atol=1e-4)
        assert ours.offered_counts[share.samples].tolist() == theirs.offered_counts.tolist()
        assert ours.offered_counts.sum() == theirs.offered_counts.sum()


def test_epochs_of_a_stack_have_as_many_steps(digits):
    shares = [Share(0), Share(1, np.arange(100))]
    with pytest.raises(DataError, match="as many batches an epoch"):
        train("coteaching", [FALLING] * 2, digits, CONFIG, shares=shares)


def test_what_shares_its_batches_is_refused(digits):
    assert takes_own_batches("coteaching", digits, CONFIG)
    assert not takes_own_batches("coteaching", digits, replace(CONFIG, augment="crop_flip"))
    with pytest.raises(DataError, match="share their batches: train them seed by seed"):
        train("reweight", [None] * 2, digits, CONFIG, shares=[Share(1), Share(2)])
    with pytest.raises(DataError, match="one for each schedule"):
        train("coteaching", [FALLING] * 2, digits, CONFIG, shares=[Share(1)])


class Halves:
    """Two processes, as far as the division of the work goes."""

    processes = 2

    def __init__(self):
        self.jobs = []

    def __call__(self, jobs, data, tell):
        self.jobs += jobs
        return in_turn(jobs, data, tell)


def test_jobs_beside_others_return_and_tell_apart():
    def job(number):
        return lambda data, tell: tell(number, False) or number

    told, others = [], []
    beside = Beside(in_turn, [job(3)], lambda *words: others.append(words))
    assert beside([job(1), job(2)], None, lambda *words: told.append(words)) == [1, 2]
    assert beside.found == [3] and beside.processes == 1
    assert (told, others) == ([(0, 1, False), (1, 2, False)], [(0, 3, False)])


def test_a_comparison_trains_seeds_side_by_side_and_in_order(digits):
    entries = {
        "plain": ("standard", None),
        "a": ("coteaching", FALLING),
        "b": ("coteaching", None),
    }
    told, runner = [], Halves()
    found = evaluate_schedules(entries, digits, CONFIG, [7, 8, 9], told.append, run=runner)
    assert [(job.method, job.seeds) for job in runner.jobs] == [
        ("coteaching", (7, 8)),
        ("coteaching", (9,)),
        ("standard", (7, 8)),
        ("standard", (9,)),
    ]
    for name, (method, schedule) in entries.items():
        assert [run.seed for run in found[name]] == [7, 8, 9]
        for run in found[name]:
            alike(run, train(method, [schedule], digits, replace(CONFIG, seed=run.seed))[0])
    done = [progress.done for progress in told]
    assert done == sorted(done) and done[-1] == told[-1].total == 3 * 3 * 4


def test_what_cannot_train_side_by_side_trains_seed_by_seed(digits):
    runner = Halves()
    evaluate_schedules({"c": ("decoupling", None)}, digits, CONFIG, [7, 8], run=runner)
    assert [job.seeds for job in runner.jobs] == [(7,), (8,)]
