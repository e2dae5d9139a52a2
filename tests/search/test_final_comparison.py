import math

import numpy as np
import pytest
import torch

from s2e_optuna import CoTeachingObjective, Schedule
from s2e_optuna.data import from_arrays, load_data
from s2e_optuna.search.final_comparison import final_comparison, final_seeds
from s2e_optuna.training import TrainConfig

EPOCHS = 3


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tests run beside each other
    yield
    torch.set_num_threads(threads)


def test_the_schedule_is_compared_with_plain_training_and_coteaching():
    data = load_data("digits", noise="symmetric", noise_rate=0.4, train_size=300)
    config = TrainConfig(epochs=EPOCHS, device="cpu")
    seeds = final_seeds(0, 2)
    scores, trained = final_comparison(data, Schedule.constant(EPOCHS, 0.7), config, seeds)
    assert list(scores) == ["standard", "coteaching", "s2e"]
    for score in scores.values():
        assert all(0 <= value <= 1 for value in score.test_accuracy)
        assert len(score.test_accuracy) == 2
    assert min(scores["coteaching"].schedule) >= 1 - data.noise_rate
    assert sorted(run.seed for run in trained) == sorted(seeds)
    assert all(run.model is not None for run in trained)
    assert set(scores["s2e"].curves) == {"test_accuracy", "validation_accuracy", "label_precision"}
    assert np.array(scores["standard"].curves["test_accuracy"]).shape == (2, EPOCHS)


def test_without_a_known_noise_rate_there_is_no_coteaching():
    rng = np.random.default_rng(0)
    data = from_arrays(rng.random((300, 8, 8)), np.arange(300) % 3)
    config = TrainConfig(epochs=2, device="cpu", batch_size=32)
    scores, _ = final_comparison(data, Schedule.constant(2), config, [5])
    assert list(scores) == ["standard", "s2e"]
    row = scores["s2e"].to_dict()
    assert row["test_accuracy_mean"] is None and row["test_accuracy_std"] is None
    assert math.isfinite(row["validation_accuracy_mean"])


def test_final_seeds_are_fresh():
    objective = CoTeachingObjective(seed=3)
    of_trials = {objective.training_seed(number) for number in range(1000)}
    assert not of_trials & set(final_seeds(3, 20))
    assert len(of_trials) == 1000
