"""Data that have changed since a study was begun: named, and gone on with only if asked for."""

import logging

import numpy as np
import optuna
import pytest
from sklearn.datasets import load_digits

from s2e_optuna import open_storage
from s2e_optuna.errors import ConfigError
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.search import search


@pytest.fixture
def labels():
    return load_digits().target[:300].copy()


@pytest.fixture
def write(tmp_path):
    def write(labels, images=None):
        images = load_digits().images[:300] if images is None else images
        np.savez(tmp_path / "digits.npz", x_train=images / 16.0, y_train=labels)

    return write


@pytest.fixture
def make(tmp_path, sqlite_url):
    def make(**options):
        small = {"trials": 2, "epochs": 2, "stack": 2, "final_seeds": 1, "folds": 0}
        small |= {"data": str(tmp_path / "digits.npz"), "storage": sqlite_url}
        small |= {"out": tmp_path / "out", "device": "cpu"}
        return SearchConfig.of(**{**small, **options})

    return make


def test_a_change_is_named_with_the_ways_on(make, write, labels, sqlite_url, caplog):
    write(labels)
    first = search(make())
    assert search(make()).files == first.files  # the same data: nothing is said
    labels[:14] = (labels[:14] + 1) % 10
    write(labels)
    with pytest.raises(ConfigError, match=r"14 labels.*--study NAME.*--warm-from.*--anyway"):
        search(make())

    with caplog.at_level(logging.WARNING):
        again = search(make(anyway=True))
    assert "14 labels" in caplog.text
    before, now, kept = (
        one.scores["s2e"].curves["validation_accuracy"] for one in (first, again, search(make()))
    )
    assert now != before  # trained on what is there now
    assert kept == now

    search(make(study="new", warm_from="digits", out=make().folder / "new", final_seeds=0))
    storage = open_storage(sqlite_url)
    old, begun = (optuna.load_study(study_name=n, storage=storage) for n in ("digits", "new"))
    assert begun.trials[0].params == old.best_trial.params
    storage.dispose()


def test_an_image_that_has_changed_counts_too(make, write, labels):
    write(labels)
    search(make(final_seeds=0))
    images = load_digits().images[:300].copy()
    images[3] = 16 - images[3]
    write(labels, images)
    with pytest.raises(ConfigError, match="1 image"):
        search(make(final_seeds=0))


def test_a_study_to_begin_with_has_to_be_there(make, write, labels):
    write(labels)
    with pytest.raises(ConfigError, match="no study 'nope'"):
        search(make(warm_from="nope"))
