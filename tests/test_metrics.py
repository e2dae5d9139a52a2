"""Means over the classes, of networks and of arrays."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

from s2e_optuna.labels.checked import CheckedLabels
from s2e_optuna.metrics import METRICS, class_mean
from s2e_optuna.training import TrainConfig, make_network
from s2e_optuna.training.evaluation import evaluate

RNG = np.random.default_rng(0)
IMAGES = torch.from_numpy(RNG.random((90, 1, 4, 4), dtype=np.float32))
LABELS = RNG.choice(4, 90, p=[0.7, 0.2, 0.1, 0.0])  # the last class has no sample
THEIRS = {
    "accuracy": lambda labels, predicted: (labels == predicted).mean(),
    "balanced_accuracy": balanced_accuracy_score,
    "macro_f1": lambda labels, predicted: f1_score(
        labels, predicted, labels=[0, 1, 2], average="macro", zero_division=0
    ),
}


@pytest.fixture(scope="module")
def mlp():
    network = make_network("mlp", (1, 4, 4), 4)
    state = network.initial([0, 1, 2])
    return network, state, network.forward(state, IMAGES).argmax(2).detach().numpy()


@pytest.mark.filterwarnings("ignore:y_pred contains classes")  # scikit-learn's
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("among", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_networks_are_measured_as_by_scikit_learn(mlp, monkeypatch, metric, among, soft):
    network, state, predicted = mlp
    monkeypatch.setattr("s2e_optuna.training.evaluation.chunk_size", lambda *_: 37)
    chosen = np.ones((3, 90), bool)
    if among:
        chosen[1, ::3] = chosen[2, 1::2] = False
    labels = torch.from_numpy(np.eye(4, dtype=np.float32)[LABELS] if soft else LABELS)
    marked = torch.from_numpy(chosen) if among else None
    found = evaluate(network, state, IMAGES, labels, marked, metric)
    values = found.accuracy if metric == "accuracy" else found.metric
    expected = [THEIRS[metric](LABELS[c], p[c]) for c, p in zip(chosen, predicted, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert found.metric.isnan().all() == (metric == "accuracy")


@pytest.mark.parametrize("metric", METRICS)
def test_probabilities_of_classes_count_as_the_numbers_to_be_expected(mlp, metric):
    network, state, predicted = mlp
    weights = RNG.dirichlet(np.ones(4), 90).astype(np.float32)
    found = evaluate(network, state, IMAGES, torch.from_numpy(weights), metric=metric)
    values = found.accuracy if metric == "accuracy" else found.metric
    np.testing.assert_allclose(values, CheckedLabels(weights, np.eye(4)).value(predicted, metric))
    drawn = np.array([RNG.choice(4, p=row / row.sum()) for row in np.repeat(weights, 400, 0)])
    theirs = [THEIRS[metric](drawn, np.repeat(p, 400)) for p in predicted]
    np.testing.assert_allclose(values, theirs, atol=0.06 if metric == "macro_f1" else 0.02)


def test_labels_flipped_by_class_rank_as_true_ones_by_balanced_accuracy_alone():
    true = np.repeat([0.0, 1.0], [99_000, 1_000])
    given = np.where(RNG.random(len(true)) < 0.03, 1 - true, true)
    # The first finds nearly all of the rare class and is wrong in a tenth of the other.
    networks = [np.where(RNG.random(len(true)) < share, 1 - true, true) for share in (0.1, 0.0)]
    networks[1][:] = 0.0
    values = {
        metric: [_value(metric, labels, p) for labels in (true, given) for p in networks]
        for metric in METRICS
    }
    assert values["accuracy"][0] < values["accuracy"][1]
    clean, noisy = np.split(np.array(values["balanced_accuracy"]), 2)
    assert clean[0] > clean[1] + 0.3 and noisy[0] > noisy[1] + 0.05
    kept = 1 - 0.03 * 0.99 / (0.97 * 0.01 + 0.03 * 0.99) - 0.03 * 0.01 / 0.97  # 1 - alpha - beta
    np.testing.assert_allclose(noisy - 0.5, kept * (clean - 0.5), atol=0.01)


def _value(metric, labels, predicted):
    worth, rows = np.eye(2)[labels.astype(int)], np.eye(2)[predicted.astype(int)]
    hits = (worth * rows).sum(0)
    if metric == "accuracy":
        return hits.sum() / len(labels)
    return float(class_mean(metric, hits, worth.sum(0), rows.sum(0)))


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="unknown metric 'auc': choose one of accuracy, balanced"):
        TrainConfig(metric="auc")
