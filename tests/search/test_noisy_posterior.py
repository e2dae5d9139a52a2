"""Training on the posterior where no part is clean, and where a few labels are checked."""

from dataclasses import replace

import numpy as np
import pytest

from s2e_optuna import Schedule
from s2e_optuna.data import load_data
from s2e_optuna.labels import expected_validation
from s2e_optuna.labels.linear import linear_model
from s2e_optuna.search.final import scores, train_final
from s2e_optuna.search.posterior import estimated_rate
from s2e_optuna.training import TrainConfig
from s2e_optuna.training.model import predict_proba

EPOCHS = 12
TRAINING = TrainConfig(epochs=EPOCHS, device="cpu")
ENTRIES = {
    "standard": ("standard", Schedule.constant(EPOCHS)),
    "s2e": ("coteaching", Schedule.coteaching(EPOCHS, 0.45)),
}


@pytest.fixture(scope="module")
def noisy():
    return load_data("digits", noise="symmetric", noise_rate=0.4, validation="noisy")


@pytest.fixture(scope="module")
def checked():
    asked = {"noise": "pair", "noise_rate": 0.45, "validation": "noisy"}
    drawn = load_data("digits", **asked)
    truth = drawn.y_val_clean.numpy()
    answers = {drawn.val_ids[row]: drawn.class_names[truth[row]] for row in range(0, 200, 5)}
    return expected_validation(load_data("digits", **asked, checked=answers), TRAINING)


def test_with_noisy_validation_the_posterior_is_learnt_from_and_judged_like_the_rest(noisy):
    seen = []
    final = train_final(
        ENTRIES, noisy, TRAINING, seeds=2, folds=2, posterior=True, progress=seen.append
    )
    found = scores(ENTRIES, final)
    assert list(found) == ["standard", "s2e", "posterior"]
    assert (seen[-1].done, seen[-1].total) == (8 * EPOCHS, 8 * EPOCHS)
    best = max(np.mean(found[name].test_accuracy) for name in ENTRIES)
    assert np.mean(found["posterior"].test_accuracy) > best
    assert final.kept == "posterior" and not final.rejudged
    run = max(
        final.results["posterior"], key=lambda run: np.sort(run.validation_accuracy)[-3:].mean()
    )
    assert final.model is run.model  # the best one, not an average over halves
    assert final.judge(noisy) is final.judgement


def test_with_checked_labels_all_ways_are_judged_anew_by_what_the_cross_validation_knows(checked):
    linear = linear_model(checked)
    assert estimated_rate(checked, linear.unseen) is None
    final = train_final(
        ENTRIES, checked, TRAINING, seeds=1, folds=2, posterior=True, linear=linear
    )
    found = scores(ENTRIES, final)
    assert found["posterior"].test_accuracy[0] > found["s2e"].test_accuracy[0] + 0.05
    assert final.kept == "posterior"
    assert final.rejudged.keys() == found.keys()
    quality, n_train = final.judgement.quality, len(checked.y_train)
    weights, known = quality.posterior[n_train:].copy(), checked.val_checked.numpy()
    weights[known >= 0] = np.eye(checked.n_classes)[known[known >= 0]]
    for name, run in final.results.items():
        classes = predict_proba(run[0].model, checked.x_val).argmax(1)
        by_hand = weights[np.arange(len(weights)), classes].mean()
        assert found[name].expected_validation == pytest.approx((by_hand,), abs=1e-6)
    assert found["s2e"].expected_validation != found["s2e"].validation_accuracy


@pytest.mark.parametrize("change", [{"folds": 0}, {"posterior": False}, {}])
def test_nothing_is_learnt_from_a_posterior_that_nobody_asks_for(noisy, change):
    training = replace(TRAINING, epochs=2, stop="last")
    entries = {"plain": ("standard", None)}
    said = {"folds": 2, "posterior": True} | change
    final = train_final(entries, noisy, training, seeds=1, **said)
    assert ("posterior" in final.results) == (final.judgement is not None) == (not change)
