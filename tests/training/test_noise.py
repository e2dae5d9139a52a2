import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna.training import (
    DataError,
    corrupt_labels,
    load_labels,
    save_labels,
    transition_matrix,
)


@settings(deadline=None)
@given(st.sampled_from(["symmetric", "pair"]), st.floats(0, 0.49), st.integers(2, 20))
def test_rows_of_a_transition_matrix_are_distributions_with_the_rate(kind, rate, n_classes):
    matrix = transition_matrix(kind, rate, n_classes)
    assert (matrix >= 0).all()
    assert matrix.sum(axis=1) == pytest.approx(np.ones(n_classes))
    assert np.diag(matrix) == pytest.approx(np.full(n_classes, 1 - rate))


def test_pair_noise_moves_to_the_next_class_and_wraps():
    expected = [[0.6, 0.4, 0], [0, 0.6, 0.4], [0.4, 0, 0.6]]
    assert transition_matrix("pair", 0.4, 3) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
def test_drawn_labels_follow_the_matrix(kind):
    clean = np.repeat(np.arange(4), 20_000)
    matrix = transition_matrix(kind, 0.3, 4)
    drawn = corrupt_labels(clean, matrix, np.random.default_rng(0))
    shares = np.array([np.bincount(drawn[clean == c], minlength=4) / 20_000 for c in range(4)])
    assert shares == pytest.approx(matrix, abs=0.012)


def test_the_seed_decides_the_labels():
    clean, matrix = np.arange(500) % 5, transition_matrix("symmetric", 0.5, 5)
    first, again, other = (
        corrupt_labels(clean, matrix, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_rate_zero_changes_nothing():
    clean = np.arange(50) % 5
    drawn = corrupt_labels(clean, transition_matrix("pair", 0.0, 5), np.random.default_rng(0))
    assert (drawn == clean).all()


@pytest.mark.parametrize(
    ("kind", "rate", "says"),
    [
        ("symmetric", 0.9, "0 <= noise_rate < 0.9"),
        ("symmetric", -0.1, "out of range"),
        ("symmetric", float("nan"), "out of range"),
        ("pair", 0.5, "as frequent as the true one"),
        ("triple", 0.2, "choose one of pair, symmetric"),
    ],
)
def test_bad_noise_says_why(kind, rate, says):
    with pytest.raises(DataError, match=says):
        transition_matrix(kind, rate, 10)


@pytest.mark.parametrize(
    ("labels", "matrix", "says"),
    [
        ([0, 1], [[1, 0]], "square"),
        ([0, 1], [[0.5, 0.4], [0, 1]], "sum to 1"),
        ([0, 2], [[1, 0], [0, 1]], "0 .. 1"),
    ],
)
def test_bad_matrices_are_refused(labels, matrix, says):
    with pytest.raises(DataError, match=says):
        corrupt_labels(labels, matrix, np.random.default_rng(0))


def test_labels_come_back_from_a_file(tmp_path):
    save_labels(tmp_path / "labels", [1, 2, 0], [1, 1, 0])
    given_labels, clean = load_labels(tmp_path / "labels")
    assert given_labels.tolist() == [1, 2, 0]
    assert clean is not None
    assert clean.tolist() == [1, 1, 0]


def test_unknown_truth_stays_unknown_in_a_file(tmp_path):
    save_labels(tmp_path / "labels.npz", [1, 2, 0])
    assert load_labels(tmp_path / "labels.npz")[1] is None


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_damaged_label_file_is_reported(tmp_path, content):
    (tmp_path / "labels.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot read"):
        load_labels(tmp_path / "labels.npz")
