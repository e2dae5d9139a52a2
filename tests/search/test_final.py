import math

import numpy as np
import pytest
import torch

from s2e_optuna import CoTeachingObjective, Schedule
from s2e_optuna.data import from_arrays, load_data
from s2e_optuna.errors import DataError
from s2e_optuna.search.final import (
    FOLDING,
    comparison_entries,
    final_seeds,
    scores,
    train_final,
)
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
    training = TrainConfig(epochs=EPOCHS, device="cpu")
    entries = comparison_entries(Schedule.constant(EPOCHS, 0.7), noise_rate=data.noise_rate)
    final = train_final(entries, data, training, seeds=2)
    found = scores(entries, final)
    assert list(found) == ["standard", "coteaching", "s2e"]
    for score in found.values():
        assert all(0 <= value <= 1 for value in score.test_accuracy)
        assert len(score.test_accuracy) == 2
    assert min(found["coteaching"].schedule) >= 1 - data.noise_rate
    assert sorted(run.seed for run in final.complete) == sorted(final_seeds(0, 3)[:2])
    assert all(run.model is not None for run in final.complete)
    assert set(found["s2e"].curves) == {"test_accuracy", "validation_accuracy", "label_precision"}
    assert np.array(found["standard"].curves["test_accuracy"]).shape == (2, EPOCHS)


def test_without_a_known_noise_rate_there_is_no_coteaching():
    rng = np.random.default_rng(0)
    data = from_arrays(rng.random((300, 8, 8)), np.arange(300) % 3)
    entries = comparison_entries(Schedule.constant(2), noise_rate=data.noise_rate)
    final = train_final(entries, data, TrainConfig(epochs=2, device="cpu", batch_size=32), seeds=1)
    assert list(entries) == ["standard", "s2e"]
    row = scores(entries, final)["s2e"].to_dict()
    assert row["test_accuracy_mean"] is None and row["test_accuracy_std"] is None
    assert math.isfinite(row["validation_accuracy_mean"])


def test_trainings_and_folds_are_one_piece_of_work():
    data = load_data("digits", train_size=300)
    training = TrainConfig(epochs=2, device="cpu", seed=3)
    seen = []
    final = train_final(
        {"plain": ("standard", None)}, data, training, seeds=2, folds=2, progress=seen.append
    )
    assert [(p.names[0], p.number, p.of) for p in seen[::2]] == [
        ("plain", 0, 2),  # both seeds side by side
        *((FOLDING, 0, 2) for _ in range(2)),  # of both folds, epoch by epoch
    ]
    assert [p.done for p in seen] == [2, 4, 5, 6, 7, 8] and {p.total for p in seen} == {8}
    assert final.unseen is not None and final.unseen.training.shape == (300, 10)
    assert len(final.judge(data).rows) == 300


def test_where_every_training_fails_that_is_said():
    rng = np.random.default_rng(0)
    data = from_arrays(rng.random((300, 4)), np.arange(300) % 3)
    training = TrainConfig(epochs=1, device="cpu", learning_rate=1e30)
    final = train_final({"plain": ("standard", None)}, data, training, seeds=1, folds=2)
    assert final.complete == () and final.unseen is None
    with pytest.raises(DataError, match="every training with the schedule failed"):
        final.require_complete()


def test_final_seeds_are_fresh():
    objective = CoTeachingObjective(seed=3)
    of_trials = {objective.training_seed(number) for number in range(1000)}
    assert not of_trials & set(final_seeds(3, 20))
    assert len(of_trials) == 1000
