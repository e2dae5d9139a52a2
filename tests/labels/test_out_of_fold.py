"""Predictions by networks that have not seen the sample."""

from dataclasses import replace

import numpy as np
import pytest

from s2e_optuna.errors import DataError
from s2e_optuna.labels import out_of_fold, suspect_quality, suspects, unseen_probabilities
from s2e_optuna.labels.out_of_fold import _by_the_others, validation_halves
from s2e_optuna.training import TrainConfig, train

CONFIG = TrainConfig(epochs=2, batch_size=20, learning_rate=3e-3)


def test_memorised_labels_are_found_by_cross_validation(blobs):
    config = replace(CONFIG, epochs=30, learning_rate=1e-2, stop="last")
    runs = train("coteaching", [None], blobs, config)
    told = []
    unseen = unseen_probabilities(
        "coteaching", None, blobs, config, 3, lambda fold, epoch: told.append((fold, epoch))
    )
    assert unseen.training.sum(axis=1) == pytest.approx(np.ones(120), abs=1e-5)
    assert unseen.clean.shape == (3, 60, 3)
    assert told == [(fold, epoch + 1) for epoch in range(30) for fold in range(3)]
    without, with_them = (suspect_quality(suspects(runs, blobs, p)) for p in (None, unseen))
    assert with_them.recall > without.recall
    assert with_them.average_precision > 0.7
    with pytest.raises(DataError, match="folds 1 is out of range"):
        unseen_probabilities("coteaching", None, blobs, config, 1)


def test_clean_samples_are_judged_by_trainings_that_the_other_half_has_stopped(blobs):
    assert unseen_probabilities("standard", None, blobs, CONFIG, 5).clean.shape == (2, 60, 3)
    halves = validation_halves(blobs, 0)
    both = np.concatenate([half.numpy() for half in halves])
    np.testing.assert_array_equal(np.sort(both), np.arange(60))
    counts = [np.bincount(blobs.y_val[half].numpy()) for half in halves]
    np.testing.assert_allclose(counts, 10, atol=1)
    fold = np.broadcast_to(np.arange(5.0)[:, None, None], (5, 60, 3)).astype(np.float32)
    kept = _by_the_others(fold, halves)[:, :, 0]  # fold f is stopped by half f mod 2
    np.testing.assert_array_equal(np.unique(kept[:, halves[0].numpy()]), [1, 3])
    np.testing.assert_array_equal(np.unique(kept[:, halves[1].numpy()]), [0, 2])


def test_noisy_samples_and_those_learnt_from_are_not_taken_for_clean(blobs):
    noisy = replace(blobs, validation="noisy")
    found = unseen_probabilities("standard", None, noisy, CONFIG, 2)
    assert found.clean is None and found.held_out.shape == (60, 3)
    found = unseen_probabilities("reweight", None, blobs, CONFIG, 2)
    assert found.clean is None and found.held_out is None


def test_folds_in_one_stack_are_those_of_one_by_one(blobs, monkeypatch):
    schedule = [1.0, 0.8, 0.6, 0.6]
    config = replace(CONFIG, epochs=4, stop="best")
    together = unseen_probabilities("coteaching", schedule, blobs, config, 4)
    monkeypatch.setattr(out_of_fold, "takes_own_batches", lambda *given: False)
    one_by_one = unseen_probabilities("coteaching", schedule, blobs, config, 4)
    np.testing.assert_allclose(together.training, one_by_one.training, atol=1e-4)
    np.testing.assert_allclose(together.clean, one_by_one.clean, atol=1e-4)


def test_folds_with_other_numbers_of_steps_train_one_by_one(blobs):
    config = replace(CONFIG, epochs=1, batch_size=10)  # 11 folds: 109 or 110 samples to train on
    told = []
    unseen_probabilities("standard", None, blobs, config, 11, lambda *one: told.append(one))
    assert told == [(fold, 1) for fold in range(11)]
