import numpy as np
import pytest

from s2e_optuna.errors import DataError
from s2e_optuna.training import TrainConfig, evaluate_schedules, train

CONFIG = TrainConfig(epochs=3, batch_size=20)
ENTRIES = {
    "plain": ("standard", None),
    "told": ("coteaching", [1.0, 0.7, 0.7]),
    "searched": ("coteaching", [1.0, 0.9, 0.6]),
}


def test_every_entry_is_trained_with_every_seed(blobs):
    results = evaluate_schedules(ENTRIES, blobs, CONFIG, seeds=[4, 5])
    assert list(results) == list(ENTRIES)
    for name, (method, _) in ENTRIES.items():
        assert [(r.method, r.seed) for r in results[name]] == [(method, 4), (method, 5)]


def test_a_stacked_entry_is_what_it_is_alone(blobs):
    results = evaluate_schedules(ENTRIES, blobs, CONFIG, seeds=[0], keep_probabilities=True)
    (alone,) = train("coteaching", [ENTRIES["searched"][1]], blobs, CONFIG)
    np.testing.assert_allclose(
        results["searched"][0].validation_loss, alone.validation_loss, atol=1e-5
    )
    assert results["told"][0].training_probabilities.shape == (120, 3)
    assert alone.training_probabilities is None


def test_progress_runs_to_the_end(blobs):
    seen = []
    evaluate_schedules(ENTRIES, blobs, CONFIG, [0, 1], seen.append)
    done = [step.done for step in seen]
    assert done == sorted(done)
    assert done[-1] == seen[-1].total == 3 * 2 * 3
    assert ("told", "searched") in {step.names for step in seen}


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_be_there_and_differ(blobs, seeds):
    with pytest.raises(DataError, match="different seeds"):
        evaluate_schedules(ENTRIES, blobs, CONFIG, seeds)


def test_an_unknown_method_is_found_before_anything_is_trained(blobs):
    seen = []
    with pytest.raises(DataError, match="unknown method"):
        evaluate_schedules({**ENTRIES, "x": ("magic", None)}, blobs, CONFIG, [0], seen.append)
    assert seen == []
