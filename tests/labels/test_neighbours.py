import numpy as np
import pytest

from s2e_optuna.data import load_data
from s2e_optuna.labels import neighbours as module
from s2e_optuna.labels.neighbours import neighbour_votes, neighbours

X = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0) + 1000.0
LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 1])


def test_a_sample_is_not_asked_about_its_own_label(monkeypatch):
    monkeypatch.setattr(module, "NEIGHBOURS", 3)
    alone = neighbour_votes(X, X, LABELS, 2, np.arange(8))
    monkeypatch.setattr(module, "NEIGHBOURS", 4)
    asked = neighbour_votes(X, X, LABELS, 2)
    assert alone[3, 0] == pytest.approx(3.1 / 3.2) and asked[3, 0] == pytest.approx(3.1 / 4.2)
    assert alone[4:, 1] == pytest.approx(3.1 / 3.2)  # far from where distances begin
    assert neighbour_votes(X[:1], X[:1], LABELS[:1], 2, np.zeros(1, int)) == pytest.approx(0.5)


@pytest.mark.parametrize("most", [20_000, 150])
def test_neighbours_recognise_digits_in_spite_of_wrong_labels(monkeypatch, most):
    monkeypatch.setattr(module, "MOST_REFERENCES", most)
    data = load_data("digits", noise="symmetric", noise_rate=0.3, train_size=300)
    found = neighbours(data)
    assert (found.training.argmax(1) == data.y_clean.numpy()).mean() > 0.75
    assert found.clean.shape == (1, 397, 10) and found.held_out is None
    assert (found.clean[0].argmax(1) == data.y_val.numpy()).mean() > 0.75


def test_of_a_noisy_validation_part_the_checked_samples_are_known():
    asked = {"noise": "symmetric", "noise_rate": 0.3, "validation": "noisy", "train_size": 300}
    names = load_data("digits", **asked).val_ids[:7]
    found = neighbours(load_data("digits", **asked, checked=dict.fromkeys(names, "3")))
    assert found.clean.shape == (1, 7, 10) and found.held_out.shape == (60, 10)
