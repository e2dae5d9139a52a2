import math
from dataclasses import replace

import numpy as np
import pytest

from s2e_optuna import CoTeachingObjective, Schedule
from s2e_optuna.data import from_arrays, load_data
from s2e_optuna.errors import DataError
from s2e_optuna.labels.linear import linear_model
from s2e_optuna.scores import judged
from s2e_optuna.search import final as final_module
from s2e_optuna.search.final import (
    FOLDING,
    comparison_entries,
    final_seeds,
    scores,
    train_final,
)
from s2e_optuna.search.posterior import estimated_rate
from s2e_optuna.training import CURVES, TrainConfig, train

EPOCHS = 3


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


def test_the_posterior_gives_a_better_model_than_the_labels():
    data = load_data("digits", noise="pair", noise_rate=0.4, train_size=600)
    training = TrainConfig(epochs=8, device="cpu", learning_rate=3e-3, batch_size=32)
    linear, seen = linear_model(data), []
    entries = comparison_entries(
        Schedule.constant(8, 0.8), "mentornet", estimated_rate=estimated_rate(data, linear.unseen)
    )
    final = train_final(
        entries,
        data,
        training,
        seeds=1,
        folds=2,
        progress=seen.append,
        posterior=True,
        linear=linear,
    )
    found = scores(entries, final)
    names = ["standard", "linear", "clean_only", "coteaching_estimated", "s2e", "posterior"]
    assert list(found) == names and (seen[-1].done, seen[-1].total) == (8 * 8, 8 * 8)
    assert [len(found[name].test_accuracy) for name in names] == [1, 1, 2, 1, 1, 1]
    usual = max(found[name].test_accuracy[0] for name in ("standard", "linear", "s2e"))
    assert found["posterior"].test_accuracy[0] > usual + 0.02
    assert final.kept == "posterior" and final.judging in entries
    assert final.models[0].states == final.model.states
    assert all(row.curves.keys() >= {"test_accuracy"} for n, row in found.items() if n != "linear")


def test_the_model_of_both_halves_has_the_best_network_of_each(trained_on_halves):
    final = trained_on_halves(kept="clean_only")
    runs = final.results["clean_only"]
    assert len(final.model.states) == 2 and len(final.models) == len(runs) == 4
    best = [
        max(runs[half::2], key=lambda run: judged(run.validation_accuracy, "best"))
        for half in (0, 1)
    ]
    assert final.model.states == tuple(run.model.states[0] for run in best)


def test_the_model_is_kept_by_samples_that_have_not_chosen_its_epoch(monkeypatch):
    data = load_data("digits", noise="symmetric", noise_rate=0.4, train_size=300)
    entries = {"plain": ("standard", None), "other": ("standard", Schedule.constant(2))}
    by_name = {"plain": (0.9, [0.5, 0.6]), "other": (0.8, [0.7, 0.7])}  # flattered, and not

    def trained(entries, *_, **__):
        found = {}
        for name, (accuracy, halves) in by_name.items():
            curves = dict.fromkeys(CURVES, np.full(2, accuracy))
            for half in (1, 2):
                curves[f"validation_half_{half}"] = np.array(halves)
            found[name] = [replace(run, curves=curves)]
        return found

    run = train("standard", [None], data, TrainConfig(epochs=2, device="cpu"))[0]
    monkeypatch.setattr(final_module, "evaluate_schedules", trained)
    final = train_final(entries, data, TrainConfig(epochs=2, device="cpu"), seeds=1)
    assert final.kept == "other" and final.judging == "other"
    assert scores(entries, final)["plain"].expected_validation == (pytest.approx(0.6),)


@pytest.mark.parametrize(("few", "stop"), [(12, "best"), (397, "last")])
def test_the_posterior_needs_a_clean_part_to_halve_and_no_stopping(few, stop):
    data = load_data("digits", noise="symmetric", noise_rate=0.4, train_size=300)
    data = replace(data, x_val=data.x_val[:few], y_val=data.y_val[:few])
    training = TrainConfig(epochs=2, device="cpu", stop=stop)
    entries = {"plain": ("standard", None)}
    final = train_final(entries, data, training, seeds=1, folds=2, posterior=True)
    assert final.unseen is not None and final.judging == "plain"
    found = scores(entries, final)
    if stop == "best":
        assert list(found) == ["plain"] and final.kept == "plain"
        return
    assert list(found) == ["clean_only", "plain", "posterior"]
    for row in found.values():
        assert math.isfinite(row.expected_validation[0]) and row.stopped_epoch == ()


@pytest.fixture
def trained_on_halves():
    data = load_data("digits", noise="symmetric", noise_rate=0.4, train_size=300)
    training = TrainConfig(epochs=2, device="cpu")
    final = train_final(
        {"plain": ("standard", None)}, data, training, seeds=4, folds=2, posterior=True
    )
    return lambda kept: replace(final, kept=kept)


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
