from dataclasses import replace

import numpy as np
import pytest
import torch

from s2e_optuna.errors import DataError
from s2e_optuna.training import TrainConfig, train
from s2e_optuna.training.checkpoint import fingerprint

CONFIG = TrainConfig(epochs=4, batch_size=20, learning_rate=3e-3)
RATES = [np.ones(4), np.linspace(1.0, 0.4, 4)]


def with_targets(data, targets):
    return replace(data, targets=torch.as_tensor(targets, dtype=torch.float32))


def one_hot(labels):
    return torch.nn.functional.one_hot(labels, 3).float()


@pytest.mark.parametrize("method", ["standard", "coteaching", "coteaching_plus", "decoupling"])
def test_labels_as_soft_labels_train_the_same_networks(method, blobs):
    hard = train(method, RATES, blobs, CONFIG)
    soft = train(method, RATES, with_targets(blobs, one_hot(blobs.y_train)), CONFIG)
    for one, other in zip(hard, soft, strict=True):
        np.testing.assert_allclose(one.validation_loss, other.validation_loss, rtol=1e-4)
        assert one.kept_counts.tolist() == other.kept_counts.tolist()


def test_soft_labels_take_the_place_of_the_given_ones(blobs):
    wrong = blobs.with_labels((blobs.y_train.numpy() + 1) % 3)
    (run,) = train("standard", [None], with_targets(wrong, one_hot(blobs.y_clean)), CONFIG)
    assert run.validation_accuracy[-1] > 0.9
    assert run.training_accuracy[-1] < 0.4  # of the given labels


def test_a_sample_without_weight_is_not_learnt_from(blobs):
    targets = one_hot(blobs.y_clean)
    targets[blobs.y_clean == 2] = 0.0
    (run,) = train("standard", [None], with_targets(blobs, targets), CONFIG)
    assert run.validation_accuracy[-1] < 0.7


@pytest.mark.parametrize("method", ["f_correction", "comining", "reweight"])
def test_methods_of_labels_refuse_soft_ones(method, blobs):
    with pytest.raises(DataError, match="learns from labels, not from soft ones"):
        train(method, [None], with_targets(blobs, one_hot(blobs.y_train)), CONFIG)


@pytest.mark.parametrize("targets", [torch.ones(7, 3), -torch.ones(120, 3)])
def test_soft_labels_that_do_not_fit_are_refused(blobs, targets):
    with pytest.raises(DataError, match="for each of 120 samples and 3 classes"):
        train("standard", [None], with_targets(blobs, targets), CONFIG)


def test_a_checkpoint_belongs_to_its_soft_labels(blobs):
    kinds = [blobs, *(with_targets(blobs, w * one_hot(blobs.y_train)) for w in (0.5, 1.0))]
    assert len({fingerprint("standard", data, CONFIG) for data in kinds}) == 3
