"""Another metric than accuracy, from the networks of a stack to the words of a search."""

import json
from dataclasses import replace

import numpy as np
import optuna
import pytest
import torch

from s2e_optuna import CoTeachingObjective, S2EClassifier
from s2e_optuna.commands.search import draw_pictures
from s2e_optuna.data import from_arrays
from s2e_optuna.errors import DataError
from s2e_optuna.reporting.verdict import verdict
from s2e_optuna.reporting.view import read_study
from s2e_optuna.scores import judged
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.search import search
from s2e_optuna.storages import open_storage
from s2e_optuna.training import TrainConfig, predict_proba, train

T = 12
BALANCED = TrainConfig(
    epochs=T, network="mlp", learning_rate=1e-2, decay_start=1.0, batch_size=50, device="cpu",
    metric="balanced_accuracy",
)  # fmt: skip
SCHEDULES = [None, np.linspace(1.0, 0.97, T), np.linspace(1.0, 0.9, T)]


@pytest.fixture(scope="module")
def rare():
    """One sample in a hundred is positive, and 3% of the labels are flipped."""
    rng = np.random.default_rng(0)

    def draw(n):
        labels = (rng.random(n) < 0.01).astype(int)
        features = rng.standard_normal((n, 4)).astype(np.float32)
        features[:, :2] += 1.4 * labels[:, None]
        return features, labels

    parts = [draw(n) for n in (1500, 2000, 4000)]
    flipped = np.where(rng.random(1500) < 0.03, 1 - parts[0][1], parts[0][1])
    return from_arrays(parts[0][0], flipped, *parts[1], *parts[2])


def test_accuracy_ends_in_never_saying_positive_and_balanced_accuracy_does_not(rare):
    found = {}
    for metric in ("accuracy", "balanced_accuracy"):
        runs = train("coteaching", SCHEDULES, rare, replace(BALANCED, metric=metric))
        kept = max(runs, key=lambda run: judged(run.validation_value, "best"))
        positive = predict_proba(kept.model, rare.x_test).argmax(axis=1) == 1
        found[metric] = int((positive & (rare.y_test.numpy() == 1)).sum())
    assert found["accuracy"] <= 4 and found["balanced_accuracy"] >= 7


def test_a_training_is_stopped_by_the_metric_and_not_by_its_neighbours(rare):
    few = replace(BALANCED, epochs=4)
    schedules = [None, [1.0, 1.0, 0.98, 0.96]]
    runs = train("coteaching", schedules, rare, few)
    for run in runs:
        assert run.stopped_epoch == int(np.nanargmax(run.validation_metric))
        assert run.validation_value.tolist() == run.validation_metric.tolist()
    alone = train("coteaching", schedules[1:], rare, few)[0]
    assert alone.validation_metric.tolist() == runs[1].validation_metric.tolist()
    usual = train("coteaching", schedules[1:], rare, replace(few, metric="accuracy"))[0]
    assert usual.validation_accuracy.tolist() == alone.validation_accuracy.tolist()
    assert np.isnan(usual.validation_metric).all()
    assert usual.validation_value.tolist() == usual.validation_accuracy.tolist()


def test_trials_are_worth_the_metric_also_with_checked_labels(rare):
    some = np.full(2000, -1)
    some[:200] = rare.y_val[:200]
    data = replace(rare, validation="noisy", val_checked=torch.from_numpy(some))
    objective = CoTeachingObjective(data, training=replace(BALANCED, epochs=3))
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    assert trial.user_attrs["metric"] == "balanced_accuracy"
    assert 0.4 < trial.user_attrs["test_metric"] <= 1.0 and 0.0 < trial.value < 0.7
    assert trial.intermediate_values[2] == trial.value
    other = CoTeachingObjective(data, training=replace(BALANCED, epochs=3, metric="macro_f1"))
    with pytest.raises(DataError, match="was begun with the metric balanced_accuracy: choose"):
        study.optimize(other, n_trials=1)


def test_a_search_says_what_it_compared_on(tmp_path):
    config = SearchConfig.of(
        noise="symmetric", noise_rate=0.4, train_size=150, epochs=2, trials=2, final_seeds=1,
        folds=2, device="cpu", stack=2, metric="macro_f1", out=tmp_path / "out",
        storage=f"sqlite:///{tmp_path}/s.db",
    )  # fmt: skip
    found = search(config)
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["test_metric"].keys() == content["test_accuracy"].keys()
    assert content["validation_metric"]["linear"] > 0.5
    assert content["settings"]["metric"] == "macro_f1"
    assert "test macro F1" in verdict(found)[0]
    again = search(config)  # the comparison is read from its file
    assert {n: s.to_dict() for n, s in again.scores.items()} == {
        n: s.to_dict() for n, s in found.scores.items()
    }
    view = read_study(open_storage(config.storage), config.study_name)
    assert view.value_label == "1 - validation macro F1"
    page = draw_pictures(found, view)["report"].read_text(encoding="utf-8")
    assert "<th>test macro F1</th><th>validation macro F1</th><th>test accuracy</th>" in page
    with pytest.raises(ValueError, match="metric is 'macro_f1', not 'accuracy'"):
        search(replace(config, training=replace(config.training, metric="accuracy")))


def test_the_classifier_takes_it(rare):
    x, y = rare.x_train[:300].reshape(300, 4).numpy(), rare.y_train[:300].numpy()
    model = S2EClassifier(
        n_trials=1, epochs=2, n_seeds=1, cross_validate=None, random_state=0, metric="macro_f1"
    )
    assert model.fit(x, y).study_.trials[0].user_attrs["metric"] == "macro_f1"
    with pytest.raises(ValueError, match="unknown metric 'f1'"):
        model.set_params(metric="f1").fit(x, y)
