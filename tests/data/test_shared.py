"""A large training part lies in memory once, and nothing that is learnt from it differs."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from s2e_optuna.data import from_arrays
from s2e_optuna.data import shared as shared_module
from s2e_optuna.data.preparation import Preparation
from s2e_optuna.data.shared import share
from s2e_optuna.schedules import Schedule
from s2e_optuna.training import TrainConfig, parts, train


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    numbers = (rng.normal(size=(300, 20)) + labels[:, None]).astype(np.float32)
    return from_arrays(numbers[:200], labels[:200], numbers[200:], labels[200:])


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system has no memfd_create")
def test_others_map_the_same_memory(rows, monkeypatch):
    assert share(rows) == (rows, None)  # small: everybody loads it
    monkeypatch.setattr(shared_module, "LEAST", 0)
    moved, shared = share(replace(rows, pictures={"train": rows.x_train}))
    assert moved.identity == rows.identity and torch.equal(moved.x_train, rows.x_train)
    handed = pickle.loads(pickle.dumps(shared))
    assert len(pickle.dumps(shared)) < rows.x_train.nbytes
    words = "import numpy, sys; print(numpy.memmap(sys.argv[1], '<f4', 'c').sum(dtype='f8'))"
    other = subprocess.run(
        [sys.executable, "-c", words, handed.place], capture_output=True, text=True, check=True
    )
    assert float(other.stdout) == pytest.approx(float(rows.x_train.double().sum()))
    mapped = handed.load()
    mapped.x_train[0] = 7.0  # a copy of the page that is written to
    assert torch.equal(moved.x_train, rows.x_train) and not mapped.pictures
    shared.close()
    assert handed.load() is None and torch.equal(moved.x_train, rows.x_train)


def test_what_is_prepared_batch_by_batch_trains_alike(rows, monkeypatch):
    config = TrainConfig(epochs=3, network="mlp", device="cpu", batch_size=32)
    schedule = Schedule.coteaching(3, 0.3)
    (one,) = train("coteaching", [schedule], rows, config, keep_probabilities=True)
    monkeypatch.setattr(parts, "LARGEST_PREPARED", 0)
    used = []
    monkeypatch.setattr(parts, "PreparedRows", _noting(parts.PreparedRows, used))
    (other,) = train("coteaching", [schedule], rows, config, keep_probabilities=True)
    assert used
    np.testing.assert_array_equal(one.training_probabilities, other.training_probabilities)
    for name, curve in one.curves.items():
        np.testing.assert_array_equal(curve, other.curves[name])


def _noting(kind, used):
    def made(*args):
        used.append(args)
        return kind(*args)

    return made


def test_many_rows_are_looked_at_some_at_a_time():
    rows = np.random.default_rng(0).normal(3, 2, (9001, 5)).astype(np.float32)
    found = Preparation.fit(torch.from_numpy(rows)[:, None, None])
    doubles = rows.astype(np.float64)
    np.testing.assert_array_equal(found.mean, doubles.mean(axis=0))
    np.testing.assert_array_equal(found.deviation, doubles.std(axis=0))
    rows[8000, 2] = np.nan
    with pytest.raises(ValueError, match="1 of the training samples hold NaN"):
        from_arrays(rows, np.arange(9001) % 2)
